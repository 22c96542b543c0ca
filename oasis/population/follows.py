"""The follow graph of a generated population: heavy-tailed in-degree, interest homophily, reciprocity.

Axes: ``n`` agents, ``e`` edges. Edges are kept as one 64-bit number each, ``follower << 32 | followee``, and drawn in
blocks of followers, so a million agents need little more memory than their graph.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from oasis.grammar import TOPICS
from oasis.kernels import population as kernels
from oasis.kernels import rank
from oasis.randomness import Draws

__all__ = ["draw_follows"]

Keys = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_BLOCK = 1 << 20  # edges drawn at a time
_LOW = 0xFFFFFFFF


class FollowParameters(Protocol):
    """What of `GenerateParameters` shapes the graph."""

    mean_follows: float
    follows_sigma: float
    popularity_exponent: float
    homophily: float
    follow_back: float


def draw_follows(
    draws: Draws, keys: Keys, topic: npt.NDArray[np.int16], parameters: FollowParameters
) -> tuple[I32, I32]:
    """Return distinct edges (follower, followee) without self-follows, sorted.

    How many an agent chooses is lognormal. Each is drawn by popularity, a share `homophily` of them among agents with
    the same main interest, the rest among all. Popularity is Pareto with density exponent a, ``u^(-1 / (a - 1))``
    (inversion), so the in-degree has the same tail: the fitness model of Caldarelli et al. (2002) with a directed edge.
    Then follows are returned, each with a probability that falls with the followed agent's popularity.
    """
    n = len(keys)
    if n < 2 or parameters.mean_follows == 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    chosen = _chosen(draws, keys, topic, parameters)
    followee = chosen & _LOW
    received = np.bincount(followee, minlength=n)
    usual = max(1.0, len(chosen) / n)
    back = [_returned(draws, keys, part, received, usual, parameters.follow_back) for part in _blocks(chosen)]
    return _unpack(_distinct(np.concatenate([chosen, *back])))


def _chosen(draws: Draws, keys: Keys, topic: npt.NDArray[np.int16], parameters: FollowParameters) -> I64:
    n, sigma = len(keys), parameters.follows_sigma
    weight, spread = np.empty(n), np.empty(n)
    rank.log(draws.uniform("population.popularity", 0, keys), weight)
    kernels.exp(weight * (-1.0 / (parameters.popularity_exponent - 1.0)), weight)
    kernels.normal(
        draws.uniform("population.follows", 0, keys, 0), draws.uniform("population.follows", 0, keys, 1), spread
    )
    kernels.exp(sigma * spread - 0.5 * sigma**2, spread)
    wanted = parameters.mean_follows * spread
    count = np.minimum(np.floor(wanted + draws.uniform("population.round", 0, keys)), n - 1).astype(np.int64)

    order = np.argsort(topic, kind="stable")  # agents by topic: a topic is a range of cumulated popularity
    upper = np.cumsum(weight[order])
    table = np.empty(n, np.int64)
    kernels.guide(upper, table)
    last = np.searchsorted(topic[order], np.arange(len(TOPICS)), side="right")
    high = np.r_[0.0, upper][last]
    low = np.r_[0.0, high[:-1]]

    ends = np.cumsum(count)
    cuts = np.searchsorted(ends, np.arange(_BLOCK, ends[-1], _BLOCK), side="left") + 1
    found = []
    for begin, end in zip([0, *cuts], [*cuts, n], strict=True):
        length = count[begin:end]
        row = np.repeat(np.arange(begin, end), length)
        item = (np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)).astype(np.uint64)
        who, mine = keys[row], topic[row]
        alike = draws.uniform("population.alike", 0, who, item) < parameters.homophily
        start, stop = np.where(alike, low[mine], 0.0), np.where(alike, high[mine], upper[-1])
        place = np.empty(len(row), np.int64)
        kernels.find(upper, table, start + draws.uniform("population.followee", 0, who, item) * (stop - start), place)
        followee = order[place]
        apart = followee != row
        found.append(_distinct(row[apart] << 32 | followee[apart]))
    return np.concatenate(found)


def _returned(draws: Draws, keys: Keys, edges: I64, received: I64, usual: float, follow_back: float) -> I64:
    follower, followee = edges >> 32, edges & _LOW
    chance = follow_back * np.minimum(1.0, 2.0 * usual / received[followee])
    back = draws.uniform("population.back", 0, keys[followee], keys[follower]) < chance
    return followee[back] << 32 | follower[back]


def _blocks(edges: I64) -> list[I64]:
    return [edges[at : at + _BLOCK] for at in range(0, len(edges), _BLOCK)]


def _distinct(edges: I64) -> I64:
    edges = np.sort(edges)  # np.unique hashes integers, which takes 80 times as long here
    return edges[np.r_[True, edges[1:] != edges[:-1]]] if len(edges) else edges


def _unpack(edges: I64) -> tuple[I32, I32]:
    return (edges >> 32).astype(np.int32), (edges & _LOW).astype(np.int32)
