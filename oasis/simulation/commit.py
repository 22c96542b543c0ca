"""Commit: all actions of a step as one batch, in an order drawn from the seed, never in order of arrival.

Actions are applied in rounds, the i-th action of every agent together, agents in the drawn order. Within
a round an agent acts once, so a round is a few vectorised operations of the platform.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, ActionBatch, TargetKind
from oasis.interfaces import Applied, Platform, StepContext
from oasis.kernels import rounds as kernels
from oasis.world.text import normalise
from oasis.world.world import World

__all__ = ["MAKES", "commit"]

I64 = npt.NDArray[np.int64]

MAKES = np.zeros(max(Action) + 1, np.int8)
"""The kind of thing that each action makes and that can be aimed at."""
MAKES[[Action.CREATE_POST, Action.REPOST, Action.QUOTE_POST]] = TargetKind.POST
MAKES[Action.CREATE_COMMENT] = TargetKind.COMMENT
MAKES[Action.CREATE_GROUP] = TargetKind.GROUP


def commit(
    world: World, platform: Platform, decided: ActionBatch, ctx: StepContext
) -> tuple[ActionBatch, Applied, np.ndarray]:
    """Apply a step's actions to the world.

    Parameters
    ----------
    decided : ActionBatch, length a
        Rows of an agent adjacent and in the order it asks for them.

    Returns
    -------
    batch : ActionBatch, length a
        The actions in commit order, texts normalised, targets resolved.
    applied : Applied
        Outcomes, aligned with `batch`.
    order : ndarray, shape (a,), int64
        ``decided.take(order)`` is in the order of `batch`.
    """
    first = np.flatnonzero(np.r_[True, decided.agent_id[1:] != decided.agent_id[:-1]])[: len(decided)]
    length = np.diff(np.r_[first, len(decided)])
    drawn = ctx.draws.bits("commit", ctx.step, world.users["key"][decided.agent_id[first]])
    rounds = _rounds(first, length, drawn)
    order = np.concatenate(rounds) if rounds else np.empty(0, np.int64)

    batch = decided.take(order)
    batch.content = normalise(batch.content)
    applied = Applied(np.full(len(batch), -1, np.int16), np.full(len(batch), -1, np.int32))
    created = np.full(len(decided), -1, np.int32)
    start = 0
    for rank, rows in enumerate(rounds):
        here = batch.slice(start, start + len(rows))
        own = np.flatnonzero(here.target_id <= -2)
        if len(own):
            wanted = -2 - here.target_id[own]
            earlier = wanted < rank
            position = rows[own] - rank + np.where(earlier, wanted, 0)
            fits = earlier & (MAKES[decided.action[position]] == here.target_kind[own])  # own comment 7 is not post 7
            here.target_id[own] = np.where(fits, created[position], -1)
        result = platform.apply(world, here, ctx)
        applied.outcome[start : start + len(rows)] = result.outcome
        applied.created_id[start : start + len(rows)] = created[rows] = result.created_id
        start += len(rows)
    return batch, applied, order


def _rounds(first: I64, length: I64, drawn: npt.NDArray[np.uint64]) -> list[I64]:
    """Return the rows of each round: the i-th of every agent that has so many, agents in the drawn order.

    Parameters
    ----------
    first, length : shape (n,)
        Where the rows of each agent begin, and how many there are.
    drawn : shape (n,)
    """
    agents = np.empty(len(drawn), np.int64)
    kernels.sort_draws(drawn, agents)
    rounds: list[I64] = []
    while len(agents):
        rounds.append(first[agents] + len(rounds))
        agents = agents[length[agents] > len(rounds)]
    return rounds
