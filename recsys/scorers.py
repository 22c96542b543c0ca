"""Scores: one function per published or assumed formula, vectorised, with logarithms of one implementation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import rank

__all__ = [
    "REDDIT_EPOCH_S",
    "demoted",
    "engagement",
    "fame",
    "fame_of_many",
    "hot",
    "newest",
    "recency",
]

F64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]

REDDIT_EPOCH_S = 1_134_028_003.0
"""Origin of Reddit's hot time axis, 2005-12-08 07:46:43 UTC (reddit/reddit r2/lib/db/_sorts.pyx, 2008 onwards)."""
HOT_SECONDS_PER_DECADE = 45_000.0
"""12.5 hours weigh as much as ten times the votes (same source)."""
RECENCY_REACH, RECENCY_SCALE = 271.8, 100.0
"""OASIS (arXiv 2411.11581), section 2.3: ``ln((271.8 - age) / 100)``, age in steps; 1 when new, 0 from 171.8 on."""
FAME_BASE = 1000.0
"""OASIS (arXiv 2411.11581), section 2.3: ``max(1, log_1000(followers + 1))``."""
REPOST_WEIGHT = 2
"""A repost counts as two likes in the in-network order (assumed)."""


def _log(values: F64) -> F64:
    out = np.empty(len(values))
    rank.log(values, out)
    return out


def hot(ups: Counts, downs: Counts, epoch_seconds: F64, score_weight: float = 1.0) -> F64:
    """Return Reddit's hot score, ``w * sign(s) * log10(max(|s|, 1)) + (t - 1134028003) / 45000``, ``s = ups - downs``.

    Parameters
    ----------
    ups, downs : ndarray, shape (m,), integers
        Votes as shown: base and counted.
    epoch_seconds : ndarray, shape (m,), float64
        Simulated time of posting, in seconds since 1970-01-01 UTC.
    score_weight : float
        ``w``, 1 on Reddit.

    Returns
    -------
    ndarray, shape (m,), float64
    """
    s = ups.astype(np.int64) - downs.astype(np.int64)
    order = np.empty(len(s))
    rank.log10(np.maximum(np.abs(s), 1).astype(np.float64), order)
    return np.asarray(score_weight * np.sign(s) * order + (epoch_seconds - REDDIT_EPOCH_S) / HOT_SECONDS_PER_DECADE)


def engagement(likes: Counts, reposts: Counts, comments: Counts) -> F64:
    """Return ``likes + 2 * reposts + comments`` (float64 of an exact integer)."""
    return (likes.astype(np.int64) + REPOST_WEIGHT * reposts.astype(np.int64) + comments).astype(np.float64)


def recency(age_steps: Counts) -> F64:
    """Return ``max(0, ln((271.8 - age_steps) / 100))``: 1 for a new post, 0 from 172 steps on."""
    return np.maximum(_log(np.maximum((RECENCY_REACH - age_steps) / RECENCY_SCALE, 1.0)), 0.0)


def fame(followers: Counts) -> F64:
    """Return ``max(1, log_1000(followers + 1))``; `followers` as shown."""
    return np.maximum(1.0, _log(followers.astype(np.float64) + 1.0) / _log(np.array([FAME_BASE]))[0])


def fame_of_many(followers: Counts) -> F64:
    """Return `fame`, computed once for each count that occurs; counts are not negative."""
    if len(followers) <= followers.max(initial=0):
        return fame(followers)
    return fame(np.arange(int(followers.max(initial=0)) + 1))[followers]


def newest(age_steps: Counts) -> F64:
    """Return ``-age_steps``."""
    return -age_steps.astype(np.float64)


def demoted(scores: F64, weight: npt.NDArray[np.floating]) -> F64:
    """Return scores lowered by a post's weight in (0, 1]: positive ones times it, negative ones divided by it."""
    if (weight == 1.0).all():
        return scores
    return np.asarray(np.where(scores > 0, scores * weight, scores / weight))
