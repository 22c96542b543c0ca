"""Rows of followees while a graph is made: each a followee's number times two, plus one if it does not follow back.

Axes: ``n`` agents, ``c`` chosen follows, ``e`` edges. ``codes[start[i]:start[i] + length[i]]`` is the row of agent i,
sorted. A follow that was chosen to be returned stands in both rows, with an even code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.csr import holds
from oasis.kernels.philox import uniform

__all__ = ["compare", "keep", "pack", "received", "scatter", "tidy", "walk"]

F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


@kernel()
def received(chosen: I32, offsets: I64, returned: I32, length: I64) -> None:
    """Add to `length` what each agent's row gets: what it chose, and what is returned to it."""
    for i in range(len(offsets) - 1):
        for at in range(offsets[i], offsets[i + 1]):
            if chosen[at] >= 0:
                length[i] += 1
                if at < offsets[i] + returned[i]:
                    length[chosen[at]] += 1


@kernel()
def scatter(start: I64, length: I32, codes: I32, chosen: I32, offsets: I64, returned: I32, at: I64, out: I32) -> None:
    """Fill rows that begin at `at` (which is used up) with those of `codes`, what was chosen, and what is returned."""
    for i in range(len(offsets) - 1):
        for x in range(start[i], start[i] + length[i]):
            out[at[i]] = codes[x]
            at[i] += 1
        for x in range(offsets[i], offsets[i + 1]):
            other = chosen[x]
            if other >= 0:
                one_way = 0 if x < offsets[i] + returned[i] else 1
                out[at[i]] = other << 1 | one_way
                at[i] += 1
                if not one_way:
                    out[at[other]] = i << 1
                    at[other] += 1


@kernel()
def tidy(begin: int, end: int, start: I64, length: I32, codes: I32) -> None:
    """Sort rows `begin` to `end` and drop repeats, of which the returned one stays."""
    for i in range(begin, end):
        row = codes[start[i] : start[i] + length[i]]
        row.sort()
        kept = 0
        for x in range(len(row)):
            if kept == 0 or row[kept - 1] >> 1 != row[x] >> 1:
                row[kept] = row[x]
                kept += 1
        length[i] = kept


@kernel()
def compare(begin: int, end: int, start: I64, length: I32, codes: I32, group: I16, dropped: U8, found: I64) -> None:
    """Mark, of two one-way follows that happen to be each other's return, one; count the rest by kind and group.

    Parameters
    ----------
    dropped : shape (e,)
        Filled with 1 where a follow is marked.
    found : shape (2, 2)
        Added to: follows by kind (returned or not), and whether they cross groups.
    """
    for i in range(begin, end):
        for x in range(start[i], start[i] + length[i]):
            other, one_way = codes[x] >> 1, codes[x] & 1
            dropped[x] = 0
            if one_way:
                mutual = holds(codes, start[other], start[other] + length[other], i << 1 | 1)
                # the sum's parity tells which: neither the earlier nor the later agent is favoured
                if mutual and (i < other) == ((i + other) % 2 == 0):
                    dropped[x] = 1
                    continue
            found[one_way, 1 if group[i] != group[other] else 0] += 1


@kernel()
def keep(
    begin: int,
    end: int,
    key: np.uint64,
    keys: U64,
    group: I16,
    start: I64,
    length: I32,
    codes: I32,
    dropped: U8,
    share: F64,
    kept: I32,
) -> None:
    """Drop marked follows, and others so that a drawn `share` of them stays; move the rest to the row's begin.

    Parameters
    ----------
    share : shape (2, 2)
        By kind and whether groups are crossed. Both directions of a returned follow share their draw.
    kept : shape (n,)
        Filled with the length of each row.
    """
    for i in range(begin, end):
        count = 0
        for x in range(start[i], start[i] + length[i]):
            if dropped[x]:
                continue
            other, one_way = codes[x] >> 1, codes[x] & 1
            limit = share[one_way, 1 if group[i] != group[other] else 0]
            if limit < 1.0:
                a, b = keys[i], keys[other]
                if not one_way and a > b:
                    a, b = b, a
                if uniform(a, b, key) >= limit:
                    continue
            codes[start[i] + count] = codes[x]
            count += 1
        kept[i] = count


@kernel()
def walk(start: I64, length: I32, codes: I32, flow: F64, out: F64) -> None:
    """Add to `out`, shape (n,), what arrives where each agent's `flow` is split evenly over its followees."""
    for i in range(len(start)):
        if length[i]:
            part = flow[i] / length[i]
            for x in range(start[i], start[i] + length[i]):
                out[codes[x] >> 1] += part


@kernel()
def pack(start: I64, length: I32, codes: I32, at: I64, out: I32) -> None:
    """Fill `out` with the followees of all rows, row i from ``at[i]`` on."""
    for i in range(len(start)):
        for x in range(length[i]):
            out[at[i] + x] = codes[start[i] + x] >> 1
