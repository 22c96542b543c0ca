"""What the generator of populations needs row by row: logarithms and cosines of one implementation, drawing by weight.

NumPy's own exp, log and cos differ between CPU features; these call the C library's, one value at a time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = [
    "day_rhythm",
    "day_rhythm_numpy",
    "exp",
    "exp_numpy",
    "find",
    "find_numpy",
    "guide",
    "guide_numpy",
    "normal",
    "normal_numpy",
    "split_sum",
    "split_sum_numpy",
]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_HOUR = 2.0 * math.pi / 24.0


@kernel()
def normal(u: F64, v: F64, out: F64) -> None:
    """Fill `out` with standard normal draws from two uniforms each (Box and Muller 1958, equation 1)."""
    for i in range(len(u)):
        out[i] = math.sqrt(-2.0 * math.log(u[i])) * math.cos(2.0 * math.pi * v[i])


def normal_numpy(u: F64, v: F64) -> F64:
    """Return what `normal` fills in, with NumPy alone."""
    return np.asarray(np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v))


@kernel()
def exp(values: F64, out: F64) -> None:
    """Fill `out` with exponentials."""
    for i in range(len(values)):
        out[i] = math.exp(values[i])


def exp_numpy(values: F64) -> F64:
    """Return what `exp` fills in, with NumPy alone."""
    return np.asarray(np.exp(values))


@kernel()
def day_rhythm(level: F64, peak: F64, depth: float, out: F64) -> None:
    """Fill `out`, shape (n, 24), with ``level * (1 + depth * cos(2 pi (hour - peak) / 24))``."""
    for i in range(len(level)):
        for hour in range(24):
            out[i, hour] = level[i] * (1.0 + depth * math.cos((hour - peak[i]) * _HOUR))


def day_rhythm_numpy(level: F64, peak: F64, depth: float) -> F64:
    """Return what `day_rhythm` fills in, with NumPy alone."""
    return np.asarray(level[:, None] * (1.0 + depth * np.cos((np.arange(24) - peak[:, None]) * _HOUR)))


@kernel()
def split_sum(values: F64, limit: float) -> tuple[int, float]:
    """Return how many values are at least `limit`, and the sum of the others, added up in order."""
    count, total = 0, 0.0
    for value in values:
        if value >= limit:
            count += 1
        else:
            total += value
    return count, total


def split_sum_numpy(values: F64, limit: float) -> tuple[int, float]:
    """Return what `split_sum` does, with NumPy alone."""
    return int((values >= limit).sum()), float(values[values < limit].sum())


@kernel()
def guide(upper: F64, out: I64) -> None:
    """Fill ``out[j]`` with the first place where `upper` exceeds ``j / len(out)`` of its last value.

    The table of indexed search (Chen and Asau 1974): with it, `find` needs about two steps whatever the weights.
    """
    step = upper[-1] / len(out)
    at = 0
    for j in range(len(out)):
        while at < len(upper) - 1 and upper[at] <= j * step:
            at += 1
        out[j] = at


def guide_numpy(upper: F64, size: int) -> I64:
    """Return what `guide` fills in, with NumPy alone."""
    at = np.searchsorted(upper, np.arange(size) * (upper[-1] / size), side="right")
    return np.minimum(at, len(upper) - 1)


@kernel()
def find(upper: F64, table: I64, at: F64, out: I64) -> None:
    """Fill `out` with the first place where `upper` (cumulated weights) exceeds ``at[i]``, at most the last.

    Parameters
    ----------
    table : shape (size,)
        From `guide`.
    at : values in [0, upper[-1]]
    """
    size, last = len(table), len(upper) - 1
    step = upper[-1] / size
    for i in range(len(at)):
        place = table[min(int(at[i] / step), size - 1)]
        while place > 0 and upper[place - 1] > at[i]:  # the quotient was rounded up
            place -= 1
        while place < last and upper[place] <= at[i]:
            place += 1
        out[i] = place


def find_numpy(upper: F64, at: F64) -> I64:
    """Return what `find` fills in, with NumPy alone."""
    return np.minimum(np.searchsorted(upper, at, side="right"), len(upper) - 1)
