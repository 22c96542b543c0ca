"""Recommend, observe and decide: pure functions of a frozen world, run over slices of the active agents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oasis.actions import ActionBatch
from oasis.interfaces import (
    Decisions,
    Feeds,
    InferenceClient,
    Observations,
    Platform,
    Policy,
    PolicyContext,
    Recommender,
    Stances,
    StepContext,
)
from oasis.kernels.threads import available, each
from oasis.simulation.reading import Reader
from oasis.simulation.recorded import Recorded
from oasis.tasks import together
from oasis.world.world import World

__all__ = ["decide", "observe", "policy_context"]

I32 = npt.NDArray[np.int32]


def observe(
    world: World,
    platform: Platform,
    recommender: Recommender,
    ctx: StepContext,
    agents: I32,
    feed_size: int,
    batch_size: int,
) -> Observations:
    """Return what the active agents see, computed for at most `batch_size` agents at a time on each thread."""

    def part(rows: npt.NDArray[np.integer]) -> Observations:
        feeds = recommender.recommend(world, ctx, agents[rows], feed_size)
        return platform.observe(world, agents[rows], feeds, ctx)

    parts = each(_slices(np.arange(len(agents)), batch_size), part)
    return parts[0] if len(parts) == 1 else _concat(agents, parts)


async def decide(
    world: World,
    policies: Sequence[Policy | Recorded],
    contexts: Sequence[PolicyContext],
    observations: Observations,
    batch_size: int,
) -> list[Decisions]:
    """Ask each policy about its agents, all at the same time.

    Returns
    -------
    list of Decisions, length len(policies)
        In the order of the policies, whatever order they answer in.
    """
    mine = world.users["policy"][observations.agent_ids]
    rows = [np.flatnonzero(mine == number) for number in range(len(policies))]
    slices = [_slices(which, batch_size) for which in rows]
    answers = iter(
        await together(
            policy.decide(observations.take(part), ctx)
            for policy, ctx, parts in zip(policies, contexts, slices, strict=True)
            for part in parts
        )
    )
    decided = []
    for mine_sliced, which in zip(slices, rows, strict=True):
        parts = [next(answers) for _ in mine_sliced]
        actions = ActionBatch.concat([p.actions for p in parts])
        stances = _stances(parts)
        _check(actions, stances, observations.agent_ids[which])
        updates: dict[str, object] = {}
        for name in {name for p in parts for name in p.updates}:
            updates[name] = [p.updates[name] for p in parts if name in p.updates]
        decided.append(Decisions(actions, updates, stances))
    return decided


def policy_context(
    world: World,
    platform: Platform,
    base: StepContext,
    policy: int,
    reader: Reader,
    inference: InferenceClient | None,
) -> PolicyContext:
    """Return what policy number `policy` may use in this step."""
    return PolicyContext(base, world, policy, platform.actions, reader.ask, inference, platform.name)


def _stances(parts: Sequence[Decisions]) -> Stances | None:
    given = [p.stances for p in parts if p.stances is not None]
    if not given:
        return None
    return Stances(np.concatenate([s.agent_ids for s in given]), np.concatenate([s.values for s in given]))


def _check(actions: ActionBatch, stances: Stances | None, agents: I32) -> None:
    """Refuse decisions that leave an agent out, repeat one or invent one: a fault of the policy's code."""
    ids = actions.agent_id
    first = ids[np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])[: len(ids)]]
    if not np.array_equal(first, agents):
        raise ValueError("a policy must return adjacent rows for each observed agent, in the order observed")
    if stances is None:
        return
    once = len(np.unique(stances.agent_ids)) == len(stances.agent_ids) == len(stances.values)
    if not (once and np.isin(stances.agent_ids, agents).all() and np.isfinite(stances.values).all()):
        raise ValueError("a policy may give stances, finite ones, only to observed agents, once to each")


def _slices(agents: npt.NDArray[np.integer], size: int) -> list[npt.NDArray[np.integer]]:
    """Return slices of nearly equal length, at most `size`; where there are several, as many for each thread."""
    count = -(-len(agents) // size)
    return (
        np.array_split(agents, count if count <= 1 else -(-count // available()) * available()) if count else [agents]
    )


def _concat(agents: I32, parts: Sequence[Observations]) -> Observations:
    return Observations(
        agents,
        Feeds(
            _join_offsets([p.feeds.offsets for p in parts]),
            np.concatenate([p.feeds.post_ids for p in parts]),
            np.concatenate([p.feeds.scores for p in parts]),
            np.concatenate([p.feeds.sources for p in parts]),
            all(p.feeds.shared for p in parts),
        ),
        np.concatenate([p.flags for p in parts]),
        _join_offsets([p.comment_offsets for p in parts]),
        np.concatenate([p.comment_ids for p in parts]),
    )


def _join_offsets(parts: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    lengths = np.concatenate([np.diff(p) for p in parts])
    return np.r_[np.int64(0), np.cumsum(lengths)]
