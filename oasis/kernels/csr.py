"""Compressed sparse rows: building them and gathering from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = [
    "gather",
    "gather_numpy",
    "holds",
    "in_order",
    "in_order_numpy",
    "in_row",
    "in_row_numpy",
    "merge_rows",
    "merge_rows_numpy",
    "position",
    "take_rows",
    "transpose",
    "transpose_numpy",
]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@kernel()
def gather(indptr: I64, rows: I64, offsets: I64, out: I64) -> None:
    """Fill ``out[offsets[i]:offsets[i + 1]]`` with the positions of row ``rows[i]``."""
    for i in range(len(rows)):
        start = indptr[rows[i]]
        for j in range(offsets[i + 1] - offsets[i]):
            out[offsets[i] + j] = start + j


def gather_numpy(indptr: I64, rows: I64, offsets: I64) -> I64:
    """Return what `gather` fills in, with NumPy alone."""
    length = np.diff(offsets)
    return np.asarray(np.arange(offsets[-1]) - np.repeat(offsets[:-1], length) + np.repeat(indptr[rows], length))


@kernel()
def position(values: I32, low: int, high: int, wanted: int) -> int:
    """Return where the sorted part of `values` from `low` to before `high` holds `wanted`, or -1."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and values[low] == wanted else -1


@kernel()
def holds(values: I32, low: int, high: int, wanted: int) -> bool:
    """Return whether the sorted part of `values` from `low` to before `high` holds `wanted`."""
    return position(values, low, high, wanted) >= 0


@kernel()
def in_row(indptr: I64, indices: I32, rows: I64, wanted: I64, out: I64) -> None:
    """Fill `out` with the position of ``wanted[i]`` in the sorted row ``rows[i]``, or -1."""
    for i in range(len(rows)):
        out[i] = position(indices, indptr[rows[i]], indptr[rows[i] + 1], wanted[i])


def in_row_numpy(indptr: I64, indices: I32, rows: I64, wanted: I64) -> I64:
    """Return what `in_row` fills in, with NumPy alone."""
    out = np.full(len(rows), -1, np.int64)
    for i, (row, value) in enumerate(zip(rows, wanted, strict=True)):
        hits = np.flatnonzero(indices[indptr[row] : indptr[row + 1]] == value)
        if len(hits):
            out[i] = indptr[row] + hits[0]
    return out


@kernel()
def in_order(source: I32, target: I32) -> bool:
    """Return whether edges rise by (source, target), so that each is there once."""
    for i in range(1, len(source)):
        if source[i] < source[i - 1] or (source[i] == source[i - 1] and target[i] <= target[i - 1]):
            return False
    return True


def in_order_numpy(source: I32, target: I32) -> bool:
    """Return what `in_order` does, with NumPy alone."""
    return bool(np.all(np.diff(source.astype(np.int64) << 32 | target) > 0))


@kernel()
def merge_rows(indptr: I64, indices: I32, indptr2: I64, indices2: I32, out: I32) -> None:
    """Fill `out` with the sorted entries of each row of two structures, whose rows are sorted."""
    at = 0
    for row in range(len(indptr) - 1):
        a, a_end, b, b_end = indptr[row], indptr[row + 1], indptr2[row], indptr2[row + 1]
        while a < a_end or b < b_end:
            if b == b_end or (a < a_end and indices[a] <= indices2[b]):
                out[at] = indices[a]
                a += 1
            else:
                out[at] = indices2[b]
                b += 1
            at += 1


def merge_rows_numpy(indptr: I64, indices: I32, indptr2: I64, indices2: I32) -> I32:
    """Return what `merge_rows` fills in, with NumPy alone."""
    row = np.r_[
        np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), np.repeat(np.arange(len(indptr2) - 1), np.diff(indptr2))
    ]
    every = np.r_[indices, indices2]
    return every[np.lexsort((every, row))]


@kernel()
def transpose(indptr: I64, indices: I32, at: I64, out: I32) -> None:
    """Fill `out` with the rows that hold each column, ascending; `at` is where each column's begin, and is used up."""
    for row in range(len(indptr) - 1):
        for position in range(indptr[row], indptr[row + 1]):
            column = indices[position]
            out[at[column]] = row
            at[column] += 1


def transpose_numpy(indptr: I64, indices: I32) -> I32:
    """Return what `transpose` fills in, with NumPy alone."""
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    return rows[np.argsort(indices, kind="stable")]


def take_rows(indptr: I64, rows: npt.NDArray[np.integer]) -> tuple[I64, I64]:
    """Return (offsets, positions) that select the entries of `rows` from a CSR structure."""
    at: I64 = np.asarray(rows, np.int64)
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(indptr[at + 1] - indptr[at], out=offsets[1:])
    positions = np.empty(offsets[-1], np.int64)
    gather(indptr, at, offsets, positions)
    return offsets, positions
