"""How well answers agree with themselves when the same is asked twice, with intervals over replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics.intervals import MIN_REPLICATES, Interval, check_level

__all__ = ["cohens_kappa", "intraclass_correlation", "jackknife"]

T = TypeVar("T")


def cohens_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the agreement of two series of categories beyond chance: ``(p - e) / (1 - e)``.

    p is the share of pairs that agree, e what it would be if each drew from its own shares (Cohen 1960, "A coefficient
    of agreement for nominal scales").

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Categories; no missing ones.

    Returns
    -------
    float
        At most 1; 0 as by chance. NaN without pairs, or where both have one and the same category only.

    Raises
    ------
    InputError
        If they differ in length.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"two series of the same length are needed, got shapes {a.shape} and {b.shape}")
    if not len(a):
        return float("nan")
    categories = np.union1d(a, b)
    shares = [(series[:, None] == categories).mean(axis=0) for series in (a, b)]
    expected = float(shares[0] @ shares[1])
    agreed = float((a == b).mean())
    return float("nan") if expected == 1 else (agreed - expected) / (1 - expected)


def intraclass_correlation(ratings: npt.ArrayLike) -> float:
    """Return ICC(2,1): the share of the variance of single ratings that is between what is rated.

    ``(B - E) / (B + (k - 1) E + k (J - E) / n)`` of the mean squares between rows, between columns and of the rest
    (Shrout and Fleiss 1979, "Intraclass correlations: uses in assessing rater reliability"): a column that rates higher
    throughout counts as disagreement.

    Parameters
    ----------
    ratings : array_like, shape (n, k)
        What is rated, by rating; no missing ones.

    Returns
    -------
    float
        At most 1. NaN with fewer than two rows or columns, or where all ratings are the same.
    """
    values = np.asarray(ratings, np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or np.ptp(values) == 0:
        return float("nan")
    n, k = values.shape
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    between = k * ((rows - mean) ** 2).sum() / (n - 1)
    raters = n * ((columns - mean) ** 2).sum() / (k - 1)
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest + k * (raters - rest) / n))


def jackknife(
    estimate: Callable[[Sequence[T]], float],
    groups: Sequence[T],
    level: float = 0.95,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return an estimate from all groups (replicates) together, with an interval that takes only these for independent.

    ``estimate +- t(n - 1) se``, with the jackknife's ``se^2 = (n - 1)/n sum of (e(i) - mean of e)^2``, e(i) being the
    estimate without group i (Efron and Tibshirani 1993, "An introduction to the bootstrap", equation 11.5). For the
    mean of groups of one size that is Student's interval of the groups' means.

    Parameters
    ----------
    estimate : callable
        ``estimate(groups)``; NaN where it is not defined.
    within : tuple of float
        What the estimate can be; the interval is cut off there.

    Returns
    -------
    Interval
        Without bounds below `MIN_REPLICATES` groups, or where the estimate without some group is not defined; without
        an estimate where it is not defined. p is None. Where no group changes it, the bounds are the estimate: its
        spread is unknown, not 0.

    Raises
    ------
    InputError
        If `level` is not between 0 and 1.
    """
    check_level(level)
    n = len(groups)
    whole = float(estimate(groups)) if n else float("nan")
    if np.isnan(whole):
        return Interval(None, None, None, n, None)
    if n < MIN_REPLICATES:
        return Interval(whole, None, None, n, None)
    without = np.array([estimate([*groups[:i], *groups[i + 1 :]]) for i in range(n)], np.float64)
    if np.isnan(without).any():
        return Interval(whole, None, None, n, None)
    error = np.sqrt((n - 1) * without.var())
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * error)
    return Interval(whole, max(within[0], whole - half), min(within[1], whole + half), n, None)
