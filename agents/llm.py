"""Agents that a language model decides for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import READ_ACTIONS, Action, ActionBatch, Outcome
from oasis.agents.llm_parameters import LLMParameters
from oasis.agents.memory import Memory
from oasis.agents.prompting.choosing import Chooser
from oasis.agents.prompting.conversation import Conversation, Limits, Stage
from oasis.agents.prompting.options import Choice
from oasis.agents.prompting.quoting import quote
from oasis.agents.prompting.renaming import Renaming
from oasis.agents.prompting.scoring import Scorer
from oasis.agents.prompting.staged import FAILURES, act_by_stages
from oasis.agents.prompting.survey import Form, Reading
from oasis.agents.prompting.templates import Templates, choice_rules, interview_rules, rules
from oasis.errors import InferenceError
from oasis.interfaces import (
    Answer,
    AnswerSource,
    Applied,
    Completion,
    Decisions,
    InferenceClient,
    InferenceRequest,
    LimitsRequests,
    Observations,
    PolicyContext,
    Question,
)
from oasis.plugins import parse_parameters
from oasis.tasks import Places, together
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["LLM"]

I32 = npt.NDArray[np.int32]
PENDING = 8_192
"""Agents whose prompts are held in memory at a time (about 10 kB each); several times as many as are in flight."""
_AT_ONCE = 256
"""Agents that are asked one question each whose prompts are made together, while requests of others are under way."""
_FIRST = 32
"""Agents of the first part, where they are asked one question each: servers have work soon."""
_LEAST_AT_ONCE, _MOST_AT_ONCE = 64, 256
_ROUNDS = 3
"""Of agents that are asked several questions each, so many are worked on as there may be requests in flight, times
this: more would push each other's beginnings out of the servers' caches, fewer would not keep servers busy while some
wait for the last of their part (docs/decisions/prefix-cache.md)."""
_FORGOTTEN = (Action.NO_DECISION, Action.DO_NOTHING)


class LLM:
    """Asks a language model, under a JSON schema that holds only the ids that the agent was shown.

    A question that gets no usable answer is the event ``no_decision`` with outcome ``llm_failed`` or
    ``llm_invalid``, never a chosen do_nothing. Nothing depends on the order of replies or on who is asked together.

    Parameters
    ----------
    parameters : LLMParameters
    """

    needs_embeddings: ClassVar[bool] = False
    needs_inference: ClassVar[bool] = True
    decides_in_events: ClassVar[bool] = True

    def __init__(self, parameters: LLMParameters | None = None) -> None:
        self.parameters = p = parameters or LLMParameters()
        self._memory = Memory(p.memory)
        self._renaming = Renaming(p.rename)
        self._templates = Templates(p.templates_path, self._renaming)
        self._places = dict[int, Places]()  # of the parts of all batches, by how many there may be
        self._limits = Limits(
            p.max_text,
            p.max_profile,
            p.max_content,
            p.shared_tokens,
            p.feed_tokens,
            p.memory_tokens,
            p.max_actions,
            p.max_turns,
        )

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from `LLMParameters`; unknown ones are errors."""
        return cls(parse_parameters(LLMParameters, parameters, "policies.llm.parameters"))

    @property
    def needs_scores(self) -> bool:
        """Whether it asks for log-probabilities of given texts."""
        return self.parameters.decoding == "score"

    def tables(self) -> Mapping[str, Store]:
        """Return the store ``memory``."""
        return {"memory": self._memory}

    def prompt_templates(self) -> Mapping[str, str]:
        """Return the templates that prompts are made of."""
        return self._templates.sources()

    def check_texts(self, texts: pa.ChunkedArray) -> None:
        """Refuse texts that hold a substitute of `LLMParameters.rename`: it would stand for two things."""
        self._renaming.check_absent(texts, "a text of the population or of an intervention")

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        """Ask for each agent, in turns: those that looked something up are shown it and asked again.

        At most `PENDING` agents are worked on at a time, however many there are, and where each is asked several
        questions only as many as keep the servers busy: prompts are made as others are answered.
        """
        n = len(observations.agent_ids)
        if not n:
            return Decisions(ActionBatch.empty())
        client = _client(ctx)
        first, size, count = self._parts(client)
        places = self._places.setdefault(count, Places(count)).here()
        stage = Stage(ctx, self._memory, self._limits, self._templates, self._renaming)

        async def part(rows: npt.NDArray[np.integer]) -> ActionBatch:
            async with places:
                if isinstance(client, LimitsRequests):
                    await client.room()
                return await self._decide(observations.take(rows), ctx, client, stage)

        parts = np.split(np.arange(n), _bounds(n, first, size))
        return Decisions(ActionBatch.concat(await together(map(part, parts))))

    def _parts(self, client: InferenceClient) -> tuple[int, int, int]:
        """Return how many agents are asked together, at first and then, and how many such parts are worked on at a
        time."""
        once = self.parameters.decoding == "json" and self.parameters.max_turns == 1
        if once or not isinstance(client, LimitsRequests):
            return min(_FIRST, _AT_ONCE), _AT_ONCE, PENDING // _AT_ONCE
        size = min(max(client.concurrency, _LEAST_AT_ONCE), _MOST_AT_ONCE)
        return size, size, max(1, min(-(-_ROUNDS * client.concurrency // size), PENDING // size))

    async def _decide(
        self, observations: Observations, ctx: PolicyContext, client: InferenceClient, stage: Stage
    ) -> ActionBatch:
        p = self.parameters
        counts = ctx.base.show_scores
        system = rules(self._templates, ctx.platform, ctx.allowed, p.max_actions, p.max_turns, p.max_content, counts)
        conversations = stage.begin(observations, system)
        for turn in range(p.max_turns):
            waiting = [c for c in conversations if c.open]
            if not waiting:
                break
            stage.set_options(waiting, last_turn=turn == p.max_turns - 1)
            if p.decoding == "choice":
                answers = await self._by_choice(waiting, turn, ctx, client)
            elif p.decoding == "score":
                answers = await self._by_score(waiting, turn, ctx, client)
            else:
                answers = await self._by_json(waiting, turn, ctx, client)
            looking = []
            for c, answer in zip(waiting, answers, strict=True):
                c.turn = turn
                if isinstance(answer, Outcome):
                    c.failure = answer
                elif answer[0].action in READ_ACTIONS:
                    looking.append((c, answer[0]))
                else:
                    c.choices = answer
            if looking:
                _look(stage, looking, turn, ctx)
        return _rows(conversations, ctx.policy)

    async def _by_json(
        self, waiting: Sequence[Conversation], turn: int, ctx: PolicyContext, client: InferenceClient
    ) -> list[list[Choice] | Outcome]:
        completions = await client.complete([self._question(c, turn, ctx) for c in waiting])
        return [c.value if c.status == "ok" else FAILURES[c.status] for c in completions]

    async def _by_choice(
        self, waiting: Sequence[Conversation], turn: int, ctx: PolicyContext, client: InferenceClient
    ) -> list[list[Choice] | Outcome]:
        """Ask for odds and draw; who cannot be drawn for is asked for JSON."""
        p = self.parameters
        temperature = 1.0 if p.temperature is None else p.temperature
        rules = choice_rules(self._templates, ctx.platform, ctx.base.show_scores)
        chooser = Chooser(client, ctx.world, ctx.base, rules, temperature, p.max_outside, p.calibrate)
        found = await act_by_stages(chooser, waiting, turn, p.max_content, p.max_tokens, p.temperature)
        left = [c for c, each in zip(waiting, found, strict=True) if each is None]
        again = iter(await self._by_json(left, turn, ctx, client) if left else [])
        return [next(again) if each is None else each if isinstance(each, Outcome) else [each] for each in found]

    async def _by_score(
        self, waiting: Sequence[Conversation], turn: int, ctx: PolicyContext, client: InferenceClient
    ) -> list[list[Choice] | Outcome]:
        """Draw by rates and scores; who could not be scored for has failed."""
        p = self.parameters
        rules = choice_rules(self._templates, ctx.platform)
        scorer = Scorer(client, ctx.world, ctx.base, rules, self._templates, p, self._renaming)
        found = await act_by_stages(scorer, waiting, turn, p.max_content, p.max_tokens, p.temperature)
        return [Outcome.LLM_FAILED if c is None else c if isinstance(c, Outcome) else [c] for c in found]

    async def interview(self, agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
        """Ask the model in each agent's name, with its profile and memory."""
        client = _client(ctx)
        form = Form(question, self._renaming)
        system = interview_rules(self._templates, ctx.platform, quote(form.text, 2000), form.example)
        abouts = (
            Stage(ctx, self._memory, self._limits, self._templates, self._renaming).abouts(agents)
            if len(agents)
            else []
        )
        completions = await client.complete(
            [
                InferenceRequest(
                    step=ctx.base.step,
                    agent_id=agent,
                    turn=0,
                    purpose="interview",
                    messages=(("system", system), ("user", f"{about}\n\nWhat do you answer?")),
                    cut=cut,
                    check=form.parse,
                    schema=form.schema(),
                    max_tokens=self.parameters.max_tokens,
                    temperature=self.parameters.temperature,
                )
                for agent, (about, cut) in zip(agents.tolist(), abouts, strict=True)
            ]
        )
        return [_answer(completion) for completion in completions]

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        """Remember what was done and what came of it. The world still stands at the step before."""
        batch = decisions.actions
        rows = np.flatnonzero(~np.isin(batch.action, _FORGOTTEN))
        entries: dict[str, npt.NDArray[np.integer]] = {
            "step": np.full(len(rows), world.step + 1, np.int32),
            "action": batch.action[rows],
            "target_kind": batch.target_kind[rows],
            "target": batch.target_id[rows],
            "created": applied.created_id[rows],
            "outcome": applied.outcome[rows],
        }
        self._memory.push(batch.agent_id[rows], entries)

    def _question(self, c: Conversation, turn: int, ctx: PolicyContext) -> InferenceRequest:
        assert c.options is not None
        return InferenceRequest(
            step=ctx.base.step,
            agent_id=c.agent_id,
            turn=turn,
            purpose="decide",
            messages=c.messages,
            cut=c.cut,
            check=c.options.parse,
            schema=c.options.schema(),
            max_tokens=self.parameters.max_tokens,
            temperature=self.parameters.temperature,
        )


def _bounds(n: int, first: int, size: int) -> list[int]:
    """Return where parts of `n` agents end; each has twice as many as the one before, until they have `size`."""
    bounds, end, part = list[int](), 0, first
    while end + part < n:
        end += part
        bounds.append(end)
        part = min(2 * part, size)
    return bounds


def _look(stage: Stage, looking: Sequence[tuple[Conversation, Choice]], turn: int, ctx: PolicyContext) -> None:
    """Answer read-only actions from the frozen world."""
    choices = [choice for _, choice in looking]
    requests = ActionBatch.build(
        [c.agent_id for c, _ in looking],
        [choice.action for choice in choices],
        target_id=[choice.target for choice in choices],
        content=[choice.content for choice in choices],
        turn=turn,
        policy=ctx.policy,
    )
    views = ctx.ask(requests)
    for (c, _), choice, outcome in zip(looking, choices, views.outcomes.tolist(), strict=True):
        c.reads.append((turn, choice, outcome))
    stage.show([c for c, _ in looking], choices, views)


def _rows(conversations: Sequence[Conversation], policy: int) -> ActionBatch:
    """Return what was decided: rows of an agent adjacent, read-only actions first."""
    rows: list[tuple[int, int, Choice, int]] = []
    chances: list[float] = []
    for c in conversations:
        rows += [(c.agent_id, turn, choice, outcome) for turn, choice, outcome in c.reads]
        if c.choices is not None:
            rows += [(c.agent_id, c.turn, choice, -1) for choice in c.choices]
            chances += [math.nan] * len(c.reads) + [c.probability] * len(c.choices)
        else:
            failure = c.failure if c.failure is not None else Outcome.LLM_INVALID
            rows.append((c.agent_id, c.turn, Choice(Action.NO_DECISION), failure))
            chances += [math.nan] * (len(c.reads) + 1)
    return ActionBatch.build(
        [agent for agent, *_ in rows],
        [choice.action for _, _, choice, _ in rows],
        target_id=[choice.target for _, _, choice, _ in rows],
        arg_id=[choice.arg for _, _, choice, _ in rows],
        content=[choice.content for _, _, choice, _ in rows],
        turn=[turn for _, turn, _, _ in rows],
        probability=chances,
        policy=policy,
        outcome=[outcome for *_, outcome in rows],
    )


def _answer(completion: Completion) -> Answer:
    agent = completion.request.agent_id
    if completion.status != "ok":
        return Answer(agent, float("nan"), None, AnswerSource.LLM, FAILURES[completion.status])
    reading: Reading = completion.value
    return Answer(agent, reading.value, reading.text, AnswerSource.LLM)


def _client(ctx: PolicyContext) -> InferenceClient:
    if ctx.inference is None:
        raise InferenceError("policy llm: there is no inference client; give [llm] endpoints and model")
    return ctx.inference
