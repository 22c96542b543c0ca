"""A run's steps once more in memory, asking nobody, with a look at every decision as it was taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.errors import InputError, ReplayError
from oasis.interfaces import Answer, Applied, Decisions, Observations, Policy, PolicyContext, Question
from oasis.runs import open_run
from oasis.scenario import Scenario
from oasis.simulation.assembly import assemble
from oasis.simulation.engine import Engine
from oasis.simulation.rebuild import injected
from oasis.simulation.recorded import Recorded, RecordedSteps, decides_in_events
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["OnCommitted", "OnDecisions", "watch_run", "watch_steps"]

OnDecisions = Callable[[Observations, PolicyContext, Decisions], Awaitable[None] | None]
"""Called with what some agents saw, the world as it was, and what they decided; it must change nothing.

What it returns is waited for, and the world stays as it is meanwhile."""
OnCommitted = Callable[[World, Decisions, Applied], None]
"""Called once a step, as `oasis.interfaces.Policy.committed` is."""


def watch_run(directory: Path, look: Mapping[str, OnDecisions]) -> list[str]:
    """Do as `watch_steps`, from anywhere: also inside an event loop, as in a notebook, of which nothing is used."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(watch_steps(directory, look))).result()


async def watch_steps(
    directory: Path,
    look: Mapping[str, OnDecisions],
    committed: Mapping[str, OnCommitted] = MappingProxyType({}),
    *,
    batch_size: int = 8_192,
) -> list[str]:
    """Execute a run's steps again, and call ``look[name]`` with the decisions of the policy of that name.

    What a language model decided is read from the events; policies that compute compute again. Every step is compared
    with the recorded one. Texts are embedded whether or not the run needed it.

    Parameters
    ----------
    committed : mapping, optional
        ``committed[name]`` is called after each step with what became of the decisions.
    batch_size : int
        Most agents that are looked at together; several batches of a step are waited for at the same time.

    Returns
    -------
    list of str
        The names of the run's policies.

    Raises
    ------
    InputError
        If a name is no policy of the run, or the run is a branch, has no steps, or did not end.
    ReplayError
        If a step comes out differently.
    """
    run = open_run(directory)
    if run.manifest.past:
        raise InputError(f"{directory}: is a branch; its decisions begin in another run, so use that one")
    if not run.ended or run.steps_done < 1:
        raise InputError(f"{directory}: has no steps, or has not ended: finish it first (oasis run --resume)")
    parts = assemble(Scenario.from_dict(run.manifest.scenario), needs_endpoint=False, embeds=True)
    for name in {**look, **committed}:
        if name not in parts.policy_names:
            raise InputError(f"{directory}: has no policy {name!r}; there are {', '.join(parts.policy_names)}")
    steps = RecordedSteps(run)
    watched = [
        _Watched(policy, name, number, steps, look.get(name), committed.get(name))
        for number, (name, policy) in enumerate(zip(parts.policy_names, parts.policies, strict=True))
    ]
    engine = Engine(replace(parts, policies=cast(list[Policy], watched)), batch_size=batch_size)
    digests = run.metrics.select("step", pl.col("step_digest")).sort("step").collect()
    from_python = injected(run.manifest)
    for step, digest in digests.iter_rows():
        result = await engine.step(from_python)
        if result.metrics["step_digest"] != digest:
            raise ReplayError(
                f"{directory}: step {step} comes out differently from how it was recorded; oasis verify says more"
            )
    return list(parts.policy_names)


class _Watched:
    """A policy that decides as it did, and is looked at."""

    def __init__(
        self,
        policy: Policy,
        name: str,
        number: int,
        steps: RecordedSteps,
        look: OnDecisions | None,
        on_committed: OnCommitted | None,
    ) -> None:
        self._policy, self._name, self._number, self._steps = policy, name, number, steps
        self._look, self._on_committed = look, on_committed
        self.needs_embeddings, self.needs_inference = policy.needs_embeddings, policy.needs_inference

    def tables(self) -> Mapping[str, Store]:
        return self._policy.tables()

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        decisions = await self._acting(ctx).decide(observations, ctx)
        if self._look is not None and len(observations.agent_ids):
            seen = self._look(observations, ctx, decisions)
            if seen is not None:
                await seen
        return decisions

    async def interview(self, agents: npt.NDArray[np.int32], question: Question, ctx: PolicyContext) -> list[Answer]:
        return await self._acting(ctx).interview(agents, question, ctx)

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        self._policy.committed(world, decisions, applied)
        if self._on_committed is not None:
            self._on_committed(world, decisions, applied)

    def _acting(self, ctx: PolicyContext) -> Policy | Recorded:
        if not decides_in_events(self._policy):
            return self._policy
        return Recorded(self._name, self._number, self._steps.step(ctx.base.step))
