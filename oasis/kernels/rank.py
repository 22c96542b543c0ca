"""Logarithms with one implementation, and grouping of rows: the parts of scores that NumPy would do its own way.

NumPy's vectorised ``log`` differs between CPU features; Numba's calls the C library's, one value at a time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["group", "group_numpy", "kth_largest", "log", "log10"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_SORTED, _BINS = 10_000, 4096


@kernel()
def log(values: F64, out: F64) -> None:
    """Fill `out` with natural logarithms."""
    for i in range(len(values)):
        out[i] = math.log(values[i])


@kernel()
def log10(values: F64, out: F64) -> None:
    """Fill `out` with decimal logarithms."""
    for i in range(len(values)):
        out[i] = math.log10(values[i])


@kernel()
def group(labels: npt.NDArray[np.integer], indptr: I64, out: npt.NDArray[np.integer]) -> None:
    """Fill `out` with the rows of each label, in row order, and `indptr` with their starts (a counting sort).

    `indptr` comes with one zero more than there are labels.
    """
    for i in range(len(labels)):
        indptr[labels[i] + 1] += 1
    for label in range(len(indptr) - 1):
        indptr[label + 1] += indptr[label]
    for i in range(len(labels)):  # indptr[label] is used as a cursor, and shifted back below
        at = indptr[labels[i]]
        out[at] = i
        indptr[labels[i]] = at + 1
    for label in range(len(indptr) - 1, 0, -1):
        indptr[label] = indptr[label - 1]
    indptr[0] = 0


def group_numpy(labels: npt.NDArray[np.integer], count: int) -> tuple[I64, I64]:
    """Return (indptr, rows) as `group` fills them, with NumPy alone."""
    indptr = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(labels, minlength=count), out=indptr[1:])
    return indptr, np.argsort(labels, kind="stable")


def kth_largest(values: npt.NDArray[np.number], k: int) -> float:
    """Return the k-th largest of finite numbers, in a few passes however many are equal.

    A histogram says in which bin it lies; the numbers of that bin are looked at in the same way.
    """
    while True:
        low, high = float(values.min()), float(values.max())
        if low == high or len(values) <= _SORTED:
            return float(np.sort(values)[::-1][k - 1])
        at = ((values - low) * (_BINS / (high - low))).astype(np.int64)  # rounding keeps the order
        above = np.cumsum(np.bincount(at, minlength=_BINS + 1)[::-1])[::-1]  # how many are in this bin or above
        chosen = int(np.flatnonzero(above >= k)[-1])
        k -= int(above[chosen + 1]) if chosen < _BINS else 0
        inside = at == chosen
        if inside.all():  # too close together for bins
            return float(np.sort(values)[::-1][k - 1])
        values = values[inside]
