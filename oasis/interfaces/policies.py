"""What a policy is: who decides for agents, and what it gets to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action, ActionBatch
from oasis.interfaces.inference import InferenceClient
from oasis.interfaces.interviews import Answer, Question
from oasis.interfaces.observations import Applied, Observations, StepContext, Views
from oasis.world.store import Store
from oasis.world.world import World

__all__ = [
    "Ask",
    "ChecksAgents",
    "ChecksTexts",
    "Decisions",
    "Policy",
    "PolicyContext",
    "RendersPrompts",
    "Stances",
]

I32 = npt.NDArray[np.int32]
F32 = npt.NDArray[np.float32]


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
