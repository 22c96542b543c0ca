"""A simulated cascade against a real one: error per minute, and the curves that a simulation has to beat.

Axes: ``r`` replicates, ``m`` minutes 0 to the last one used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.optimize import curve_fit

from oasis.errors import InputError
from oasis.runs.cascades import read_real_curve

__all__ = [
    "LAST_MINUTES",
    "REAL_CASCADES",
    "Saturating",
    "fit_saturating",
    "held",
    "normalized_rmse",
    "read_real_cascades",
    "read_real_minutes",
    "step_functions",
]

F64 = npt.NDArray[np.float64]

LAST_MINUTES = (149, 499)
"""Last minutes of the windows that errors are given for."""

REAL_CASCADES = {
    "label": pl.Boolean,  # whether the news was true
    "num_users": pl.Int64,
    "max_depth": pl.Int64,
    "topic_category": pl.String,
    "topic_name": pl.String,
    "start_time": pl.String,
    "root_user": pl.Int64,
}
"""Columns of a table of real cascades that are read. Its times contradict the curves, so they are not."""


def read_real_minutes(path: str | Path) -> pl.DataFrame:
    """Read a real cascade's growth (`oasis.runs.cascades.REAL_CURVE`), a row per minute from 0, none left out.

    Raises
    ------
    InputError
        If the file is missing, is no such curve, or lacks a minute.
    """
    curve = read_real_curve(path)
    if not np.array_equal(curve["minute"].to_numpy(), np.arange(curve.height)):
        raise InputError(f"{path}: column 'minute' must count 0, 1, 2 ... without gaps")
    return curve


def read_real_cascades(path: str | Path) -> pl.DataFrame:
    """Read a table of real cascades: the columns of `REAL_CASCADES`, a row per cascade.

    Raises
    ------
    InputError
        If the file is missing, lacks a column, or a cell is empty or of another type.
    """
    try:
        table = pl.read_csv(path, infer_schema=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: no CSV file: {error}") from None
    missing = [name for name in REAL_CASCADES if name not in table.columns]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}; real cascades have {', '.join(REAL_CASCADES)}")
    truth = {"true": True, "false": False}
    typed = table.select(
        pl.col(name).str.to_lowercase().replace_strict(truth, default=None, return_dtype=pl.Boolean)
        if kind == pl.Boolean
        else pl.col(name).cast(kind, strict=False)
        for name, kind in REAL_CASCADES.items()
    )
    for name, kind in REAL_CASCADES.items():
        wrong = np.flatnonzero(typed[name].is_null().to_numpy())
        if len(wrong):
            got = table[name][int(wrong[0])]
            raise InputError(f"{path}: row {wrong[0] + 1}, column {name!r}: must be of type {kind}, got {got!r}")
    return typed


def held(minute: npt.ArrayLike, value: npt.ArrayLike, last: int) -> F64:
    """Return a curve's values at minutes 0 to `last`, shape (m,), held constant between its points.

    Parameters
    ----------
    minute, value : array_like, shape (points,)
        Minutes ascending, the first at most 0. After the last point its value is held too, so the run must have gone
        on that long.

    Raises
    ------
    InputError
        If there is no point at or before minute 0, or minutes do not ascend.
    """
    at, values = np.asarray(minute, np.float64), np.asarray(value, np.float64)
    if at.shape != values.shape or at.ndim != 1 or not len(at) or at[0] > 0 or (np.diff(at) <= 0).any():
        raise InputError("a curve needs ascending minutes, from 0 or before, and a value for each")
    # a step of 3 minutes may end at 2.9999999999999996
    return values[np.searchsorted(at, np.arange(last + 1) + 1e-9, side="right") - 1]


def normalized_rmse(simulated: npt.ArrayLike, real: npt.ArrayLike, last: int = LAST_MINUTES[0]) -> F64:
    """Return the root mean squared error over minutes 0 to `last`, divided by the real value at minute `last`.

    Per replicate; for the mean curve give ``simulated.mean(axis=0)``. That error is never larger than the
    root-mean-square one of the replicates, since averaging takes away their own spread.

    Parameters
    ----------
    simulated : array_like, shape (r, m) or (m,)
        Each row of `held`.
    real : array_like, shape (at least m,)
        A value per minute.

    Returns
    -------
    ndarray, shape (r,) or ()
        Without unit.

    Raises
    ------
    InputError
        If a curve ends before minute `last`, or the real value there is not positive.
    """
    model, truth = np.asarray(simulated, np.float64), np.asarray(real, np.float64)
    if min(model.shape[-1], len(truth)) <= last:
        ends = f"simulated minutes 0 to {model.shape[-1] - 1}, real minutes 0 to {len(truth) - 1}"
        raise InputError(f"an error over minutes 0 to {last} needs both curves that long; got {ends}")
    if not truth[last] > 0:
        raise InputError(f"the real value at minute {last} is {truth[last]:g}; an error is divided by it")
    squares = (model[..., : last + 1] - truth[: last + 1]) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=-1)) / truth[last])


def step_functions(
    real: npt.ArrayLike, everyone: float, reachable: float, last: int = LAST_MINUTES[0]
) -> dict[str, F64]:
    """Return the baselines without any dynamics: constant curves, shape (m,).

    ``all at once`` and ``reachable at once`` are there from minute 0; ``real end`` is the real value at minute `last`.

    Parameters
    ----------
    everyone, reachable : float
        Users there are, and those whom a chain of follows joins to the source; the source included for scale, not for
        breadth.
    """
    end = float(np.asarray(real, np.float64)[last])
    levels = {"all at once": float(everyone), "reachable at once": float(reachable), "real end": end}
    return {name: np.full(last + 1, level) for name, level in levels.items()}


@dataclass(frozen=True)
class Saturating:
    """``level (1 - exp(-t / minutes))``, t in minutes.

    Attributes
    ----------
    level : float
        What it tends to, in the unit of the curve.
    minutes : float
        After these 63% of it are reached.
    """

    level: float
    minutes: float

    def curve(self, last: int = LAST_MINUTES[0]) -> F64:
        """Return its values at minutes 0 to `last`, shape (m,)."""
        return self.level * -np.expm1(-np.arange(last + 1) / self.minutes)


def fit_saturating(real: npt.ArrayLike, last: int = LAST_MINUTES[0]) -> Saturating:
    """Fit a saturating exponential to minutes 0 to `last` of a real curve by least squares.

    It has two parameters and sees the curve that it is judged by, so it is a bound rather than a rival.

    Raises
    ------
    InputError
        If the curve ends before minute `last`, or no such function fits.
    """
    truth = np.asarray(real, np.float64)
    if len(truth) <= last:
        raise InputError(f"a fit over minutes 0 to {last} needs a curve that long; got minutes 0 to {len(truth) - 1}")
    t, y = np.arange(last + 1, dtype=np.float64), truth[: last + 1]
    half = float(np.argmax(y >= y[-1] / 2))
    try:
        found, _ = curve_fit(
            lambda t, level, minutes: level * -np.expm1(-t / minutes),
            *(t, y),
            p0=(max(y[-1], 1e-9), max(half, 0.5) / np.log(2)),
            bounds=([0, 1e-3], np.inf),
        )
    except RuntimeError as error:
        raise InputError(f"no saturating exponential fits this curve: {error}") from None
    return Saturating(*(float(v) for v in found))
