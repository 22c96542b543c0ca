"""What a graph is like, row by row: edges that are returned, within groups, between neighbours.

Axes: ``n`` nodes, ``e`` edges, ``s`` sampled nodes. Rows are compressed and sorted (see `oasis.kernels.csr`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.csr import holds

__all__ = ["alike", "alike_numpy", "links", "links_numpy", "returned", "returned_numpy"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@kernel()
def returned(begin: int, end: int, indptr: I64, indices: I32) -> int:
    """Return how many edges of rows `begin` to `end` have a reverse."""
    count = 0
    for i in range(begin, end):
        for x in range(indptr[i], indptr[i + 1]):
            if holds(indices, indptr[indices[x]], indptr[indices[x] + 1], i):
                count += 1
    return count


def returned_numpy(indptr: I64, indices: I32) -> int:
    """Return what `returned` does for all rows, with NumPy alone."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return int(np.isin(rows << 32 | indices, indices.astype(np.int64) << 32 | rows).sum())


@kernel()
def alike(begin: int, end: int, indptr: I64, indices: I32, label: I32) -> int:
    """Return how many edges of rows `begin` to `end` have the same label at both ends; -1 is like nothing."""
    count = 0
    for i in range(begin, end):
        if label[i] >= 0:
            for x in range(indptr[i], indptr[i + 1]):
                if label[indices[x]] == label[i]:
                    count += 1
    return count


def alike_numpy(indptr: I64, indices: I32, label: I32) -> int:
    """Return what `alike` does for all rows, with NumPy alone."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return int(((label[rows] == label[indices]) & (label[rows] >= 0)).sum())


@kernel()
def links(
    begin: int, end: int, sample: I64, indptr: I64, indices: I32, indptr_in: I64, indices_in: I32, out: I64
) -> None:
    """Fill ``out``, shape (s, 2), with neighbours of each sampled node, and twice the linked pairs among them.

    A neighbour is at the other end of an edge, whatever its direction; a pair is linked by an edge or two.
    """
    near = np.full(len(indptr) - 1, -1, np.int64)
    for row in range(begin, end):
        i = sample[row]
        count, twice = 0, 0
        for x in range(indptr[i], indptr[i + 1]):
            near[indices[x]] = row
            count += 1
        for x in range(indptr_in[i], indptr_in[i + 1]):
            if near[indices_in[x]] != row:
                near[indices_in[x]] = row
                count += 1
        for side in range(2):
            first, last = (indptr[i], indptr[i + 1]) if side == 0 else (indptr_in[i], indptr_in[i + 1])
            for x in range(first, last):
                j = indices[x] if side == 0 else indices_in[x]
                if side == 1 and holds(indices, indptr[i], indptr[i + 1], j):
                    continue  # seen among the followees
                for y in range(indptr[j], indptr[j + 1]):
                    k = indices[y]
                    if near[k] == row:
                        twice += 1 if holds(indices, indptr[k], indptr[k + 1], j) else 2
        out[row, 0], out[row, 1] = count, twice


def links_numpy(sample: I64, indptr: I64, indices: I32) -> I64:
    """Return what `links` fills in, with NumPy alone."""
    n = len(indptr) - 1
    near = np.zeros((n, n), np.bool_)
    near[np.repeat(np.arange(n), np.diff(indptr)), indices] = True
    near |= near.T
    return np.array([[near[i].sum(), near[np.ix_(near[i], near[i])].sum()] for i in sample], np.int64).reshape(-1, 2)
