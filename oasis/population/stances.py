"""Stances of generated agents: uniform or truncated normal, alike among those of one main interest.

A stance is a quantile of its distribution at a level that is uniform over agents. The level is drawn, and where
interests count, it is that of a normal score with a part of the main interest in it (a Gaussian copula).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from oasis.grammar import TOPICS
from oasis.randomness import Draws, Keys

__all__ = ["StanceParameters", "draw_stances"]

F64 = npt.NDArray[np.float64]


class StanceParameters(Protocol):
    """What of `oasis.population.generate.GenerateParameters` stances depend on."""

    @property
    def stance_mean(self) -> float | None: ...  # noqa: D102

    @property
    def stance_sd(self) -> float | None: ...  # noqa: D102

    @property
    def stance_by_interest(self) -> float: ...  # noqa: D102


def draw_stances(
    draws: Draws, keys: Keys, topic: npt.NDArray[np.int16], parameters: StanceParameters
) -> npt.NDArray[np.float32]:
    """Return stances from -1 to 1, shape (n,); `topic` is each agent's main interest."""
    level = draws.uniform("population.stance", 0, keys)
    shared = parameters.stance_by_interest
    if shared:
        own = ndtri(np.clip(level, 1e-16, 1.0 - 1e-16))
        level = ndtr(np.sqrt(shared) * _topic_scores(draws)[topic] + np.sqrt(1.0 - shared) * own)
    mean, sd = parameters.stance_mean, parameters.stance_sd
    if mean is None or sd is None:
        return (2.0 * level - 1.0).astype(np.float32)
    low, high = ndtr((-1.0 - mean) / sd), ndtr((1.0 - mean) / sd)
    return np.clip(mean + sd * ndtri(low + level * (high - low)), -1.0, 1.0).astype(np.float32)


def _topic_scores(draws: Draws) -> F64:
    """Return a normal score per topic, of mean 0 and variance 1 over agents, of whom 1 / rank have it (Zipf)."""
    share = 1.0 / np.arange(1, len(TOPICS) + 1)
    share /= share.sum()
    score = ndtri(draws.uniform("population.stance.topic", 0, np.arange(len(TOPICS), dtype=np.uint64)))
    score -= np.dot(share, score)
    return np.asarray(score / np.sqrt(np.dot(share, score**2)), np.float64)
