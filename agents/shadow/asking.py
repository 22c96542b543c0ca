"""Asking a language model about a drawn share of a policy's activations, and doing nothing of what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from oasis.actions import Action
from oasis.agents.choice.model import ChoiceParameters, Model
from oasis.agents.llm import LLM
from oasis.agents.shadow.answers import Answers, Batch, foretell
from oasis.errors import FailureLimitError
from oasis.inference_config import LLMConfig
from oasis.interfaces import Applied, Decisions, InferenceClient, Observations, PolicyContext
from oasis.randomness import Draws
from oasis.records import LLM_CALLS
from oasis.runs.begun import fate
from oasis.simulation.calls import CallCounts
from oasis.simulation.coverage import Coverage
from oasis.world.world import World

__all__ = ["Asking", "OnStep"]

OnStep = Callable[[int, int], None]
"""Called after each step with its number, and how many agents were asked so far."""


class Asking:
    """Looks at decisions (see `oasis.simulation.watching.watch_steps`), and asks about some of them.

    Whether an agent is asked in a step is a draw of its own, keyed by (seed, step, agent). It is asked what an agent of
    the ``llm`` policy would be: the prompt has what it saw, and what it did so far, as the run recorded it.

    Parameters
    ----------
    policy : LLM
    parameters : ChoiceParameters
        Of the policy whose decisions these are.
    client : InferenceClient
    calls : CallCounts
        Told of all calls.
    config : LLMConfig
        Its limit on failures is used.
    draws : Draws
    share : float
        Of activations that are asked about.
    keep : Path, optional
        Where answers are kept.
    on_step : callable, optional

    Attributes
    ----------
    answers : Answers
    activations : int
        That were looked at.
    records : list of pyarrow.Table
        Rows of `oasis.records.LLM_CALLS`.
    """

    def __init__(
        self,
        policy: LLM,
        parameters: ChoiceParameters,
        client: InferenceClient,
        calls: CallCounts,
        config: LLMConfig,
        draws: Draws,
        share: float,
        keep: Path | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self._policy, self._parameters, self._client = policy, parameters, client
        self.calls, self.keep = calls, keep
        self._draws, self._share, self._on_step = draws, share, on_step
        self._coverage = Coverage(["llm"], [True], config.failure_limit, config.failure_window)
        self._counted = 0
        self.answers = Answers()
        self.activations = 0
        self.records: list[pa.Table] = [LLM_CALLS.empty_table()]

    @property
    def asked(self) -> int:
        """Activations asked about so far."""
        return sum(len(batch.agents) for batch in self.answers.batches)

    async def look(self, observations: Observations, ctx: PolicyContext, decisions: Decisions) -> None:
        """Ask about the drawn ones of the agents observed."""
        self.activations += len(observations.agent_ids)
        keys = ctx.world.users["key"][observations.agent_ids]
        drawn = np.flatnonzero(self._draws.uniform("shadow", ctx.base.step, keys) < self._share)
        if not len(drawn):
            return
        seen = observations.take(drawn)
        asked = (await self._policy.decide(seen, replace(ctx, inference=self._client))).actions
        failed = np.full(len(drawn), -1, np.int16)
        undecided = np.flatnonzero(asked.action == Action.NO_DECISION)
        failed[np.searchsorted(seen.agent_ids, asked.agent_id[undecided])] = asked.outcome[undecided]
        recorded = decisions.actions.take(np.isin(decisions.actions.agent_id, seen.agent_ids))
        answered = seen.take(np.flatnonzero(failed < 0))
        asked, recorded = (rows.take(np.isin(rows.agent_id, answered.agent_ids)) for rows in (asked, recorded))
        model = Model.build(ctx.platform, ctx.allowed, self._parameters)
        occasions = foretell(answered, ctx, model, asked, recorded)
        self.answers.batches.append(Batch(ctx.base.step, seen.agent_ids, failed, asked, recorded, occasions))

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        """Remember what agents did, and judge what failed in the step.

        Raises
        ------
        FailureLimitError
            If more failed than ``[llm] failure_limit`` allows.
        """
        self._policy.committed(world, decisions, applied)
        rows = self._client.take_records()
        self.calls.add(rows)
        self.records.append(rows)
        new, self._counted = self.answers.batches[self._counted :], len(self.answers.batches)
        for batch in sorted(new, key=lambda each: int(each.agents[0])):
            self._coverage.add(len(world.users), batch.agents, np.zeros(len(batch.agents), np.int32), batch.failed)
        self._judge(at_end=False)
        if self._on_step is not None:
            self._on_step(world.step + 1, self.asked)

    def end(self) -> None:
        """Judge what failed over all steps.

        Raises
        ------
        FailureLimitError
        """
        self._judge(at_end=True)

    def _judge(self, at_end: bool) -> None:
        if (excess := self._coverage.excess(at_end)) is not None:
            raise FailureLimitError(
                f"{excess}; {fate(self.keep)}. To accept that, give --set llm.failure_limit=SHARE (0 to 1)"
            )
