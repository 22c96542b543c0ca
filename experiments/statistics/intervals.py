"""Intervals of a mean paired difference: Student's t, and the studentized bootstrap.

Both take two arms' values, row i of both being replicate i. A pair with a NaN is left out of both arms. With fewer
than `MIN_REPLICATES` pairs left nothing is estimated.

Where all differences are the same, their spread is unknown rather than zero. The interval is then that one point, as
the limit of smaller and smaller spreads; p is 1 if the difference is 0, else 2^(1 - n), the smallest that a test by
flipped signs (Fisher 1935) can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics.pairs import F64, known_pairs
from oasis.runs.comparison.estimates import paired

__all__ = ["MIN_REPLICATES", "Interval", "bootstrap_t", "check_level", "mean_t", "paired_t"]

MIN_REPLICATES = 5
"""Pairs below which no effect is given: with 4, even the test by signs cannot fall below p = 0.125."""
ROUNDING = 1e-12
"""A mean this small beside its largest difference is rounding: differences such as 0.3 - 0.1 cancel to 1e-17, not 0."""
RESAMPLES = 9_999
"""One less than a multiple of the usual levels, so that quantiles are order statistics (Davison & Hinkley 1997)."""


@dataclass(frozen=True)
class Interval:
    """A mean difference with its interval; None where there are too few pairs.

    Attributes
    ----------
    estimate, low, high : float or None
        In the unit of the outcome. A bound of the bootstrap is infinite where resamples bound nothing on that side.
    n : int
        Pairs with both values.
    p : float or None
        Two-sided, of no difference.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None


def paired_t(value: npt.ArrayLike, baseline: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean difference with Student's (1908) paired-t interval.

    Raises
    ------
    InputError
        If shapes differ, a value is infinite, or `level` is not between 0 and 1.
    """

    def bounds(difference: F64) -> tuple[float, float, float]:
        found = paired(np.zeros((len(difference), 1)), difference[:, None], level)
        ratio = abs(found.difference[0]) / np.sqrt(found.variance[0])
        return float(found.low[0]), float(found.high[0]), float(2 * stats.t.sf(ratio, len(difference) - 1))

    return _interval(value, baseline, level, bounds)


def mean_t(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return a mean over replicates with Student's t interval, which a mean of too few has not; NaN are left out."""
    array = np.asarray(values, np.float64)
    known = array[~np.isnan(array)]
    at = paired_t(known, np.zeros(len(known)), level)
    return replace(at, estimate=float(known.mean()) if len(known) else None)


def bootstrap_t(
    value: npt.ArrayLike,
    baseline: npt.ArrayLike,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the mean difference with the studentized bootstrap's interval.

    Pairs are resampled; the interval is ``mean - t*(B + 1 - k) se`` to ``mean - t*(k) se`` with t*(i) the i-th smallest
    of B resampled t values and ``k = (B + 1)(1 - level)/2``, rounded down (Davison and Hinkley 1997, "Bootstrap methods
    and their application", sections 2.4, 5.2). p is twice the smaller share of t* beyond the t of no difference, so it
    is at most ``1 - level`` where the interval leaves out 0. A resample without spread has an infinite t*.

    Raises
    ------
    InputError
        As `paired_t`, or if `resamples` are too few for `level`.
    """

    def bounds(difference: F64) -> tuple[float, float, float]:
        n = len(difference)
        mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(n)
        drawn = difference[generator.integers(0, n, (resamples, n))]
        shift, spread = drawn.mean(axis=1) - mean, drawn.std(axis=1, ddof=1) / np.sqrt(n)
        flat = np.ptp(drawn, axis=1) == 0
        t = shift / np.where(flat, 1.0, spread)
        t[flat & (shift > 0)], t[flat & (shift < 0)] = np.inf, -np.inf
        t.sort()
        # a whole k is not to fall below itself by rounding of the level
        k = int((resamples + 1) * (1 - level) / 2 + 1e-9)
        observed = mean / error
        above, below = resamples - np.searchsorted(t, observed), np.searchsorted(t, observed, side="right")
        p = min(1.0, 2 * (1 + min(above, below)) / (resamples + 1))
        return float(mean - t[resamples - k] * error), float(mean - t[k - 1] * error), float(p)

    check_level(level)
    if (resamples + 1) * (1 - level) / 2 < 1 - 1e-9:
        raise InputError(f"{resamples} resamples are too few for level {level}; give at least {2 / (1 - level):.0f}")
    return _interval(value, baseline, level, bounds)


def check_level(level: float) -> None:
    """Raise `InputError` unless `level` is between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95; got {level}")


def _interval(
    value: npt.ArrayLike, baseline: npt.ArrayLike, level: float, bounds: Callable[[F64], tuple[float, float, float]]
) -> Interval:
    check_level(level)
    difference, differs = known_pairs(value, baseline)
    n = len(difference)
    if n < MIN_REPLICATES:
        return Interval(None, None, None, n, None)
    mean = float(difference.mean())
    if not differs:
        mean = cast(float, difference[0].item())
        return Interval(mean, mean, mean, n, 1.0 if mean == 0 else 2.0 ** (1 - n))
    low, high, p = bounds(difference)
    if abs(mean) < ROUNDING * np.abs(difference).max():
        mean = 0.0
    return Interval(mean, low, high, n, p)
