"""Opinions in a population: how they shift, whether they split, whether alike agents follow each other.

The opinion of a choice dilemma is the lowest probability of success, 1 to 10 in 10, at which the risky option is still
acceptable (Stoner 1961; Kogan and Wallach 1964): low is risky, high is cautious, 5.5 is the middle.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from oasis.errors import InputError

__all__ = ["MIDPOINT", "ashmans_d", "assortativity", "bimodality_coefficient", "opinion_panel", "polarization"]

F64 = npt.NDArray[np.float64]

MIDPOINT = 5.5
"""The middle of 1 to 10."""


def opinion_panel(interviews: pl.LazyFrame, question_id: str) -> tuple[npt.NDArray[np.int64], F64]:
    """Return the answers to one question as a panel.

    Returns
    -------
    steps : ndarray, shape (times,), int64
    opinions : ndarray, shape (times, agents), float64
        In the order of agents that ever answered; NaN where one did not.

    Raises
    ------
    InputError
        If nobody answered the question.
    """
    rows = (
        interviews.filter((pl.col("question_id") == question_id) & (pl.col("outcome").cast(pl.String) == "accepted"))
        .select("step", "agent_id", "value")
        .drop_nulls("value")
        .unique(["step", "agent_id"], keep="last", maintain_order=True)
        .collect()
    )
    if not rows.height:
        raise InputError(f"no accepted answer to question {question_id!r} in these interviews")
    steps, at = np.unique(rows["step"].to_numpy(), return_inverse=True)
    agents, who = np.unique(rows["agent_id"].to_numpy(), return_inverse=True)
    opinions = np.full((len(steps), len(agents)), np.nan)
    opinions[at, who] = rows["value"].to_numpy()
    return steps.astype(np.int64), opinions


def polarization(opinions: npt.ArrayLike, midpoint: float = MIDPOINT) -> F64:
    """Return how far the mean opinion has moved on in its initial direction, at each time, shape (times,).

    ``sign(mean(0) - midpoint) (mean(t) - mean(0))``, in the unit of opinions, both means over the agents that answered
    at both times. Positive: further from the middle than at first, on the same side (group polarization as in Myers
    and Lamm 1976; Isenberg 1986); negative: towards the middle or across it. NaN where the mean began at the midpoint,
    which has no direction.

    Parameters
    ----------
    opinions : array_like, shape (times, agents)
        NaN: no answer. The first row is the beginning.
    """
    x = np.asarray(opinions, np.float64)
    if x.ndim != 2 or not len(x):
        raise InputError(f"opinions must have the shape (times, agents), got {x.shape}")
    both = ~np.isnan(x) & ~np.isnan(x[0])
    n = both.sum(axis=1)
    some = np.where(n > 0, n, np.nan)
    first = np.where(both, x[0], 0).sum(axis=1) / some
    moved = np.where(both, x - x[0], 0).sum(axis=1) / some
    direction = np.sign(first - midpoint)
    return np.where(direction == 0, np.nan, direction * moved)


def bimodality_coefficient(opinions: npt.ArrayLike) -> float:
    """Return the bimodality coefficient: 5/9 for a uniform distribution, 1 for two points; more than 5/9 hints at two.

    Pfister et al. (2013), "Good things peak in pairs", Frontiers in Psychology 4, 700:
    ``(g^2 + 1) / (k + 3 (n - 1)^2 / ((n - 2)(n - 3)))``, g skewness and k excess kurtosis, both corrected for the
    sample. Skewed distributions with one mode pass 5/9 too, so it is for populations that were mixed on purpose. NaN
    is left out; NaN comes back with fewer than 4 opinions, or where all are the same.
    """
    x = np.asarray(opinions, np.float64)
    x = x[~np.isnan(x)]
    n = len(x)
    if n < 4 or np.ptp(x) == 0:
        return float("nan")
    skew, kurtosis = stats.skew(x, bias=False), stats.kurtosis(x, bias=False)
    return float((skew**2 + 1) / (kurtosis + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))))


def ashmans_d(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return how far apart the opinions of two known groups lie; above 2 their distributions separate cleanly.

    Ashman, Bird and Zepf (1994), "Detecting bimodality in astronomical datasets", Astronomical Journal 108:
    ``|m1 - m2| / sqrt((s1^2 + s2^2) / 2)``, variances over n - 1. NaN is left out; NaN with fewer than 2 in a group or
    no variance in either.
    """
    groups = [x[~np.isnan(x)] for x in (np.asarray(first, np.float64), np.asarray(second, np.float64))]
    if min(len(x) for x in groups) < 2:
        return float("nan")
    variance = sum(float(x.var(ddof=1)) for x in groups) / 2
    return float(abs(groups[0].mean() - groups[1].mean()) / np.sqrt(variance)) if variance > 0 else float("nan")


def assortativity(follower: npt.ArrayLike, followee: npt.ArrayLike, opinion: npt.ArrayLike) -> float:
    """Return the assortativity of opinions on the follow graph, -1 to 1.

    Newman (2003), "Mixing patterns in networks", Phys. Rev. E 67, 026126, eq. 21: Pearson's correlation, over directed
    edges, of the opinions at their two ends.

    Parameters
    ----------
    follower, followee : array_like, shape (edges,), int
        Agents.
    opinion : array_like, shape (agents,)
        NaN: not known; its edges are left out.

    Returns
    -------
    float
        NaN with fewer than two edges, or where the opinions at one end are all the same.
    """
    x = np.asarray(opinion, np.float64)
    ends = np.stack([x[np.asarray(follower, np.int64)], x[np.asarray(followee, np.int64)]])
    ends = ends[:, ~np.isnan(ends).any(axis=0)]
    if ends.shape[1] < 2 or (np.ptp(ends, axis=1) == 0).any():
        return float("nan")
    ends = ends - ends.mean(axis=1, keepdims=True)
    return float((ends[0] * ends[1]).sum() / np.sqrt((ends[0] ** 2).sum() * (ends[1] ** 2).sum()))
