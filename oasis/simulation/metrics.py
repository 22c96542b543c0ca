"""One row of numbers per step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Applied, Observations
from oasis.world.world import World

__all__ = ["step_metrics"]


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
    shown = observations.feeds.post_ids
    roots = world.posts["root"][shown]
    stance = world.users["stance"]
    stance = stance[~np.isnan(stance)].astype(np.float64)
    exposure = np.bincount(roots)
    exposure = np.sort(exposure[exposure > 0])
    return {
        "warm_up": warm,
        "registered": len(world.users),
        "active": len(observations.agent_ids),
        "impressions": len(shown),
        "empty_feeds": int(np.count_nonzero(np.diff(observations.feeds.offsets) == 0)),
        "distinct_roots_shown": len(exposure),
        "exposure_gini": _gini(exposure),
        "posts_total": len(world.posts),
        "comments_total": len(world.comments),
        "follows_total": len(world.follows),
        "actions": int(np.count_nonzero(batch.action != Action.NO_DECISION)),
        "rejected": int(np.count_nonzero(~accepted)),
        "failed_decisions": int(np.count_nonzero(batch.action == Action.NO_DECISION)),
        "mean_stance": float(stance.mean()) if len(stance) else float("nan"),
        "stance_variance": float(stance.var()) if len(stance) else float("nan"),
        **{f"accepted_{a.label}": int(by_action[a]) for a in allowed},
    }


def _gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of sorted positive counts; NaN for none."""
    n = len(counts)
    if n == 0:
        return float("nan")
    rank = np.arange(1, n + 1, dtype=np.int64)
    return float((2 * int((rank * counts).sum()) - (n + 1) * int(counts.sum())) / (n * int(counts.sum())))
