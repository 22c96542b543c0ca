"""The bootstrap over agents: sums over agents that are drawn with replacement.

Axes: ``n`` agents, ``k`` sums, ``b`` resamples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.randomness import Draws

__all__ = ["LEVEL", "MIN_AGENTS", "RESAMPLES", "interval", "resampled"]

F64 = npt.NDArray[np.float64]

RESAMPLES = 1_999
"""One less than a multiple of 40, so that the bounds are order statistics (Davison and Hinkley 1997, section 5.2)."""
LEVEL = 0.95
MIN_AGENTS = 5
"""Fewer agents give no interval: they say too little of how agents differ."""
_AT_ONCE = 4_000_000  # draws held at a time


def resampled(sums: F64, draws: Draws, resamples: int = RESAMPLES) -> F64:
    """Return totals over agents drawn with replacement (Efron 1979), all that is of an agent together.

    Parameters
    ----------
    sums : ndarray, shape (n, k), float64
        A row per agent, n > 0.
    draws : Draws
        Resample i draws by the keys (i, 0 to n - 1), so that it does not depend on how many resamples there are.

    Returns
    -------
    ndarray, shape (b, k), float64
    """
    n = len(sums)
    totals = np.empty((resamples, sums.shape[1]))
    at_once = max(1, _AT_ONCE // n)
    places = np.arange(n, dtype=np.uint64)
    for start in range(0, resamples, at_once):
        number = np.arange(start, min(start + at_once, resamples), dtype=np.uint64)
        drawn = draws.integers("shadow.bootstrap", 0, n, number[:, None], places[None, :]).reshape(len(number), n)
        cells = np.arange(len(number))[:, None] * n + drawn
        weights = np.bincount(cells.ravel(), minlength=len(number) * n).reshape(len(number), n)
        totals[start : start + len(number)] = weights @ sums
    return totals


def interval(values: F64) -> tuple[F64, F64]:
    """Return the percentiles that leave out (1 - `LEVEL`) / 2 on each side, by column.

    They are NaN where nothing is known, and where all resamples are alike: of what nobody did they do not say how rare
    it is.

    Parameters
    ----------
    values : ndarray, shape (b, ...), float64
        What each resample gave; NaN where it gave nothing, which is left out.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    known = np.isfinite(values).sum(axis=0)
    ranks = [(known + 1) * tail - 1 for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)]
    bounds = []
    for rank in ranks:
        row = np.clip(np.rint(rank), 0, np.maximum(known - 1, 0)).astype(np.int64)
        found = np.take_along_axis(ordered, row[None], axis=0)[0]
        bounds.append(found)
    last = np.take_along_axis(ordered, np.maximum(known - 1, 0)[None], axis=0)[0]
    low, high = (np.where((known > 0) & (ordered[0] < last), bound, np.nan) for bound in bounds)
    return low, high
