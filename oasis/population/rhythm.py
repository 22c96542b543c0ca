"""When generated agents are active: a few very much, all by their own clock and habit.

A day has a trough at 4, rises to a plateau, and peaks at 21, local time. Its shape, the time zones with their shares,
and early and late habits are assumed; they are there so that a population has neither one peak nor none.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from oasis.kernels import population as kernels
from oasis.population.activity import HOURS, scale_to_mean
from oasis.randomness import Draws, Keys

__all__ = ["DAY", "draw_activity"]

F32 = npt.NDArray[np.float32]

DAY = np.array(
    [0.40, 0.22, 0.10, 0.03, 0.00, 0.03, 0.14, 0.34, 0.50, 0.58, 0.62, 0.65]
    + [0.72, 0.72, 0.66, 0.65, 0.67, 0.73, 0.80, 0.88, 0.96, 1.00, 0.88, 0.64]
)
"""Activity by local hour, as a share of that between the quietest and the busiest hour."""
_ZONES = np.array([-8.0, -5.0, -3.0, 0.0, 1.0, 9.0])  # hours from UTC
_ZONE_SHARES = np.array([0.15, 0.40, 0.10, 0.15, 0.10, 0.10])
_HABITS = np.array([-2.0, 0.0, 2.5])  # hours later than most: early, usual, late
_HABIT_SHARES = np.array([0.25, 0.5, 0.25])
_SPREAD = 0.75  # hours, around the habit


class ActivityParameters(Protocol):
    """What of `GenerateParameters` shapes activity."""

    activity_sigma: float
    day_rhythm: float


def draw_activity(draws: Draws, keys: Keys, parameters: ActivityParameters, mean_active: float) -> tuple[F32, F32]:
    """Return each agent's hours from UTC, shape (n,), and its chances to act by UTC hour, shape (n, 24).

    Levels are lognormal, and at most 1 in the busiest hour, so that the most active sleep too. One factor gives the
    chances their mean.
    """
    level = np.empty(len(keys))
    kernels.exp(parameters.activity_sigma * _normal(draws, "population.activity", keys), level)
    zone = _ZONES[_drawn(draws, "population.zone", keys, _ZONE_SHARES)]
    habit = _HABITS[_drawn(draws, "population.habit", keys, _HABIT_SHARES)]
    later = habit + _SPREAD * _normal(draws, "population.habit.spread", keys)
    awake = 1.0 - parameters.day_rhythm * (1.0 - float(DAY.mean()))  # of the busiest hour, on the average of the day
    level = scale_to_mean(level, min(1.0, mean_active / awake), "population").astype(np.float64)
    chances = np.empty((len(keys), HOURS))
    kernels.day_rhythm(level, zone - later, DAY, parameters.day_rhythm, chances)
    return zone.astype(np.float32), scale_to_mean(chances, mean_active, "population")


def _drawn(draws: Draws, stream: str, keys: Keys, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    at = np.searchsorted(np.cumsum(shares)[:-1], draws.uniform(stream, 0, keys), side="right")
    return np.asarray(at, np.int64)


def _normal(draws: Draws, stream: str, keys: Keys) -> npt.NDArray[np.float64]:
    """Return standard normal draws."""
    out = np.empty(len(keys))
    kernels.normal(draws.uniform(stream, 0, keys, 0), draws.uniform(stream, 0, keys, 1), out)
    return out
