"""What the generator of populations needs row by row: logarithms and cosines of one implementation, drawing by weight.

NumPy's own exp, log and cos differ between CPU features; these call the C library's, one value at a time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.philox import gumbels_numpy, uniform

__all__ = [
    "best_items",
    "best_items_numpy",
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
I16 = npt.NDArray[np.int16]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


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
def day_rhythm(level: F64, shift: F64, shape: F64, depth: float, out: F64) -> None:
    """Fill `out`, shape (n, 24), with ``level * (1 - depth * (1 - s))``, s being `shape` at ``hour + shift``.

    Parameters
    ----------
    shape : shape (24,), in [0, 1]
        At whole hours; linear between them, and around midnight.
    """
    for i in range(len(level)):
        whole = math.floor(shift[i])
        part = shift[i] - whole
        for hour in range(24):
            at = int(hour + whole) % 24
            s = shape[at] * (1.0 - part) + shape[(at + 1) % 24] * part
            out[i, hour] = level[i] * (1.0 - depth * (1.0 - s))


def day_rhythm_numpy(level: F64, shift: F64, shape: F64, depth: float) -> F64:
    """Return what `day_rhythm` fills in, with NumPy alone."""
    s = np.interp(np.arange(24) + shift[:, None], np.arange(24), shape, period=24)
    return np.asarray(level[:, None] * (1.0 - depth * (1.0 - s)))


@kernel()
def best_items(begin: int, end: int, key: np.uint64, keys: U64, weight: F64, out: I16) -> None:
    """Fill rows `begin` to `end` of `out`, shape (n, k), with the items of the largest ``weight + Gumbel draw``.

    So they are drawn one after the other, each with probability in proportion to ``exp(weight)`` among those left
    (the Gumbel-top-k trick: Vieira 2014; Kool et al. 2019). A tie goes to the lower item.
    """
    k = out.shape[1]
    best = np.empty(k)
    for i in range(begin, end):
        best[:] = -np.inf
        for item in range(len(weight)):
            value = weight[item] - math.log(-math.log(uniform(keys[i], np.uint64(item), key)))
            at = k
            while at > 0 and value > best[at - 1]:
                at -= 1
            if at < k:
                for x in range(k - 1, at, -1):
                    best[x] = best[x - 1]
                    out[i, x] = out[i, x - 1]
                best[at] = value
                out[i, at] = item


def best_items_numpy(key: int, keys: U64, weight: F64, k: int) -> I16:
    """Return what `best_items` fills in, with NumPy alone."""
    items = np.tile(np.arange(len(weight), dtype=np.uint64), len(keys))
    value = gumbels_numpy(key, np.repeat(keys, len(weight)), items).reshape(len(keys), -1) + weight
    return np.argsort(-value, axis=1, kind="stable")[:, :k].astype(np.int16)


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
def guide(upper: F64, out: npt.NDArray[np.signedinteger]) -> None:
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
def find(upper: F64, table: npt.NDArray[np.signedinteger], at: float) -> int:
    """Return the first place where `upper` (cumulated weights) exceeds `at`, at most the last; for other kernels.

    Parameters
    ----------
    table : shape (size,)
        From `guide`.
    at
        In [0, upper[-1]].
    """
    size, last = len(table), len(upper) - 1
    place = table[min(int(at / (upper[last] / size)), size - 1)]
    while place > 0 and upper[place - 1] > at:  # the quotient was rounded up
        place -= 1
    while place < last and upper[place] <= at:
        place += 1
    return int(place)


def find_numpy(upper: F64, at: F64) -> I64:
    """Return what `find` does for each of `at`, with NumPy alone."""
    return np.minimum(np.searchsorted(upper, at, side="right"), len(upper) - 1)
