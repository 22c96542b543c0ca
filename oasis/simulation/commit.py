"""Commit: all actions of a step as one batch, in an order drawn from the seed, never in order of arrival.

Actions are applied in rounds, the i-th action of every agent together, agents in the drawn order. Within
a round an agent acts once, so a round is a few vectorised operations of the platform.
"""

from __future__ import annotations

import numpy as np

from oasis.actions import Action, ActionBatch, TargetKind
from oasis.interfaces import Applied, Platform, StepContext
from oasis.world.text import normalise
from oasis.world.world import World

__all__ = ["MAKES", "commit"]

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
    rank = np.arange(len(decided)) - np.repeat(first, length)
    agents = decided.agent_id[first]
    drawn = ctx.draws.bits("commit", ctx.step, world.users["key"][agents])
    order = np.lexsort((np.repeat(drawn, length), rank))

    batch = decided.take(order)
    batch.content = normalise(batch.content)
    group, rank = np.repeat(np.arange(len(agents)), length)[order], rank[order]
    applied = Applied(np.full(len(batch), -1, np.int16), np.full(len(batch), -1, np.int32))
    created = np.full(len(decided), -1, np.int32)  # by agent and rank: created[first[group] + rank]
    makes = MAKES[decided.action]
    starts = np.searchsorted(rank, np.arange(int(rank.max(initial=-1)) + 2))
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        rows = np.arange(start, end)
        own = rows[batch.target_id[rows] <= -2]
        if len(own):
            wanted = -2 - batch.target_id[own]
            earlier = wanted < rank[own]
            position = first[group[own]] + np.where(earlier, wanted, 0)
            fits = earlier & (makes[position] == batch.target_kind[own])  # its own comment 7 is not post 7
            batch.target_id[own] = np.where(fits, created[position], -1)
        result = platform.apply(world, batch.take(rows), ctx)
        applied.outcome[rows] = result.outcome
        applied.created_id[rows] = result.created_id
        created[first[group[rows]] + rank[rows]] = result.created_id
    return batch, applied, order
