"""Spread over replicates: the mean of runs at each time, and the range that most of them lie in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError

__all__ = ["Spread", "spread"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Replicates at each point of time, shape (times,).

    Attributes
    ----------
    mean, low, high : ndarray, float64
        NaN where no replicate knows a value.
    n : ndarray, int64
        Replicates with a value.
    """

    mean: F64
    low: F64
    high: F64
    n: npt.NDArray[np.int64]


def spread(curves: npt.ArrayLike, share: float = 0.95) -> Spread:
    """Return mean and central range of replicates at each time: by default their 2.5 to 97.5% quantiles.

    The range says where single runs lie; it is no interval of the mean and does not narrow with more replicates.
    Quantiles interpolate linearly (Hyndman and Fan 1996, type 7); below 40 replicates the outer ones lie within the
    last gap between runs, and the range is rather too narrow.

    Parameters
    ----------
    curves : array_like, shape (replicates, times)
        NaN is not known and left out.
    share : float
        Of replicates within the range.

    Raises
    ------
    InputError
        If `curves` has another number of axes or no replicate, or `share` is not between 0 and 1.
    """
    values = np.asarray(curves, np.float64)
    if values.ndim != 2 or not len(values):
        raise InputError(f"curves must have the shape (replicates, times) and one replicate, got {values.shape}")
    if not 0 < share < 1:
        raise InputError(f"share must be between 0 and 1, got {share}")
    n = (~np.isnan(values)).sum(axis=0)
    mean, low, high = (np.full(values.shape[1], np.nan) for _ in range(3))
    there = n > 0
    mean[there] = np.nanmean(values[:, there], axis=0)
    low[there], high[there] = np.nanquantile(values[:, there], [(1 - share) / 2, (1 + share) / 2], axis=0)
    return Spread(mean, low, high, n)
