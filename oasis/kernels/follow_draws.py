"""Whom agents choose to follow: by popularity, or among those whom their followees follow.

Axes: ``n`` agents, ``g`` groups, ``c`` chosen follows, ``e`` edges. Every array with a first axis of 2 has a row for
each kind of follow: 0 those that are returned, 1 those that are not.

An agent's follows stand in ``out[offsets[i]:offsets[i + 1]]``, first those of kind 0, then of kind 1. They are
distinct and not the agent itself; -1 where nobody was found in a number of attempts. Draws are numbered within agent
and kind, and keyed by (agent key, that number): how agents are split over threads changes nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.philox import block, uniform
from oasis.kernels.population import find

__all__ = ["choose", "close"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_ATTEMPTS = 24  # to find somebody new in a group, and as many again anywhere; few are needed but in tiny groups
_STEPS = 16  # attempts to close a triad


@kernel()
def choose(
    begin: int,
    end: int,
    key: np.uint64,
    keys: U64,
    group: I16,
    order: I32,
    upper: F64,
    table: I32,
    bounds: F64,
    within: float,
    count: I32,
    offsets: I64,
    out: I32,
) -> None:
    """Fill `out` for agents `begin` to `end`: each follow is drawn by weight, within the own group or among all.

    Parameters
    ----------
    order : shape (n,)
        Agents sorted by group.
    upper, table : shape (2, n)
        Their cumulated weights, and the guide to them (`oasis.kernels.population.guide`).
    bounds : shape (2, g + 1)
        Cumulated weight at which each group begins.
    within : float
        Share of follows that is drawn within the group.
    count : shape (2, n)
    """
    taken = np.full(len(keys), -1, np.int32)
    for i in range(begin, end):
        taken[i] = i
        at = offsets[i]
        for kind in range(2):
            weights, guide = upper[kind], table[kind]
            low, high = bounds[kind, group[i]], bounds[kind, group[i] + 1]
            draw = np.uint64(kind) << np.uint64(48)
            for _ in range(count[kind, i]):
                out[at] = -1
                for attempt in range(2 * _ATTEMPTS):
                    alike = uniform(keys[i], draw, key) < within and attempt < _ATTEMPTS
                    u = uniform(keys[i], draw + np.uint64(1), key)
                    draw += np.uint64(2)
                    where = low + u * (high - low) if alike else u * weights[-1]
                    other = order[find(weights, guide, where)]
                    if taken[other] != i:
                        taken[other] = i
                        out[at] = other
                        break
                at += 1


@kernel()
def close(
    begin: int,
    end: int,
    key: np.uint64,
    keys: U64,
    group: I16,
    order: I32,
    upper: F64,
    table: I32,
    bounds: F64,
    alike: F64,
    start: I64,
    length: I32,
    codes: I32,
    accept: F32,
    count: I32,
    offsets: I64,
    out: I32,
) -> None:
    """Fill `out` with further follows: of somebody whom a followee follows.

    Whether a follow stays within the group is drawn first. Then a followee is drawn, one of its followees, and whether
    that one is accepted; after `_STEPS` attempts in vain the follow is drawn by weight.

    Parameters
    ----------
    order, upper, table, bounds
        As in `choose`.
    alike : shape (2, g)
        Share of follows that stay within each group.
    start, length, codes
        Rows of the graph so far, sorted (see `oasis.kernels.follow_rows`).
    accept : shape (2, n)
        Chance to be accepted.
    count : shape (2, n)
    """
    taken = np.full(len(keys), -1, np.int32)
    for i in range(begin, end):
        taken[i] = i
        for x in range(start[i], start[i] + length[i]):
            taken[codes[x] >> 1] = i
        at = offsets[i]
        for kind in range(2):
            weights, guide, mine = upper[kind], table[kind], group[i]
            low, high = bounds[kind, mine], bounds[kind, mine + 1]
            draw = np.uint64(kind) << np.uint64(48)
            for _ in range(count[kind, i]):
                out[at] = -1
                stays = uniform(keys[i], draw, key) < alike[kind, mine]
                draw += np.uint64(1)
                for _attempt in range(_STEPS if length[i] else 0):
                    ways = block(keys[i], draw, key)
                    chance = uniform(keys[i], draw + np.uint64(1), key)
                    draw += np.uint64(2)
                    step = np.int64(((ways >> np.uint64(32)) * np.uint64(length[i])) >> np.uint64(32))
                    between = codes[start[i] + step] >> 1
                    step = np.int64(((ways & np.uint64(0xFFFFFFFF)) * np.uint64(length[between])) >> np.uint64(32))
                    if length[between] == 0:
                        continue
                    other = codes[start[between] + step] >> 1
                    if taken[other] == i or (group[other] == mine) != stays or chance >= accept[kind, other]:
                        continue
                    taken[other] = i
                    out[at] = other
                    break
                for attempt in range(2 * _ATTEMPTS if out[at] < 0 else 0):
                    u = uniform(keys[i], draw, key)
                    draw += np.uint64(1)
                    where = low + u * (high - low) if stays and attempt < _ATTEMPTS else u * weights[-1]
                    other = order[find(weights, guide, where)]
                    if taken[other] == i or (attempt < _ATTEMPTS and not stays and group[other] == mine):
                        continue
                    taken[other] = i
                    out[at] = other
                    break
                at += 1
