"""One row of numbers per step.

Authors of what is shown are those of the roots: a repost exposes agents to whom it repeats. Except for the columns over
all agents (`agents_reached`, the stances) the cost follows the step's impressions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Applied, Observations, RowFlag
from oasis.world.world import World

__all__ = ["step_metrics"]

_NAN = float("nan")
_SPARSE = 16  # ids are counted by sorting where there are this many times more of them than rows


def step_metrics(
    world: World,
    observations: Observations,
    batch: ActionBatch,
    applied: Applied,
    allowed: Sequence[Action],
    warm: bool,
) -> dict[str, float | int | bool]:
    """Return the metrics of a step; every step of a run has the same keys."""
    accepted = applied.outcome == Outcome.ACCEPTED
    by_action = np.bincount(batch.action[accepted], minlength=max(Action) + 1)
    stance = world.users["stance"]
    stance = stance[~np.isnan(stance)].astype(np.float64)
    empty = int(np.count_nonzero(np.diff(observations.feeds.offsets) == 0))
    return {
        "warm_up": warm,
        "registered": len(world.users),
        "active": len(observations.agent_ids),
        "impressions": len(observations.feeds.post_ids),
        "empty_feeds": empty,
        "agents_shown": len(observations.agent_ids) - empty,
        "agents_reached": world.seen.filled,
        **_exposure(world, observations),
        "posts_total": len(world.posts),
        "comments_total": len(world.comments),
        "follows_total": len(world.follows),
        "actions": int(np.count_nonzero(batch.action != Action.NO_DECISION)),
        "rejected": int(np.count_nonzero(~accepted)),
        "failed_decisions": int(np.count_nonzero(batch.action == Action.NO_DECISION)),
        "mean_stance": float(stance.mean()) if len(stance) else _NAN,
        "stance_variance": float(stance.var()) if len(stance) else _NAN,
        **{f"accepted_{a.label}": int(by_action[a]) for a in allowed},
    }


def _exposure(world: World, observations: Observations) -> dict[str, float | int]:
    """Return what was shown in the feeds of a step, by whom, and to whom."""
    roots = world.posts["root"][observations.feeds.post_ids]
    authors = world.posts["author"][roots]
    viewers = observations.agent_ids[observations.feeds.rows]
    by_root, by_author = _counts(roots, len(world.posts)), _counts(authors, len(world.users))
    group = world.users["group"]
    mine, theirs = group[viewers], group[authors]
    grouped = (mine >= 0) & (theirs >= 0)
    stance = world.users["stance"]
    shown = stance[authors].astype(np.float64)
    distance = np.abs(shown - stance[viewers])
    return {
        "distinct_roots_shown": len(by_root),
        "distinct_authors_shown": len(by_author),
        "exposure_gini": _gini(by_root),
        "author_exposure_gini": _gini(by_author),
        "largest_root_share": float(by_root[-1] / len(roots)) if len(roots) else _NAN,
        "in_network_share": _share(observations.flags & RowFlag.IN_NETWORK != 0),
        "seen_before_share": _share(observations.flags & RowFlag.SEEN != 0),
        "cross_group_share": _share(mine[grouped] != theirs[grouped]),
        "mean_stance_shown": _mean(shown[~np.isnan(shown)]),
        "stance_distance_shown": _mean(distance[~np.isnan(distance)]),
    }


def _counts(ids: npt.NDArray[np.int32], size: int) -> npt.NDArray[np.int64]:
    """Return how often each distinct id is there, ascending."""
    counts = np.bincount(ids) if size < _SPARSE * len(ids) else np.unique(ids, return_counts=True)[1]
    return np.sort(counts[counts > 0])


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else _NAN


def _share(rows: npt.NDArray[np.bool_]) -> float:
    return np.count_nonzero(rows) / len(rows) if len(rows) else _NAN


def _gini(counts: npt.NDArray[np.int64]) -> float:
    """Return the Gini coefficient of sorted positive counts; NaN for none."""
    n = len(counts)
    if n == 0:
        return _NAN
    rank = np.arange(1, n + 1, dtype=np.int64)
    return float((2 * int((rank * counts).sum()) - (n + 1) * int(counts.sum())) / (n * int(counts.sum())))
