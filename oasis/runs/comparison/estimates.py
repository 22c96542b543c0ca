"""Differences between two arms and their intervals: of pairs (paired t), and without pairing (Welch).

Axes: values have shape (runs, columns); a column is a step, or one mean over steps. NaN is "not known" and left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

__all__ = ["Estimate", "paired", "welch"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Differences of means, one per column.

    Attributes
    ----------
    count : ndarray, int64
        Pairs that know both values; without pairing the smaller number of runs of the two arms.
    baseline, value, difference : ndarray
        Mean of each arm and their difference, over the same pairs.
    low, high : ndarray
        Interval of the difference, NaN where there are fewer than two pairs (runs in each arm).
    variance : ndarray
        Of the estimated difference.
    variance_unpaired : ndarray
        What it would be if the same values were taken as independent.
    """

    count: npt.NDArray[np.int64]
    baseline: F64
    value: F64
    difference: F64
    low: F64
    high: F64
    variance: F64
    variance_unpaired: F64


def paired(baseline: F64, value: F64, level: float) -> Estimate:
    """Return the mean difference over pairs with its t interval; row i of both is pair i."""
    known = ~np.isnan(baseline) & ~np.isnan(value)
    count = known.sum(axis=0)
    difference, variance = _moments(value - baseline, known)
    (mean_a, var_a), (mean_b, var_b) = _moments(baseline, known), _moments(value, known)
    variance = variance / _some(count)
    low, high = _interval(difference, variance, count - 1.0, level)
    unpaired = (var_a + var_b) / _some(count)
    return Estimate(count, mean_a, mean_b, difference, low, high, variance, unpaired)


def welch(baseline: F64, value: F64, level: float) -> Estimate:
    """Return the difference of means of independent runs, with the interval of Welch (1947)."""
    known = [~np.isnan(values) for values in (baseline, value)]
    counts = [k.sum(axis=0) for k in known]
    (mean_a, var_a), (mean_b, var_b) = (_moments(v, k) for v, k in zip((baseline, value), known, strict=True))
    part_a, part_b = var_a / _some(counts[0]), var_b / _some(counts[1])
    variance = part_a + part_b
    less = part_a**2 / _some(counts[0] - 1) + part_b**2 / _some(counts[1] - 1)
    degrees = np.where(variance > 0, variance**2 / np.where(less > 0, less, np.nan), counts[0] + counts[1] - 2.0)
    low, high = _interval(mean_b - mean_a, variance, degrees, level)
    return Estimate(np.minimum(*counts), mean_a, mean_b, mean_b - mean_a, low, high, variance, variance)


def _moments(values: F64, known: npt.NDArray[np.bool_]) -> tuple[F64, F64]:
    """Return mean and variance (n - 1) of the known values per column, NaN where there are too few."""
    count = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / _some(count)
    squares = np.where(known, values - mean, 0.0) ** 2
    return mean, squares.sum(axis=0) / _some(count - 1)


def _some(count: npt.NDArray[np.int64]) -> F64:
    return np.where(count > 0, count, np.nan)


def _interval(mean: F64, variance: F64, degrees: F64, level: float) -> tuple[F64, F64]:
    half = t.ppf((1 + level) / 2, np.where(degrees > 0, degrees, np.nan)) * np.sqrt(variance)
    return mean - half, mean + half
