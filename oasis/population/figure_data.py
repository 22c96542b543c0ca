"""The numbers behind the figures of a population, as frames."""

from __future__ import annotations

import numpy as np
import polars as pl

from oasis.population.population import Population
from oasis.population.power_law import fit_tail

__all__ = ["figure_data"]

_POINTS = 1000  # of a Lorenz curve


def figure_data(population: Population) -> dict[str, pl.DataFrame]:
    """Return frames by name.

    ``degrees`` has, by direction and degree, how many agents have it, the share with at least so many, and what the
    fitted tail says of that share (null below the tail); ``activity`` the share of agents, least active first, and of
    activity; ``rhythm`` the mean chance to act by UTC hour.
    """
    n = len(population)
    frames = []
    for direction, ids in (("in", population.followee), ("out", population.follower)):
        degrees = np.bincount(ids, minlength=n)
        count = np.bincount(degrees)
        degree = np.flatnonzero(count)
        at_least = (np.cumsum(count[::-1])[::-1] / n)[degree]
        law = fit_tail(degrees)
        fitted = np.full(len(degree), np.nan)
        if law is not None:
            tail = degree >= law.x_min
            fitted[tail] = law.survival(degree[tail]) * law.tail / n
        columns = {"direction": direction, "degree": degree, "agents": count[degree], "share_at_least": at_least}
        exponents = {"exponent": None if law is None else law.exponent, "error": None if law is None else law.error}
        frames.append(pl.DataFrame({**columns, "fitted": fitted, **exponents}, schema_overrides=_TYPES).fill_nan(None))
    level = np.sort(population.activity.mean(axis=1, dtype=np.float64))
    share = np.r_[0.0, np.cumsum(level)] / max(float(level.sum()), np.finfo(np.float64).tiny)
    at = np.unique(np.linspace(0, n, min(n, _POINTS) + 1).astype(np.int64))
    by_hour = population.activity.mean(axis=0, dtype=np.float64)
    return {
        "degrees": pl.concat(frames),
        "activity": pl.DataFrame({"agents": at / n, "activity": share[at]}),
        "rhythm": pl.DataFrame({"utc_hour": np.arange(len(by_hour)), "mean_activity": by_hour}),
    }


_TYPES = {"degree": pl.Int64, "agents": pl.Int64, "exponent": pl.Float64, "error": pl.Float64}
