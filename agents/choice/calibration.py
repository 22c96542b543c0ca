"""Calibration of a choice model: how often it is acted, beside how often it is expected.

Axes: ``r`` occasions, ``b`` bins of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["BINS", "calibration_bins", "calibration_error", "calibration_table", "error_by_chance"]

F64 = npt.NDArray[np.float64]

BINS = 10
"""Bins of equal numbers of occasions."""


def calibration_bins(expected: F64) -> npt.NDArray[np.int64]:
    """Return the bin of each occasion, from the smallest expectation to the largest; ties in the order given.

    Parameters
    ----------
    expected : ndarray, shape (r,)
        Probability of acting.

    Returns
    -------
    ndarray, shape (r,), int64
        0 to `BINS` - 1; of fewer occasions than `BINS`, each has a bin.
    """
    bins = np.empty(len(expected), np.int64)
    for number, rows in enumerate(np.array_split(np.argsort(expected, kind="stable"), BINS)):
        bins[rows] = number
    return bins


def calibration_table(expected: F64, acted: F64) -> pl.DataFrame:
    """Return ``occasions``, ``expected``, ``observed`` (means) of each bin that is not empty.

    Parameters
    ----------
    expected, acted : ndarray, shape (r,)
        Probability of acting, and 1 where it was acted, else 0.
    """
    bins = calibration_bins(expected)
    count = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (expected, acted)]
    full = count > 0
    means = [total[full] / count[full] for total in sums]
    return pl.DataFrame({"occasions": count[full], "expected": means[0], "observed": means[1]})


def calibration_error(table: pl.DataFrame) -> float:
    """Return the expected calibration error (Naeini et al. 2015): mean distance of the bins, weighted by occasions."""
    off = (table["expected"] - table["observed"]).abs()
    return float((off * table["occasions"]).sum()) / max(1, int(table["occasions"].sum()))


def error_by_chance(expected: F64) -> float:
    """Return about the calibration error of occasions that are acted on exactly as expected, by chance alone.

    A bin's sum of deviations is nearly normal with variance ``sum of p (1 - p)``, and the mean of ``|x|`` of a normal x
    with mean 0 is ``sqrt(2 / pi)`` standard deviations (Geary 1935). Occasions are taken to be independent.
    """
    variance = np.bincount(calibration_bins(expected), weights=expected * (1 - expected), minlength=BINS)
    return float(np.sqrt(2 / np.pi * variance).sum()) / max(1, len(expected))
