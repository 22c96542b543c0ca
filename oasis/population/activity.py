"""Hourly activity: raw counts to probabilities of acting in one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.errors import PopulationError

__all__ = ["HOURS", "check_probabilities", "constant_activity", "scale_to_mean"]

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
    possible = np.count_nonzero(counts) / counts.size
    if possible < mean:
        raise PopulationError(
            f"{where}: activity cannot reach mean_active = {mean:g}: only {possible:.1%} of all hours have a "
            "count above zero; give a smaller mean_active"
        )
    low, high = 0.0, 1.0 / counts[counts > 0].min()
    for _ in range(100):  # bisection to the last bit; the clipped mean is monotone in the factor
        middle = 0.5 * (low + high)
        if np.minimum(1.0, counts * middle).mean() < mean:
            low = middle
        else:
            high = middle
    return np.minimum(1.0, counts * high).astype(np.float32)


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
