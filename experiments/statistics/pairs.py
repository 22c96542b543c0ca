"""Pairs over replicates: the values of two arms that share their draws."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from oasis.errors import InputError, nearest

__all__ = ["VALUES", "known_pairs", "paired_values"]

F64 = npt.NDArray[np.float64]

VALUES = pa.schema(
    [
        ("arm", pa.large_string()),
        ("replicate", pa.int64()),
        ("outcome", pa.large_string()),
        ("value", pa.float64()),  # null or NaN: not defined in this run
    ]
)
"""What was measured: a row per arm, replicate and outcome."""


def paired_values(values: pl.DataFrame, outcome: str, arm: str, baseline: str) -> tuple[F64, F64]:
    """Return an outcome in two arms, row i of both being the same replicate.

    Replicates that one of the arms lacks are left out.

    Parameters
    ----------
    values : polars.DataFrame
        Columns of `VALUES`.

    Returns
    -------
    value, base : ndarray, shape (replicates,), float64
        In the order of replicates; NaN where the outcome is not defined.

    Raises
    ------
    InputError
        If a column, the outcome or an arm is not there, or a replicate stands twice.
    """
    _among(VALUES.names, values.columns, "column")
    _among([outcome], values["outcome"].unique(), "outcome")
    rows = values.filter(pl.col("outcome") == outcome)
    _among([arm, baseline], rows["arm"].unique(), f"arm with outcome {outcome!r}")
    sides = [rows.filter(pl.col("arm") == name).select("replicate", "value") for name in (arm, baseline)]
    for name, side in zip((arm, baseline), sides, strict=True):
        if side["replicate"].is_duplicated().any():
            twice = side.filter(pl.col("replicate").is_duplicated())["replicate"][0]
            raise InputError(f"outcome {outcome!r}, arm {name!r}: replicate {twice} is there twice; give each run once")
    both = sides[0].join(sides[1], on="replicate", suffix="_base").sort("replicate")
    value, base = (both[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in ("value", "value_base"))
    return value, base


def known_pairs(value: npt.ArrayLike, baseline: npt.ArrayLike) -> tuple[F64, bool]:
    """Return the differences of the pairs whose values are both known, and whether they differ at all.

    Differences that are apart by rounding alone (8 units in the last place of the largest value) are the same, and
    come back as their mean.

    Raises
    ------
    InputError
        If the shapes differ or a value is infinite.
    """
    first, second = np.asarray(value, np.float64), np.asarray(baseline, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(f"pairs need two rows of numbers of one length, got shapes {first.shape} and {second.shape}")
    if np.isinf(first).any() or np.isinf(second).any():
        raise InputError("an outcome is infinite; give NaN where it is not defined in a run")
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = first[known], second[known]
    difference = first - second
    if not len(difference):
        return difference, False
    rounding = 8 * np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max())
    if np.ptp(difference) > rounding:
        return difference, True
    mean = float(difference.mean())
    return np.full(len(difference), 0.0 if abs(mean) <= rounding else mean), False


def _among(wanted: Iterable[str], there: Iterable[str], what: str) -> None:
    there = sorted(str(name) for name in there)
    for name in wanted:
        if name not in there:
            raise InputError(f"no {what} {name!r}{nearest(name, there)}; there are {', '.join(there) or 'none'}")
