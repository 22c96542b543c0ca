"""Columns of Parquet files: null, out of range, repeated. Rows are counted from 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.errors import PopulationError
from oasis.population.activity import HOURS, check_probabilities, constant_activity
from oasis.randomness import agent_keys

__all__ = ["activity_column", "ids_column", "keys_column", "within"]


def ids_column(table: pa.Table, name: str, path: Path) -> npt.NDArray[np.int32]:
    """Return a column of ids, none of them null."""
    column = table.column(name)
    if column.null_count:
        raise PopulationError(f"{path}, row {column.is_null().to_numpy().argmax()}: {name} is empty")
    return np.asarray(column.to_numpy(), np.int32)


def keys_column(column: pa.Array, place: str) -> npt.NDArray[np.uint64]:
    """Return distinct stable keys; made of the row where all are null."""
    if column.null_count == len(column):
        return agent_keys(np.arange(len(column)))
    if column.null_count:
        raise PopulationError(
            f"{place}, row {pc.index(column.is_null(), True).as_py()}: key is empty; give all or none"
        )
    keys = np.asarray(column.to_numpy(), np.uint64)
    order = np.argsort(keys, kind="stable")
    repeated = order[1:][keys[order[1:]] == keys[order[:-1]]]
    if len(repeated):
        row = repeated.min()
        first = np.argmax(keys == keys[row])
        raise PopulationError(f"{place}, row {row}: key {keys[row]} is that of row {first} too; keys must be unique")
    return keys


def within(column: pa.Array, allowed: tuple[int, int], missing: float, place: str, name: str) -> npt.NDArray[Any]:
    """Return a numeric column with `missing` for nulls (and NaN, of floats), all others within `allowed`."""
    values = column.fill_null(missing).to_numpy(zero_copy_only=False)
    low, high = allowed
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        raise PopulationError(
            f"{place}, row {wrong[0]}: {name} is {values[wrong[0]]}; allowed: {low} to {high}, or null"
        )
    return values


def activity_column(column: pa.Array, mean_active: float, place: str) -> npt.NDArray[np.float32]:
    """Return hourly probabilities, shape (n, 24); `mean_active` throughout where all are null."""
    if column.null_count == len(column):
        return constant_activity(len(column), mean_active)
    if column.null_count:
        raise PopulationError(
            f"{place}, row {column.is_null().to_numpy(zero_copy_only=False).argmax()}: activity is empty"
        )
    flat = column.flatten().fill_null(np.nan).to_numpy(zero_copy_only=False)
    activity = np.asarray(flat, np.float32).reshape(len(column), HOURS)
    check_probabilities(activity, place)
    return activity
