"""Independent cascades that reach as many as simulated ones: what size alone says about shape and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.experiments.baselines import Followers, independent_cascade

__all__ = ["Matched", "breadth_by_round", "fitted_round", "matched_cascades", "scale_by_round"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]

_REPLICATES = 20
_TOLERANCE = 0.01
"""Of p, relative."""


@dataclass(frozen=True)
class Matched:
    """Means over independent cascades of several sources.

    Attributes
    ----------
    p : float
        Of each follow.
    scale, depth, max_breadth : float
    """

    p: float
    scale: float
    depth: float
    max_breadth: float


def matched_cascades(graph: Followers, sources: Sequence[int], scale: float, seed: int) -> Matched:
    """Return independent cascades, one for each source, with the p at which their mean scale is the one given.

    Where no p gives it, the nearest: 0 or 1.
    """

    def made(p: float) -> list[I32]:
        return [independent_cascade(graph, [source], p, _REPLICATES, seed) for source in sources]

    def mean_scale(cascades: list[I32]) -> float:
        return float(np.mean([(rounds >= 0).sum(axis=1).mean() for rounds in cascades]))

    low, high = 0.0, 1e-4
    while high < 1 and mean_scale(made(high)) < scale:  # from below: cascades near p = 1 take the longest to draw
        low, high = high, min(1.0, 2 * high)
    while high - low > _TOLERANCE * high and high > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if mean_scale(made(middle)) < scale else (low, middle)
    p = 0.0 if scale <= 1 else high
    cascades = made(p)
    depth = np.mean([rounds.max(axis=1).mean() for rounds in cascades])
    breadth = np.mean([breadth_by_round(rounds)[:, -1].mean() for rounds in cascades])
    return Matched(p, mean_scale(cascades), float(depth), float(breadth))


def scale_by_round(rounds: I32) -> F64:
    """Return the agents that have shared by the end of each round, shape (r, rounds + 1), the sources included."""
    return _by_round(rounds).cumsum(axis=1)


def breadth_by_round(rounds: I32) -> F64:
    """Return the largest round so far, the sources' left out, shape (r, rounds + 1)."""
    counts = _by_round(rounds)
    counts[:, 0] = 0
    return np.maximum.accumulate(counts, axis=1)


def fitted_round(by_round: F64, real: npt.ArrayLike, last: int) -> tuple[int, F64]:
    """Return how many minutes a round takes at best, and the mean curve at minutes 0 to `last` with it.

    Least squares on the real curve, over whole minutes.
    """
    truth = np.asarray(real, np.float64)[: last + 1]
    mean = by_round.mean(axis=0)
    curves = {m: mean[np.minimum(np.arange(last + 1) // m, len(mean) - 1)] for m in range(1, last + 1)}
    best = min(curves, key=lambda m: float(((curves[m] - truth) ** 2).sum()))
    return best, curves[best]


def _by_round(rounds: I32) -> F64:
    counts = np.zeros((len(rounds), int(rounds.max()) + 1))
    replicate, agent = np.nonzero(rounds >= 0)
    np.add.at(counts, (replicate, rounds[replicate, agent]), 1)
    return counts
