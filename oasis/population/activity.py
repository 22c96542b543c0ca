"""Hourly activity: raw counts to probabilities of acting in one step."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.errors import PopulationError, ScenarioError
from oasis.kernels.population import split_sum

__all__ = ["HOURS", "check_mean", "check_probabilities", "constant_activity", "scale_to_mean"]

HOURS = 24


def constant_activity(agents: int, mean: float) -> npt.NDArray[np.float32]:
    """Return the same probability for all agents and hours, shape (n, 24)."""
    return np.full((agents, HOURS), mean, np.float32)


def scale_to_mean(counts: npt.NDArray[np.float64], mean: float, where: str) -> npt.NDArray[np.float32]:
    """Return ``min(1, c * counts)`` with the one factor ``c`` that makes its mean `mean`.

    Parameters
    ----------
    counts : ndarray, shape (n, 24)
        Not negative, finite.

    Raises
    ------
    PopulationError
        If even ``c`` without bound does not reach the mean: too many counts are zero.
    """
    flat = np.ravel(counts / max(counts.max(initial=0.0), np.finfo(np.float64).tiny))  # sums stay finite
    possible = np.count_nonzero(flat)
    wanted = mean * flat.size
    if possible < wanted:
        raise PopulationError(
            f"{where}: activity cannot reach mean_active = {mean:g}: only {possible / flat.size:.1%} of all hours have "
            "a count above zero; give a smaller mean_active"
        )
    # Clip nothing, solve for c, clip what passes 1, solve again: c only grows, so this ends, and with the right one.
    clipped, factor = 0, 0.0
    _, rest = split_sum(flat, math.inf)
    while True:
        factor = max(factor, (wanted - clipped) / rest if rest > 0 else 1.0 / flat[flat > 0].min())
        more, rest = split_sum(flat, 1.0 / factor)
        if more <= clipped:
            return np.asarray(np.minimum(1.0, flat * factor), np.float32).reshape(counts.shape)
        clipped = more


def check_mean(mean_active: float) -> None:
    """Refuse a mean that is no probability.

    Raises
    ------
    ScenarioError
    """
    if not 0 < mean_active <= 1:
        raise ScenarioError(f"population.mean_active is {mean_active}; allowed: above 0, at most 1")


def check_probabilities(activity: npt.NDArray[np.floating], where: str) -> None:
    """Refuse NaN and what is outside [0, 1].

    Raises
    ------
    PopulationError
        Naming the row.
    """
    wrong = np.argwhere(~((activity >= 0) & (activity <= 1)))
    if len(wrong):
        row, hour = wrong[0]
        raise PopulationError(
            f"{where}, row {row}: activity of hour {hour} is {activity[row, hour]}; allowed: a probability, 0 to 1"
        )
