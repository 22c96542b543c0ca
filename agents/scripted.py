"""The ``scripted`` policy: a table says who does what when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import model_validator

from oasis.actions import READ_ACTIONS, Action, ActionBatch
from oasis.agents.script_table import Script, read_script, script_of_rows
from oasis.errors import ScenarioError
from oasis.interfaces import Answer, AnswerSource, Applied, Decisions, Observations, Parameters, PolicyContext, Question
from oasis.plugins import parse_parameters
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["Scripted", "ScriptedParameters"]

I32 = npt.NDArray[np.int32]

_READS = np.asarray(sorted(READ_ACTIONS), np.int16)
_WHERE = "policies.parameters"


class ScriptedParameters(Parameters):
    """Exactly one of the two.

    Attributes
    ----------
    actions : list of dict
        Rows with keys ``step``, ``agent_id``, ``action`` and, where the action needs them, ``target_id``, ``arg_id``,
        ``content``.
    path : str
        A CSV or Parquet file with these columns.
    """

    actions: list[dict[str, Any]] | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.actions is None) == (self.path is None):
            raise ValueError("give either actions (rows in the scenario) or path (a CSV or Parquet file)")
        return self


class Scripted:
    """Do what the table says, in the order of its rows; without a row for the step, nothing.

    A row is carried out if its agent acts in that step: give scripted agents an activity of 1 where each row counts.
    The platform judges each action as it judges anybody's.

    Parameters
    ----------
    script : Script
    """

    needs_embeddings: ClassVar[bool] = False
    needs_inference: ClassVar[bool] = False

    def __init__(self, script: Script) -> None:
        self.script = script

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from `ScriptedParameters`.

        Raises
        ------
        ScenarioError
            Naming the row (from 1), what was got and what is allowed.
        """
        given = parse_parameters(ScriptedParameters, parameters, _WHERE)
        if given.path is not None:
            return cls(read_script(given.path))
        return cls(script_of_rows(given.actions or [], f"{_WHERE}.actions"))

    def tables(self) -> Mapping[str, Store]:
        """Return no stores."""
        return {}

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        """Return the script's rows for this step and these agents, do_nothing for those without.

        Raises
        ------
        ScenarioError
            If a row of this step names an agent that does not exist, or one that has another policy.
        """
        self._check(self.script.step_rows(ctx.base.step), ctx.world.users["policy"], ctx.policy)
        script, agents = self.script, observations.agent_ids
        count, start = script.rows_of(ctx.base.step, agents)
        idle = count == 0
        rows = np.repeat(start - np.r_[0, np.cumsum(count)[:-1]][: len(count)], count) + np.arange(int(count.sum()))
        owner = np.r_[np.repeat(np.arange(len(agents)), count), np.flatnonzero(idle)]
        order = np.argsort(owner, kind="stable")
        rows = np.r_[rows, np.full(int(idle.sum()), -1)][order].astype(np.int64)

        def column(values: npt.NDArray[Any], missing: int) -> npt.NDArray[Any]:
            return np.where(rows >= 0, np.append(values, missing)[rows], missing)

        batch = ActionBatch.build(
            agents[owner[order]],
            column(script.action, Action.DO_NOTHING),
            target_id=column(script.target_id, -1),
            arg_id=column(script.arg_id, -1),
            content=script.content.take(pa.array(rows, mask=rows < 0)),
            policy=ctx.policy,
        )
        return Decisions(_answered(batch, ctx))

    async def interview(self, agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
        """Return no values: a table of actions holds no opinions."""
        text = "This agent follows a script of actions and has no answers."
        return [Answer(int(agent), float("nan"), text, AnswerSource.SCRIPT) for agent in agents]

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        """Keep nothing."""

    def check_agents(self, policies: npt.NDArray[np.integer], number: int, newcomers: bool) -> None:
        """Refuse rows of agents that do not exist (unless some may sign up), or that have another policy.

        Raises
        ------
        ScenarioError
            Naming the row.
        """
        every = np.arange(len(self.script.step))
        self._check(every if not newcomers else every[self.script.agent_id < len(policies)], policies, number)

    def _check(self, rows: npt.NDArray[np.int64], policies: npt.NDArray[np.integer], number: int) -> None:
        agents = self.script.agent_id[rows]
        unknown = np.flatnonzero(agents >= len(policies))
        if len(unknown):
            row, agent = int(rows[unknown[0]]), agents[unknown[0]]
            raise ScenarioError(
                f"{self.script.where(row)}: there is no agent {agent} at step {self.script.step[row]}, "
                f"ids are 0 to {len(policies) - 1}"
            )
        policy = policies[agents]
        other = np.flatnonzero((policy >= 0) & (policy != number))
        if len(other):
            where, agent = self.script.where(int(rows[other[0]])), agents[other[0]]
            raise ScenarioError(f"{where}: agent {agent} has another policy; select it in this [[policies]] entry")


def _answered(batch: ActionBatch, ctx: PolicyContext) -> ActionBatch:
    """Ask the read-only actions, number the turns (one more after each of them), and fill in their outcomes."""
    reading = np.isin(batch.action, _READS)
    if not reading.any():
        return batch
    before: npt.NDArray[np.int64] = np.cumsum(reading) - reading
    first = np.flatnonzero(np.r_[True, batch.agent_id[1:] != batch.agent_id[:-1]])
    length = np.diff(np.r_[first, len(batch)])
    batch.turn = (before - np.repeat(before[first], length)).astype(np.int16)
    rows = np.flatnonzero(reading)
    batch.outcome = np.full(len(batch), -1, np.int16)
    batch.outcome[rows] = ctx.ask(batch.take(rows)).outcomes
    return batch
