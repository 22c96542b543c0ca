"""What a round of actions needs row by row: an order, the rows of some actions, counters, lists by owner."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = [
    "count",
    "count_numpy",
    "push",
    "push_numpy",
    "select",
    "select_numpy",
    "sort_draws",
    "sort_draws_numpy",
]

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


@kernel()
def sort_draws(drawn: U64, order: I64) -> None:
    """Fill `order` with the rows by ascending draw, equal draws in row order.

    Rows are put into buckets by the first bits of their draw, which are uniform, so that a bucket holds a few rows.
    """
    n = len(drawn)
    bits = 0
    while n >> (bits + 2):
        bits += 1
    shift = np.uint64(63 - bits)  # and one more: a shift by 64 is none
    starts = np.zeros((1 << bits) + 1, np.int64)
    for i in range(n):
        starts[(drawn[i] >> np.uint64(1) >> shift) + 1] += 1
    for bucket in range(1, len(starts)):
        starts[bucket] += starts[bucket - 1]
    keys = np.empty(n, np.uint64)
    at = starts.copy()
    for i in range(n):
        place = at[drawn[i] >> np.uint64(1) >> shift]
        at[drawn[i] >> np.uint64(1) >> shift] = place + 1
        keys[place], order[place] = drawn[i], i
    for bucket in range(len(starts) - 1):
        for i in range(starts[bucket] + 1, starts[bucket + 1]):
            key, row, j = keys[i], order[i], i
            while j > starts[bucket] and keys[j - 1] > key:
                keys[j], order[j] = keys[j - 1], order[j - 1]
                j -= 1
            keys[j], order[j] = key, row


def sort_draws_numpy(drawn: U64) -> I64:
    """Return what `sort_draws` fills in, with NumPy alone."""
    return np.argsort(drawn, kind="stable")


@kernel()
def select(codes: I16, wanted: Bool, states: I16, state: int, out: I64) -> int:
    """Fill `out` with the rows, ascending, whose code is wanted and whose state is `state`; return how many."""
    n = 0
    for row in range(len(codes)):
        out[n] = row  # written either way: a branch would be guessed wrong as often as right
        n += int(wanted[codes[row]] & (states[row] == state))
    return n


def select_numpy(codes: I16, wanted: Bool, states: I16, state: int) -> I64:
    """Return what `select` fills in, with NumPy alone."""
    return np.flatnonzero(wanted[codes] & (states == state))


@kernel()
def count(counter: I32, rows: I32, by: int) -> None:
    """Add `by` to the counter of each row, as often as it is given."""
    for row in rows:
        counter[row] += by


def count_numpy(counter: I32, rows: I32, by: int) -> None:
    """Do what `count` does, with NumPy alone."""
    np.add.at(counter, rows, by)


@kernel()
def push(owners: I32, first: int, heads: I32, previous: I32) -> None:
    """Push rows ``first, first + 1 ...`` to the linked lists of their owners, in this order.

    Parameters
    ----------
    owners : shape (n,)
        The list that each row goes to; may repeat.
    heads
        Newest row of each list, -1 for an empty one; moved in place.
    previous : shape (n,)
        Filled with the row before each in its list.
    """
    for i in range(len(owners)):
        previous[i] = heads[owners[i]]
        heads[owners[i]] = first + i


def push_numpy(owners: I32, first: int, heads: I32) -> I32:
    """Return what `push` fills in, and move the heads, with NumPy alone."""
    ids = np.arange(first, first + len(owners), dtype=np.int32)
    order = np.argsort(owners, kind="stable")
    same = np.r_[False, owners[order][1:] == owners[order][:-1]][: len(owners)]
    previous = np.empty(len(owners), np.int32)
    previous[order] = np.where(same, np.roll(ids[order], 1), heads[owners[order]])
    heads[owners] = ids  # the last assignment wins, and ids ascend within an owner
    return previous
