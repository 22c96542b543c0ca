"""One step after another on a world in memory: activate, recommend, observe, decide, commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import Action, ActionBatch, Outcome, TargetKind
from oasis.clock import Clock
from oasis.interfaces import (
    Applied,
    InferenceClient,
    Observations,
    Policy,
    Question,
    Recommender,
    ShowsScores,
    StepContext,
)
from oasis.kernels.threads import both
from oasis.records import INTERVIEWS, LATER, LLM_CALLS
from oasis.scenario import Intervention
from oasis.simulation.assembly import Parts
from oasis.simulation.baselines import recommending
from oasis.simulation.commit import commit
from oasis.simulation.components import build_recommender
from oasis.simulation.interventions import Scheduled, schedule
from oasis.simulation.metrics import step_metrics
from oasis.simulation.phases import decide, observe, policy_context
from oasis.simulation.reading import Reader
from oasis.simulation.recorded import Recorded, RecordedStep, decides_in_events
from oasis.simulation.recording import event_rows, impression_rows, interview_rows
from oasis.world.snapshot import copied, restore, store_tables
from oasis.world.store import digest_table

__all__ = ["Engine", "StepResult"]

_ENGAGING = np.zeros(max(Action) + 1, np.bool_)
_ENGAGING[[Action.LIKE_POST, Action.REPOST, Action.QUOTE_POST, Action.CREATE_COMMENT]] = True


@dataclass(frozen=True)
class StepResult:
    """What happened in a step.

    Attributes
    ----------
    step : int
    active : ndarray, shape (n,), int32
        The agents that acted, sorted.
    policy, failed : ndarray, shape (n,), int
        The policy of each, and `Outcome.LLM_FAILED` or `LLM_INVALID` where it made no decision (else -1).
    tables : dict
        Rows of `oasis.records.STEP_TABLES`: ``events``, ``impressions``, ``llm_calls``, ``interviews``.
    metrics : dict
        One number per metric; keys that begin with ``seconds_`` are wall-clock times.
    """

    step: int
    active: npt.NDArray[np.int32]
    policy: npt.NDArray[np.int32]
    failed: npt.NDArray[np.int16]
    tables: dict[str, pa.Table]
    metrics: dict[str, float | int | bool | str]

    @property
    def events(self) -> pa.Table:
        """What was asked for and what came of it, in commit order."""
        return self.tables["events"]

    @property
    def impressions(self) -> pa.Table:
        """What was shown to whom."""
        return self.tables["impressions"]


class Engine:
    """Advances the world of `parts`.

    Parameters
    ----------
    parts : Parts
    inference : InferenceClient or None
        None where no policy asks a language model.
    batch_size : int
        Agents per slice of recommend, observe and decide. It changes memory and speed, never the result.

    Attributes
    ----------
    digest : bytes
        Of the last step; it chains that step's rows and changed agent state to the digest before.
    swapped : dict or None
        Kind and parameters of the recommender that an intervention put in the place of the scenario's.
    torn : bool
        Whether a step broke off that had changed the world, which is that of no step now.
    """

    def __init__(self, parts: Parts, inference: InferenceClient | None = None, batch_size: int = 8_192) -> None:
        simulation = parts.scenario.simulation
        self.parts = parts
        self.digest = b""
        self.swapped: dict[str, Any] | None = None
        self.torn = False
        if parts.point is not None:
            self.digest, self.swapped = bytes.fromhex(parts.point.digest), parts.point.recommender
        self._inference = inference
        self._batch_size = batch_size
        self._clock = Clock(simulation.start, simulation.step_minutes)
        self._recommender = parts.recommender

    async def step(self, injected: Sequence[Intervention] = (), recorded: RecordedStep | None = None) -> StepResult:
        """Do the next step; if a decision cannot be had at all, leave the world as it was before.

        After any other error it may be neither: see `torn`.

        Parameters
        ----------
        recorded : RecordedStep, optional
            What was decided in this step before, for policies whose decisions are all in their events.

        Raises
        ------
        NoEndpointError
            When no inference endpoint is alive.
        """
        parts, world = self.parts, self.parts.world
        step = world.step + 1
        entries = [*parts.scenario.interventions, *injected]
        due = any(entry.happens_at(step) for entry in entries)
        before = copied(store_tables(world)) if due and self._inference is not None else None
        recommender, swapped = self._recommender, self.swapped
        try:
            scheduled = schedule(entries, step, world, parts.policy_names, parts.draws) if due else None
            return await self._step(step, scheduled, recorded)
        except BaseException:
            if self._recommender is not recommender:
                self._use(recommender)
                self.swapped = swapped
            if before is not None:
                restore(world, before, step - 1)
                self.torn = False
            raise

    def active(self, step: int) -> npt.NDArray[np.int32]:
        """Return who would act in a step if the world stood then as it stands now."""
        return self.parts.activation.active(self.parts.world, self._context(step))

    async def interview(
        self, question: Question, agents: npt.NDArray[np.int32], step: int, recorded: RecordedStep | None = None
    ) -> pa.Table:
        """Ask agents a question; return rows of `oasis.records.INTERVIEWS`. Nothing in the world changes."""
        parts, world = self.parts, self.parts.world
        ctx = self._context(step)
        reader = Reader(world, parts.platform, self._recommender, ctx, parts.scenario.recsys.size)
        policy_of = world.users["policy"]
        answers = []
        for number, policy in enumerate(self._deciding(recorded)):
            asked = agents[policy_of[agents] == number]
            if len(asked):
                context = policy_context(world, parts.platform, ctx, number, reader, self._inference)
                answers += await policy.interview(asked, question, context)
        answers.sort(key=lambda answer: answer.agent_id)
        return interview_rows(step, question, answers, parts.policy_names, policy_of)

    async def _step(self, step: int, scheduled: Scheduled | None, recorded: RecordedStep | None) -> StepResult:
        parts, world, platform = self.parts, self.parts.world, self.parts.platform
        watch = _Stopwatch()
        outside, interviews = await self._intervene(step, scheduled, recorded)
        watch.lap("interventions")

        ctx = self._context(step)
        active = parts.activation.active(world, ctx)
        ctx = replace(ctx, active=active)
        watch.lap("activate")
        self._recommender.prepare(world, ctx)
        size = parts.scenario.recsys.size
        seen = observe(world, platform, self._recommender, ctx, active, size, self._batch_size)
        watch.lap("recommend")

        reader = Reader(world, platform, self._recommender, ctx, size)
        contexts = [
            policy_context(world, platform, ctx, number, reader, self._inference)
            for number in range(len(parts.policies))
        ]
        decisions = await decide(world, self._deciding(recorded), contexts, seen, self._batch_size)
        watch.lap("decide")

        decided = ActionBatch.concat([d.actions for d in decisions])
        self.torn = True
        batch, applied, order = commit(world, platform, decided, ctx)
        self._remember(seen, batch, applied, reader)
        back = Applied(np.empty_like(applied.outcome), np.empty_like(applied.created_id))
        back.outcome[order], back.created_id[order] = applied.outcome, applied.created_id
        start = 0
        for policy, decision in zip(parts.policies, decisions, strict=True):
            rows = slice(start, start + len(decision.actions))
            policy.committed(world, decision, Applied(back.outcome[rows], back.created_id[rows]))
            start = rows.stop
            if decision.stances is not None:
                world.users["stance"][decision.stances.agent_ids] = decision.stances.values
        world.step = step
        watch.lap("commit")
        self._embed(ctx.frozen["posts"])
        watch.lap("embed")

        tables = self._tables(step, outside, batch, applied, seen, reader)
        tables["interviews"] = interviews
        self._recommender.update(world, tables["events"], tables["impressions"])
        stances = None
        if any(decision.stances is not None for decision in decisions):
            stances = hashlib.blake2b(world.users["stance"][active].tobytes(), digest_size=16)
        warm_up = step <= parts.scenario.simulation.warmup_steps
        self.digest, measured = both(
            lambda: self._chained(tables, active, b"" if stances is None else stances.digest()),
            lambda: step_metrics(world, seen, batch, applied, platform.actions, warm_up),
        )
        watch.lap("tables")
        moved = {} if stances is None else {"stance_digest": stances.hexdigest()}
        metrics = {"step": step, **measured, **moved, "step_digest": self.digest.hex(), **watch.laps}
        self.torn = False
        return StepResult(step, active, world.users["policy"][active], _failed(active, decided), tables, metrics)

    async def _intervene(
        self, step: int, scheduled: Scheduled | None, recorded: RecordedStep | None
    ) -> tuple[tuple[ActionBatch, Applied], pa.Table]:
        parts, world = self.parts, self.parts.world
        if scheduled is None:
            return (
                ActionBatch.empty(),
                Applied(np.empty(0, np.int16), np.empty(0, np.int32)),
            ), INTERVIEWS.empty_table()
        self.torn = True  # until the step is done
        if scheduled.recommender is not None:
            arguments = scheduled.recommender.arguments
            self.swapped = {"kind": arguments["recommender"], "parameters": dict(arguments.get("parameters", {}))}
            built = build_recommender(self.swapped["kind"], self.swapped["parameters"])
            self._use(recommending(parts.scenario, built))
        before = len(world.users)
        applied = parts.platform.apply_outside(world, scheduled.batch, self._context(step))
        world.users["policy"][before:] = parts.rest_policy
        tables = [
            await self.interview(question, agents[agents < len(world.users)], step, recorded)  # others are not_found
            for question, agents in scheduled.interviews
        ]
        return (scheduled.batch, applied), pa.concat_tables([INTERVIEWS.empty_table(), *tables])

    def _deciding(self, recorded: RecordedStep | None) -> Sequence[Policy | Recorded]:
        """Return the policies; what was decided before speaks for those whose decisions are all in their events."""
        parts = self.parts
        if recorded is None:
            return parts.policies
        return [
            Recorded(name, number, recorded) if decides_in_events(policy) else policy
            for number, (name, policy) in enumerate(zip(parts.policy_names, parts.policies, strict=True))
        ]

    def _use(self, recommender: Recommender) -> None:
        """Put a recommender, and the stores that it owns, in the place of the one before."""
        self._recommender = recommender
        self.parts.world.replace("recsys", recommender.tables())

    def _context(self, step: int) -> StepContext:
        world, platform = self.parts.world, self.parts.platform
        frozen = {name: len(store) for name, store in world.stores.items() if isinstance(store, Sized)}
        return StepContext(
            step,
            self._clock,
            self.parts.draws,
            lambda agents, posts: platform.visible(world, agents, posts),
            platform.personal,
            frozen,
            platform.show_scores if isinstance(platform, ShowsScores) else True,
        )

    def _remember(self, seen: Observations, batch: ActionBatch, applied: Applied, reader: Reader) -> None:
        """Push what was shown and what was engaged with to the agents' rings."""
        world = self.parts.world
        root = world.posts["root"]
        shown = reader.impressions()
        shown = shown.filter(pc.is_valid(shown["post_id"]))  # the others are messages
        agents = np.r_[seen.agent_ids[seen.feeds.rows], shown.column("agent_id").to_numpy()]
        posts = np.r_[seen.feeds.post_ids, shown.column("post_id").to_numpy()]
        order = np.argsort(agents, kind="stable")
        world.seen.push(agents[order], root[posts[order]])
        engaged = np.flatnonzero(
            _ENGAGING[batch.action] & (applied.outcome == Outcome.ACCEPTED) & (batch.target_kind == TargetKind.POST)
        )
        engaged = engaged[np.argsort(batch.agent_id[engaged], kind="stable")]
        world.engaged.push(batch.agent_id[engaged], root[batch.target_id[engaged]])

    def _embed(self, first_post: int) -> None:
        world = self.parts.world
        if world.has_embeddings:
            world.embeddings.ensure(world.posts["text"][first_post:])

    def _tables(
        self,
        step: int,
        outside: tuple[ActionBatch, Applied],
        batch: ActionBatch,
        applied: Applied,
        seen: Observations,
        reader: Reader,
    ) -> dict[str, pa.Table]:
        names, texts = self.parts.policy_names, self.parts.world.texts
        events = event_rows(step, len(outside[0]), batch, applied, names, texts)
        if len(outside[0]):
            events = pa.concat_tables([event_rows(step, 0, *outside, names, texts), events])
        impressions = impression_rows(step, seen.agent_ids, np.zeros(len(seen.agent_ids), np.int16), seen.feeds)
        further = reader.impressions()
        if further.num_rows:
            keys = [("agent_id", "ascending"), ("turn", "ascending"), ("position", "ascending")]
            impressions = pa.concat_tables([impressions, further]).sort_by(keys)
        calls = LLM_CALLS.empty_table() if self._inference is None else self._inference.take_records()
        return {"events": events, "impressions": impressions, "llm_calls": calls}

    def _chained(self, tables: dict[str, pa.Table], active: npt.NDArray[np.int32], stances: bytes) -> bytes:
        world = self.parts.world
        digest = hashlib.blake2b(self.digest, digest_size=16)
        for name in ("events", "impressions", "interviews"):
            digest.update(digest_table(tables[name].drop_columns(list(LATER.get(name, ())))))
        digest.update(world.seen.content(active))
        digest.update(world.engaged.content(active))
        digest.update(stances)
        return digest.digest()


def _failed(active: npt.NDArray[np.int32], decided: ActionBatch) -> npt.NDArray[np.int16]:
    failed = np.full(len(active), -1, np.int16)
    rows = np.flatnonzero(decided.action == Action.NO_DECISION)
    failed[np.searchsorted(active, decided.agent_id[rows])] = decided.outcome[rows]
    return failed


class _Stopwatch:
    """Wall-clock seconds of each phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[f"seconds_{name}"] = now - self._last
        self._last = now
