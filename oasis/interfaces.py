"""The seams: what a platform, activation, recommender, policy, embedder, moderator and recorder is.

Axes: ``n`` active agents (sorted by id), ``m`` rows of all their feeds, ``a`` actions.
Implementations are found by name through entry points, see `oasis.plugins`; each is built from its
parameters by ``from_parameters`` and rejects unknown ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from oasis.actions import Action, ActionBatch, Outcome
from oasis.clock import Clock
from oasis.errors import InputError
from oasis.randomness import Draws
from oasis.world.embeddings import Embedder
from oasis.world.store import Store
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = [
    "Activation",
    "Answer",
    "AnswerSource",
    "Applied",
    "Ask",
    "ChecksAgents",
    "Completion",
    "Decisions",
    "DescribesServers",
    "Embedder",
    "Feeds",
    "InferenceClient",
    "InferenceRequest",
    "LimitsRequests",
    "Observations",
    "Parameters",
    "Platform",
    "Policy",
    "PolicyContext",
    "Question",
    "ReadsMetrics",
    "Recommender",
    "RendersPrompts",
    "RowFlag",
    "Schema",
    "ServerMetrics",
    "ShowsScores",
    "Source",
    "Stances",
    "StepContext",
    "Views",
    "schema_text",
]

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


class Parameters(BaseModel):
    """Base of every component's configuration: frozen, exact types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(IntEnum):
    """Where a shown post came from. Values are stored; append, never renumber."""

    RANDOM = 0
    FOLLOWED = 1
    POPULAR = 2
    INTEREST = 3
    COLLABORATIVE = 4
    TRENDING = 5
    EXPLORE = 6
    SEARCH = 7
    TREND = 8
    REFRESH = 9
    GROUP = 10

    @property
    def label(self) -> str:
        """The name used in files."""
        return self.name.lower()


class RowFlag(IntFlag):
    """What an agent has to do with a post that it is shown."""

    OWN = 1
    LIKED = 2
    DISLIKED = 4
    REPOSTED = 8
    SEEN = 16
    IN_NETWORK = 32
    WARNED = 64
    """Reported more often than the platform's threshold."""


@dataclass(frozen=True)
class StepContext:
    """What is the same for everybody in a step.

    Attributes
    ----------
    step : int
        The step being computed, from 1; the world stands at ``step - 1``.
    clock : Clock
    draws : Draws
    visible : callable
        ``visible(agents: int32[m], posts: int32[m]) -> bool[m]``: may this agent see this post at all (the
        platform's rule: not removed, author neither muted nor banned)?
    personal : bool
        Whether feeds leave out what the agent wrote or acted on, and lower what it has seen (X), or stay one
        list for all (Reddit).
    frozen : mapping
        Number of rows of each table (``frozen["posts"]`` ...) when the world was frozen for this step: after its
        interventions, before its decisions. A target with a smaller id existed then.
    show_scores : bool
        Whether agents see numbers of likes, dislikes, reposts and comments. Where not, a policy must not look at them
        in the world's columns.
    active : ndarray, shape (n,), int32
        The agents that act in the step, sorted; empty until they are known.
    """

    step: int
    clock: Clock
    draws: Draws
    visible: Callable[[I32, I32], Bool]
    personal: bool = True
    frozen: Mapping[str, int] = field(default_factory=dict)
    show_scores: bool = True
    active: I32 = field(default_factory=lambda: np.empty(0, np.int32), compare=False)

    @property
    def history_steps(self) -> int:
        """Steps in 24 hours."""
        return self.clock.steps_in(24)


@dataclass(slots=True)
class Feeds:
    """Ordered posts per agent, in CSR form.

    Attributes
    ----------
    offsets : ndarray, shape (n + 1,), int64
    post_ids : ndarray, shape (m,), int32
        At most one row per root in each feed.
    scores : ndarray, shape (m,), float32
    sources : ndarray, shape (m,), uint8
        `Source` codes.
    shared : bool
        Whether every agent was given the same list.
    """

    offsets: I64
    post_ids: I32
    scores: F32
    sources: npt.NDArray[np.uint8]
    shared: bool = False

    @property
    def rows(self) -> I64:
        """Index of the agent of each row, shape (m,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def positions(self) -> npt.NDArray[np.int16]:
        """Position of each row in its feed, from 0, shape (m,)."""
        return (np.arange(len(self.post_ids)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))).astype(np.int16)

    @classmethod
    def empty(cls, agents: int) -> Self:
        """Return an empty feed for each of `agents` agents."""
        nothing = np.empty(0, np.int32)
        return cls(np.zeros(agents + 1, np.int64), nothing, nothing.astype(np.float32), nothing.astype(np.uint8))

    def keep(self, mask: Bool) -> Feeds:
        """Return feeds of the rows where `mask`."""
        offsets = np.zeros_like(self.offsets)
        np.cumsum(np.bincount(self.rows[mask], minlength=len(offsets) - 1), out=offsets[1:])
        return Feeds(offsets, self.post_ids[mask], self.scores[mask], self.sources[mask], self.shared)


@dataclass(slots=True)
class Observations:
    """What agents see when they decide.

    Attributes
    ----------
    agent_ids : ndarray, shape (n,), int32, sorted
    feeds : Feeds
        What is shown, after the platform removed what an agent may not see.
    flags : ndarray, shape (m,), uint8
        `RowFlag` bits.
    comment_offsets : ndarray, shape (m + 1,), int64
    comment_ids : ndarray, int32
        The comments shown under each row.
    """

    agent_ids: I32
    feeds: Feeds
    flags: npt.NDArray[np.uint8]
    comment_offsets: I64
    comment_ids: I32

    def take(self, rows: npt.NDArray[np.integer]) -> Observations:
        """Return the observations of a subset of agents, given by their row."""
        from oasis.kernels.csr import take_rows

        offsets, at = take_rows(self.feeds.offsets, rows)
        comment_offsets, comments_at = take_rows(self.comment_offsets, at)
        f = self.feeds
        return Observations(
            self.agent_ids[rows],
            Feeds(offsets, f.post_ids[at], f.scores[at], f.sources[at], f.shared),
            self.flags[at],
            comment_offsets,
            self.comment_ids[comments_at],
        )


@dataclass(slots=True)
class Views:
    """Answers to read-only actions, one per request, in request order.

    Attributes
    ----------
    feeds : Feeds
        Posts found (search_posts, trend, refresh); one "agent" per request.
    user_offsets : ndarray, shape (n_requests + 1,), int64
    user_ids : ndarray, int32
        Users found (search_user).
    message_offsets : ndarray, shape (n_requests + 1,), int64
    message_ids : ndarray, int32
        Messages heard (listen_from_group), oldest first.
    outcomes : ndarray, shape (n_requests,), int16
        `Outcome` codes: accepted, or why the request was refused.
    """

    feeds: Feeds
    user_offsets: I64
    user_ids: I32
    message_offsets: I64
    message_ids: I32
    outcomes: npt.NDArray[np.int16]


@dataclass(slots=True)
class Applied:
    """What a platform did with a batch of actions.

    Attributes
    ----------
    outcome : ndarray, shape (a,), int16
        `Outcome` codes.
    created_id : ndarray, shape (a,), int32
        Id of the post, comment, group, message or purchase made; -1 for none.
    """

    outcome: npt.NDArray[np.int16]
    created_id: I32


class Platform(Protocol):
    """Which actions exist, what each does to the world, what a feed looks like, what an agent may see."""

    name: ClassVar[str]
    personal: ClassVar[bool]
    default_recommender: ClassVar[str]

    @classmethod
    def from_parameters(cls, actions: Sequence[Action] | None, rules: Mapping[str, Any]) -> Self:
        """Build from the scenario's ``[platform]`` table; `actions` None means the platform's default subset."""
        ...

    @property
    def actions(self) -> tuple[Action, ...]:
        """The user actions that are allowed, by code."""
        ...

    def tables(self) -> Mapping[str, Store]:
        """Return further stores that the platform owns, by name."""
        ...

    def visible(self, world: World, agents: I32, posts: I32) -> Bool:
        """Return whether each agent may see each post, shape (m,)."""
        ...

    def observe(self, world: World, agent_ids: I32, feeds: Feeds, ctx: StepContext) -> Observations:
        """Turn feeds into what agents see: rows they may not see removed, flags and comments added.

        Pure, and called for several batches at once, from threads.
        """
        ...

    def read(self, world: World, requests: ActionBatch, ctx: StepContext) -> Views:
        """Answer read-only actions from the frozen world, but for ``refresh`` (the engine's). Pure."""
        ...

    def apply(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply one round, at most one action per agent, rows in the drawn order; rejected rows change nothing.

        A target must have existed when the world was frozen (``ctx.frozen``), or be a creation of this agent in this
        step. The engine has resolved ``own_creation`` targets.
        """
        ...

    def apply_outside(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply actions of agent -1, in row order, each seeing what the rows before it did.

        ``content`` is a canonical JSON object, or null. Its keys, besides the row's ``target_id``:
        ``sign_up`` username, name, bio, persona, group, stance, activity (number or 24 numbers);
        ``post`` (target: the author) text, topic, veracity, community, likes, dislikes;
        ``comment`` (target: the post) agent, text, parent, likes, dislikes; ``seed_votes`` likes, dislikes;
        ``follow`` and ``mute`` (target: whom) agent; ``label_post`` label (null takes it off); ``demote_post`` weight;
        ``edit_profile`` name, bio, persona, group, stance; ``add_product`` text, price, stock, seller;
        ``ban``, ``unban``, ``remove_post`` none.
        ``interview`` and ``swap_recommender`` are the engine's and are accepted without effect.
        A user action's object has ``agent`` (who is made to do it) and, where it needs one, ``text``.
        """
        ...


@runtime_checkable
class ShowsScores(Protocol):
    """What a platform has besides, if it may hide the numbers of likes, dislikes, reposts and comments from agents."""

    @property
    def show_scores(self) -> bool:
        """Whether agents see them."""
        ...


class Activation(Protocol):
    """Who acts in a step."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        ...

    def active(self, world: World, ctx: StepContext) -> I32:
        """Return the ids of the agents that act, sorted, without repeats; banned ones never act."""
        ...


class Recommender(Protocol):
    """Which posts each agent is shown.

    Attributes
    ----------
    needs_embeddings : bool
        Whether the world must have an embedder.
    """

    needs_embeddings: ClassVar[bool]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        ...

    def tables(self) -> Mapping[str, Store]:
        """Return the stores that the recommender owns, by name."""
        ...

    def prepare(self, world: World, ctx: StepContext) -> None:
        """Do once what all feeds of a step share. Changes no store: the step may be dropped yet."""
        ...

    def recommend(self, world: World, ctx: StepContext, agent_ids: I32, k: int) -> Feeds:
        """Return feeds of at most `k` posts, best first.

        Pure: the same whatever agents are asked for together. It is called for several batches at once, from threads.
        """
        ...

    def update(self, world: World, events: pa.Table, impressions: pa.Table) -> None:
        """Learn from a committed step, for those that learn."""
        ...


class Schema(dict[str, Any]):
    """A JSON schema that many requests share: its text is made once. It must not be changed."""

    @cached_property
    def text(self) -> str:
        """Compact JSON."""
        return json.dumps(self, separators=(",", ":"))


def schema_text(schema: dict[str, Any] | None) -> str:
    """Return a schema as JSON, ``null`` for none."""
    return schema.text if isinstance(schema, Schema) else json.dumps(schema)


@dataclass(slots=True)
class InferenceRequest:
    """One question to a language model.

    Attributes
    ----------
    step, agent_id, turn : int
        With the attempt and the hash of prompt and parameters, the key of the answer. Agent -1 is nobody: a question
        that a step asks once for all.
    purpose : str
        ``decide``, ``score``, ``calibrate`` or ``interview``.
    messages : tuple of (role, content)
        What all agents share comes first, byte for byte, then what is shared by many, then the agent's own.
    check : callable
        ``check(text) -> value``; raises ValueError for an answer that does not fit (which is asked again).
    schema : dict or None
        JSON schema that constrains the answer.
    max_tokens : int or None
        Most tokens of the answer; None for the client's own (``[llm] max_tokens``).
    temperature : float or None
        None for the client's own (``[llm] temperature``).
    cut : int
        Characters that the messages leave out of the texts that they show.
    labels : tuple of str
        If not empty, the answer is one of these, and what is wanted is how likely each is: the completion's value is
        their log-probabilities, -inf for those that are not among the likeliest tokens. `check` is not used.
    options : tuple of int
        What each label stands for, or what is shown in `continuation`, for the records.
    continuation : str or None
        If given, nothing is generated: the completion's value is the log-probability of this text as the answer to the
        messages, summed over its tokens; the end of the answer does not count. `check` and `schema` are not used. A
        question of nobody (agent -1) is asked once in a run, and its answer is recorded in each step that uses it.
    """

    step: int
    agent_id: int
    turn: int
    purpose: str
    messages: tuple[tuple[str, str], ...]
    check: Callable[[str], Any]
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    cut: int = 0
    labels: tuple[str, ...] = ()
    options: tuple[int, ...] = ()
    continuation: str | None = None


@dataclass(slots=True)
class Completion:
    """What came of a request: ``ok`` with the checked value, ``failed`` (no answer) or ``invalid`` (no fitting one)."""

    request: InferenceRequest
    status: str
    value: Any = None
    text: str | None = None
    error: str | None = None
    attempts: int = 1


class InferenceClient(Protocol):
    """Asks language models; keeps a row per attempt."""

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        """Return one completion per request, in request order.

        Raises
        ------
        NoEndpointError
            When no endpoint is alive. What was answered is kept in the records.
        """
        ...

    def take_records(self) -> pa.Table:
        """Return and forget the rows of `oasis.records.LLM_CALLS` since the last call, sorted by
        (step, agent, turn, purpose, attempt)."""
        ...

    async def close(self) -> None:
        """Release connections and models."""
        ...


@runtime_checkable
class LimitsRequests(Protocol):
    """What an inference client has besides, if it says how many requests it sends at once."""

    @property
    def concurrency(self) -> int:
        """Most requests in flight; more that are asked for wait."""
        ...

    async def room(self) -> None:
        """Return when fewer requests wait to be sent than may be in flight: when it is time to make more of them.

        Of those who wait here one goes on at a time, with what was asked for before it counted.
        """
        ...


@runtime_checkable
class DescribesServers(Protocol):
    """What an inference client has besides, if it can say what its servers are."""

    async def describe(self) -> list[dict[str, Any]]:
        """Return what each server says of its model and itself, as JSON; within seconds, whatever they do."""
        ...


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server of language models says of itself at one moment; None each where it does not.

    Attributes
    ----------
    endpoint : str
    prompt_tokens, cached_tokens : int or None
        Since the server's start: tokens of prompts that were looked up in its prefix cache, and those found.
    running, waiting : int or None
        Requests in work now, and queued.
    """

    endpoint: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None


@runtime_checkable
class ReadsMetrics(Protocol):
    """What an inference client has besides, if it can read the metrics of its servers."""

    async def metrics(self) -> list[ServerMetrics]:
        """Return those of the servers that give any, within seconds, whatever they do."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """An interview question; `scale` (low, high) asks for a number, `options` for one of several answers.

    Raises
    ------
    InputError
        For an empty text, a scale that is none, or options that are fewer than two, blank or not distinct.
    """

    question_id: str
    text: str
    scale: tuple[float, float] | None = None
    options: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Normalise texts as those of the world, so that they fit into prompts and files."""
        object.__setattr__(self, "text", normalise_one(self.text))
        if self.options is not None:
            object.__setattr__(self, "options", tuple(normalise_one(option).strip() for option in self.options))
        if not self.text.strip():
            raise InputError("a question needs a text")
        if self.scale is not None and self.options is not None:
            raise InputError("a question has a scale or options, not both")
        if self.scale is not None and not (
            len(self.scale) == 2 and -math.inf < self.scale[0] < self.scale[1] < math.inf
        ):
            raise InputError(f"a question's scale is (low, high), finite and low below high, got {self.scale}")
        if self.options is not None and (
            len(self.options) < 2 or len(set(self.options)) < len(self.options) or "" in self.options
        ):
            raise InputError(f"a question's options are two or more, each another and none empty, got {self.options}")

    @property
    def whole(self) -> bool:
        """Whether the scale's numbers are whole: both its ends are, and lie at most 100 apart."""
        if self.scale is None:
            return False
        low, high = self.scale
        return float(low).is_integer() and float(high).is_integer() and high - low <= 100


class AnswerSource(StrEnum):
    """What an answer was made by."""

    LLM = "llm"
    MODEL = "model"
    """Numbers of the agent, by a formula."""
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Answer:
    """An agent's answer. `value` is the number, or the index of the option; NaN where there is none.

    `source` is None in recordings of versions that did not keep it.
    """

    agent_id: int
    value: float
    text: str | None
    source: AnswerSource | None
    outcome: Outcome = Outcome.ACCEPTED
    probabilities: tuple[float, ...] | None = None


Ask = Callable[[ActionBatch], Views]


@dataclass(frozen=True)
class PolicyContext:
    """What a policy may use besides its observations.

    Attributes
    ----------
    base : StepContext
    world : World
        Frozen during `decide`.
    policy : int
        The policy's index, for `ActionBatch.policy`.
    allowed : tuple of Action
        What the platform allows, less what the scenario takes from this policy.
    ask : callable
        ``ask(requests) -> Views`` answers read-only actions from the frozen world and records what was shown.
    inference : InferenceClient or None
        None where no policy needs it.
    platform : str
        Name of the platform.
    """

    base: StepContext
    world: World
    policy: int
    allowed: tuple[Action, ...]
    ask: Ask
    inference: InferenceClient | None = None
    platform: str = "x"


@dataclass(frozen=True, slots=True)
class Stances:
    """Stances of agents.

    Attributes
    ----------
    agent_ids : ndarray, shape (n,), int32
        Each agent once.
    values : ndarray, shape (n,), float32
    """

    agent_ids: I32
    values: F32


@dataclass(slots=True)
class Decisions:
    """What a policy decided.

    Attributes
    ----------
    actions : ActionBatch
        At least one row per observed agent; rows of an agent adjacent, agents in the order observed.
    updates : dict
        Owned state to write after commit, by table name; what it means is the policy's own business.
    stances : Stances or None
        Stances that agents observed have from the next step on; the engine writes ``users.stance`` after commit.
        It is the one column of the world that decisions change. None for a policy that leaves stances alone.
    """

    actions: ActionBatch
    updates: dict[str, Any] = field(default_factory=dict)
    stances: Stances | None = None


@runtime_checkable
class ChecksAgents(Protocol):
    """What a policy has besides, if it names agents in its parameters: errors come before the run, not in its midst."""

    def check_agents(self, policies: npt.NDArray[np.int16], number: int, newcomers: bool) -> None:
        """Refuse agents that are not the policy's.

        Parameters
        ----------
        policies : ndarray, shape (registered agents,)
            Number of each agent's policy.
        number : int
            This one's.
        newcomers : bool
            Whether agents may sign up during the run.

        Raises
        ------
        ScenarioError
        """
        ...


@runtime_checkable
class ChecksTexts(Protocol):
    """What a policy has besides, if some texts may not be in its world: errors come before the run."""

    def check_texts(self, texts: pa.ChunkedArray) -> None:
        """Refuse texts, strings: those of the world at the start of a run, and of its interventions.

        Raises
        ------
        ScenarioError
        """
        ...


@runtime_checkable
class RendersPrompts(Protocol):
    """What a policy has besides, if it makes prompts of templates: a run notes when they have changed."""

    def prompt_templates(self) -> Mapping[str, str]:
        """Return the text of every template by its name."""
        ...


class Policy(Protocol):
    """How agents choose among actions. Stateless but for the tables it declares.

    A class may set ``decides_in_events = True``: all that it decides is in its events (every text is `content`, none a
    `text_id`; no ``updates``, no ``stances``; no action aims at what an earlier one failed to create). Then steps that
    are executed again take its decisions from there, and it is not asked. One that has ``needs_scores = True`` asks
    for log-probabilities of given texts (`InferenceRequest.continuation`), which servers do not give.
    """

    needs_embeddings: ClassVar[bool]
    needs_inference: ClassVar[bool]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        ...

    def tables(self) -> Mapping[str, Store]:
        """Return the stores that the policy owns, by name."""
        ...

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        """Choose actions. The same for each agent whatever agents are asked together."""
        ...

    async def interview(self, agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
        """Ask agents a question, in the order given. Changes nothing: no memory, no draw of the run is used up."""
        ...

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        """Write the policy's own tables after commit. `applied` is aligned with ``decisions.actions``."""
        ...
