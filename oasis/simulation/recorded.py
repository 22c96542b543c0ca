"""What a run recorded, step by step, for one that executes its steps again.

A policy that asks a language model need not render its prompts again: all that it decided is in its events. So steps
are executed again faster than they were made, whatever the server was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oasis.actions import READ_ACTIONS, USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind, own_creation
from oasis.errors import ReplayError
from oasis.interfaces import Answer, AnswerSource, Decisions, Observations, Policy, PolicyContext, Question
from oasis.records import STEP_TABLES
from oasis.runs.blocks import block_files, read_recorded
from oasis.runs.reading import Run
from oasis.simulation.commit import MAKES

__all__ = ["Recorded", "RecordedStep", "RecordedSteps", "decides_in_events"]

I32 = npt.NDArray[np.int32]

_READS = np.array(sorted(READ_ACTIONS), np.int16)
_GIVEN = np.array([Outcome.LLM_FAILED, Outcome.LLM_INVALID, Outcome.OVER_LIMIT], np.int16)  # by policies themselves
_MADE_IN = {TargetKind.POST: "posts", TargetKind.COMMENT: "comments", TargetKind.GROUP: "groups"}


def decides_in_events(policy: Policy) -> bool:
    """Return whether all that `policy` decides is in its events; it says so itself (`oasis.interfaces.Policy`)."""
    return bool(getattr(policy, "decides_in_events", False))


class RecordedSteps:
    """Rows of a run's recorded tables by step. A block is read when its first step is asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._block: dict[str, tuple[range, pa.Table]] = {}

    def step(self, step: int) -> RecordedStep:
        """Return what was recorded of a step that is done."""
        return RecordedStep(step, self)

    def rows(self, table: str, step: int) -> pa.Table:
        """Return a table's rows of a step, in their order."""
        covered, rows = self._block.get(table, (range(0), None))
        if step not in covered:
            covered, rows = self._block[table] = self._read(table, step)
        return rows.filter(pc.equal(rows["step"], step))

    def _read(self, table: str, step: int) -> tuple[range, pa.Table]:
        if (block := self._block_of(table, step)) is None:
            _, rest = read_recorded(self._run.path, table)
            if (block := self._block_of(table, step)) is None:
                return range(step, self._run.steps_done + 1), rest
        first, last, path = block  # in the second place: of a run in progress, it has become Parquet meanwhile
        return range(first, last + 1), pq.read_table(path, schema=STEP_TABLES[table])

    def _block_of(self, table: str, step: int) -> tuple[int, int, Path] | None:
        blocks = block_files(self._run.path, table)
        return next((block for block in blocks if block[0] <= step <= block[1]), None)


@dataclass(frozen=True)
class RecordedStep:
    """What was recorded of one step."""

    step: int
    steps: RecordedSteps

    def rows(self, table: str) -> pa.Table:
        """Return the rows of one of `oasis.records.STEP_TABLES`."""
        return self.steps.rows(table, self.step)

    def actions(self, policy: str, number: int, agents: I32, frozen: Mapping[str, int]) -> ActionBatch:
        """Return what agents decided by policy number `number`, called `policy`.

        Parameters
        ----------
        agents : ndarray, shape (n,), int32
            Sorted.
        frozen : mapping
            Lengths of stores before the step.

        Raises
        ------
        ReplayError
            For an agent of which nothing is recorded.
        """
        events = self.rows("events")
        mine = (_codes(events["policy"], {policy: 1}) == 1) & np.isin(events["agent_id"].to_numpy(), agents)
        events = events.filter(pa.array(mine))
        events = events.take(pc.sort_indices(events, [("agent_id", "ascending"), ("seq", "ascending")]))
        agent = events["agent_id"].to_numpy()
        missing = np.setdiff1d(agents, agent)
        if len(missing):
            raise ReplayError(f"step {self.step}: agent {missing[0]} acts, and no event of it by {policy} is recorded")
        action = _codes(events["action"], {a.label: a for a in (*USER_ACTIONS, Action.NO_DECISION)})
        kind = _codes(events["target_kind"], _labels(TargetKind), missing=TargetKind.NONE)
        outcome = _codes(events["outcome"], _labels(Outcome))
        target = events["target_id"].fill_null(-1).to_numpy()
        created = events["created_id"].fill_null(-1).to_numpy()
        return ActionBatch.build(
            agent,
            action,
            target_id=_as_own_creations(agent, action, kind, target, created, frozen),
            target_kind=kind,
            arg_id=events["arg_id"].fill_null(-1).to_numpy(),
            content=events["content"].combine_chunks(),
            turn=events["turn"].to_numpy(),
            probability=events["probability"].fill_null(float("nan")).to_numpy(),
            policy=number,
            outcome=np.where(np.isin(action, _READS) | np.isin(outcome, _GIVEN), outcome, -1),
        )


class Recorded:
    """Stands for a policy in a step that is executed again; implements `oasis.interfaces.Policy` as far as it decides.

    Parameters
    ----------
    name : str
    number : int
        Of the policy in the scenario.
    recorded : RecordedStep
    """

    needs_embeddings: ClassVar[bool] = False
    needs_inference: ClassVar[bool] = False

    def __init__(self, name: str, number: int, recorded: RecordedStep) -> None:
        self._name, self._number, self._recorded = name, number, recorded

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        """Return what was decided; what agents looked up is looked up again, for what they were shown."""
        if not len(observations.agent_ids):
            return Decisions(ActionBatch.empty())
        batch = self._recorded.actions(self._name, self._number, observations.agent_ids, ctx.base.frozen)
        reads = np.isin(batch.action, _READS)
        for turn in np.unique(batch.turn[reads]):
            requests = batch.take(reads & (batch.turn == turn))
            requests.outcome = np.full(len(requests), -1, np.int16)  # as they were asked
            ctx.ask(requests)
        return Decisions(batch)

    async def interview(self, agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
        """Return what was answered."""
        outcomes = _labels(Outcome)
        rows = {
            row["agent_id"]: row
            for row in self._recorded.rows("interviews").to_pylist()
            if row["question_id"] == question.question_id
        }
        missing = [agent for agent in agents.tolist() if agent not in rows]
        if missing:
            raise ReplayError(
                f"step {self._recorded.step}: agent {missing[0]} is asked {question.question_id!r},"
                " and no answer is recorded"
            )
        return [_answer(rows[agent], outcomes) for agent in agents.tolist()]


def _answer(row: Mapping[str, Any], outcomes: Mapping[str, int]) -> Answer:
    value, said = row["value"], row["probabilities"]
    return Answer(
        row["agent_id"],
        float("nan") if value is None else value,
        row["text"],
        None if row["source"] is None else AnswerSource(row["source"]),
        Outcome(outcomes[row["outcome"]]),
        None if said is None else tuple(said),
    )


def _as_own_creations(
    agent: I32,
    action: npt.NDArray[np.int16],
    kind: npt.NDArray[np.int16],
    target: I32,
    created: I32,
    frozen: Mapping[str, int],
) -> I32:
    """Return targets; what an agent made itself earlier in the step by its place, as it had to be asked for."""
    target = target.copy()
    for made, store in _MADE_IN.items():
        for row in np.flatnonzero((kind == made) & (target >= frozen[store])):
            first = int(np.searchsorted(agent, agent[row]))
            earlier = np.flatnonzero((created[first:row] == target[row]) & (MAKES[action[first:row]] == made))
            if len(earlier):
                target[row] = own_creation(int(earlier[0]))
    return target


def _labels(members: type[IntEnum]) -> dict[str, int]:
    return {member.label: int(member) for member in members}  # type: ignore[attr-defined]


def _codes(column: pa.ChunkedArray, codes: Mapping[str, int], missing: int = -1) -> npt.NDArray[np.int16]:
    """Return the code of each label; `missing` for null and for other labels."""
    column = column.unify_dictionaries().combine_chunks()
    of = np.array([codes.get(name, missing) for name in column.dictionary.to_pylist()] + [missing], np.int16)
    return of[column.indices.fill_null(len(of) - 1).to_numpy()]
