"""Candidate rows by author, best first, each in 32 bytes that lie together: what `oasis.kernels.feeds.followed` reads.

A packed row is the score (in the same memory as float64), the tie draw, root and post in one number, the root's author.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["author_rows_numpy", "pack", "sort"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_FEW = 32  # so many are sorted by insertion


@kernel()
def pack(
    author_ptr: I64, row_post: I32, post_root: I32, post_author: I32, row_score: F64, row_tie: U64,
    out: I64, out_score: F64, first: int, last: int,
) -> None:  # fmt: skip
    """Put the rows of the authors from `first` to before `last` into ``out`` (r, 4), those of an author in row order.

    All rows are read, one after another: that is quicker than to look for those of an author.
    """
    at = author_ptr[first:last].copy()
    for row in range(len(row_post)):
        post = row_post[row]
        author = post_author[post]
        if first <= author < last:
            root, here = np.int64(post_root[post]), at[author - first]
            at[author - first] = here + 1
            out_score[here, 0] = row_score[row]
            out[here, 1] = np.int64(row_tie[row])
            out[here, 2] = root << 32 | np.int64(post)
            out[here, 3] = post_author[root]


@kernel()
def sort(author_ptr: I64, rows: I64, row_score: F64, first: int, last: int) -> None:
    """Sort the packed rows of each author from `first` to before `last` by falling score; equal ones stay in order."""
    for author in range(first, last):
        start, end = author_ptr[author], author_ptr[author + 1]
        if end - start > _FEW:
            order = np.argsort(-row_score[start:end, 0], kind="mergesort")
            mine = rows[start:end].copy()
            for i in range(end - start):
                rows[start + i] = mine[order[i]]
            continue
        for i in range(start + 1, end):
            score = row_score[i, 0]
            if row_score[i - 1, 0] >= score:
                continue
            one, two, three, four = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
            at = i
            while at > start and row_score[at - 1, 0] < score:
                for column in range(4):
                    rows[at, column] = rows[at - 1, column]
                at -= 1
            rows[at, 0], rows[at, 1], rows[at, 2], rows[at, 3] = one, two, three, four


def author_rows_numpy(row_post: I32, post_root: I32, post_author: I32, row_score: F64, row_tie: U64) -> I64:
    """Return the packed rows of all authors, sorted, with NumPy alone."""
    order = np.lexsort((np.arange(len(row_post)), -row_score, post_author[row_post]))
    post, root = row_post[order].astype(np.int64), post_root[row_post[order]].astype(np.int64)
    columns = row_score[order].view(np.int64), row_tie[order].view(np.int64), root << 32 | post, post_author[root]
    return np.stack(columns, axis=1).astype(np.int64)
