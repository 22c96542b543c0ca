"""The independent cascade on the follow graph: a baseline in which nothing matters but who follows whom.

Kempe, Kleinberg and Tardos (2003), "Maximizing the spread of influence through a social network", KDD, section 2: an
agent that shares in a round gives each of its followers who has not shared one chance, with probability p, to share in
the next. One p for all edges.

Axes: ``r`` replicates, ``n`` agents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError
from oasis.kernels import csr
from oasis.randomness import Draws

__all__ = ["EdgeFit", "Followers", "cascade_curves", "fit_edge_probability", "independent_cascade"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Followers:
    """Followers of each agent as compressed rows: those of agent i are ``indices[indptr[i]:indptr[i + 1]]``."""

    indptr: I64
    indices: I64

    @classmethod
    def of(cls, agents: int, follower: npt.ArrayLike, followee: npt.ArrayLike) -> Followers:
        """Return the graph of edges in any order; one that is given twice counts once.

        Raises
        ------
        InputError
            If an edge names an agent that is not there.
        """
        ends = np.stack([np.asarray(followee, np.int64), np.asarray(follower, np.int64)])
        if ends.size and not 0 <= ends.min() <= ends.max() < agents:
            raise InputError(f"edges must name agents 0 to {agents - 1}, got {ends.min()} to {ends.max()}")
        ends = np.unique(ends, axis=1)
        indptr = np.zeros(agents + 1, np.int64)
        np.cumsum(np.bincount(ends[0], minlength=agents), out=indptr[1:])
        return cls(indptr, ends[1])

    def __len__(self) -> int:
        return len(self.indptr) - 1


def independent_cascade(graph: Followers, sources: Sequence[int], p: float, replicates: int, seed: int) -> I32:
    """Return the round in which each agent shares, shape (r, n), int32; 0 for the sources, -1 for never.

    Whether an edge passes a post on in a replicate is one draw, keyed by both, so that cascades of one seed only grow
    with p. Memory is 4 bytes per replicate and agent.

    Raises
    ------
    InputError
        If a source is not there, `p` is not between 0 and 1, or `replicates` is not positive.
    """
    if not 0 <= p <= 1:
        raise InputError(f"p must lie between 0 and 1, got {p}")
    if replicates < 1:
        raise InputError(f"at least one replicate is needed, got {replicates}")
    return _rounds(graph, _starts(graph, sources), p, replicates, seed).reshape(replicates, len(graph))


def cascade_curves(rounds: I32) -> dict[str, I64]:
    """Return ``scale``, ``depth`` and ``max_breadth`` after each round, shape (r, last round + 1) each.

    Counted as in `oasis.experiments.measures.cascade_growth`: an agent's depth is its round. Give a round the length
    of a step to compare with runs.

    Parameters
    ----------
    rounds : ndarray, shape (r, n), int32
        Of `independent_cascade`.
    """
    width = int(rounds.max(initial=0)) + 1
    replicate, agent = np.nonzero(rounds >= 0)
    at = np.bincount(replicate * width + rounds[replicate, agent], minlength=len(rounds) * width)
    new = at.reshape(len(rounds), width)
    below = new.copy()
    below[:, 0] = 0
    return {
        "scale": new.cumsum(axis=1),
        "depth": np.maximum.accumulate(np.where(new > 0, np.arange(width), 0), axis=1),
        "max_breadth": np.maximum.accumulate(below, axis=1),
    }


def _starts(graph: Followers, sources: Sequence[int]) -> I64:
    start = np.unique(np.asarray(sources, np.int64))
    if not len(start) or start[0] < 0 or start[-1] >= len(graph):
        raise InputError(f"sources must be agents 0 to {len(graph) - 1}, got {list(sources)}")
    return start


def _rounds(graph: Followers, start: I64, p: float, replicates: int, seed: int, enough: float = np.inf) -> I32:
    """Return rounds by cell (an agent in a replicate), not gone on with once more than `enough` cells share."""
    n, draws = len(graph), Draws(seed)
    rounds = np.full(replicates * n, -1, np.int32)
    front = (np.arange(replicates)[:, None] * n + start).ravel()
    rounds[front] = 0
    number, shared = 0, len(front)
    while len(front) and shared <= enough:
        number += 1
        agent = front % n
        degree = graph.indptr[agent + 1] - graph.indptr[agent]
        edge = csr.gather_numpy(graph.indptr, agent, np.concatenate([[0], np.cumsum(degree)]))
        replicate = np.repeat(front // n, degree)
        u = draws.uniform("independent-cascade", 0, replicate.astype(np.uint64), edge.astype(np.uint64))
        passed = np.flatnonzero(u < p)
        cell = replicate[passed] * n + graph.indices[edge[passed]]
        front = np.unique(cell[rounds[cell] < 0])
        rounds[front] = number
        shared += len(front)
    return rounds


@dataclass(frozen=True)
class EdgeFit:
    """A fitted edge probability.

    Attributes
    ----------
    p : float
    scale : float
        Mean number of agents that share with it, sources included.
    reachable : int
        Agents that share if every edge passes everything on: the most that any p gives.
    """

    p: float
    scale: float
    reachable: int


def fit_edge_probability(
    graph: Followers,
    sources: Sequence[int],
    scale: float,
    replicates: int = 100,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> EdgeFit:
    """Return the p with which independent cascades reach a given final scale on average, by bisection.

    Parameters
    ----------
    scale : float
        Agents that share, sources included.
    tolerance : float
        Of p, relative to it.

    Raises
    ------
    InputError
        If no p gives this scale: fewer than the sources, or more than can be reached.
    """
    start = _starts(graph, sources)
    least, reachable = len(start), int((_rounds(graph, start, 1.0, 1, seed) >= 0).sum())
    if not least <= scale <= reachable:
        raise InputError(f"no edge probability gives a scale of {scale:g}: on this graph it is {least} to {reachable}")

    if scale == least:
        return EdgeFit(0.0, float(least), reachable)

    def mean_scale(p: float, enough: float = np.inf) -> float:
        return int((_rounds(graph, start, p, replicates, seed, enough) >= 0).sum()) / replicates

    low, high = 0.0, 1 / max(int(np.diff(graph.indptr).max(initial=1)), 1)
    # from below, so that no large cascades are made on the way
    while high < 1 and mean_scale(high, scale * replicates) < scale:
        low, high = high, min(2 * high, 1.0)
    while high - low > tolerance * high:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_scale(middle, scale * replicates) < scale else (low, middle)
    return EdgeFit(high, mean_scale(high), reachable)
