"""Which agents or posts: by id, by attribute, the top of a column, or a drawn share."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BeforeValidator, Field, field_validator, model_validator

from oasis.errors import ScenarioError, nearest
from oasis.interfaces import Parameters
from oasis.randomness import Draws

__all__ = ["Selection", "SelectionField", "check_selection", "select"]

Scalar = bool | int | float | str


class Range(Parameters):
    """A closed interval; either end may be missing."""

    min: float | None = None
    max: float | None = None


class Selection(Parameters):
    """A set of rows. Conditions hold together; `top` and `share` then take a part of what fits.

    Attributes
    ----------
    ids : list of int, optional
    where : dict, optional
        Column to a value, a list of values, or ``{min = ..., max = ...}``.
    top : str, optional
        Column; the `count` rows with the largest value (ties drawn).
    count : int, optional
        With `top`, how many; without, that many drawn at random.
    share : float, optional
        Share drawn at random of what fits.
    """

    ids: list[Annotated[int, Field(ge=0, lt=2**31)]] | None = None
    where: dict[str, Scalar | list[Scalar] | Range] = {}
    top: str | None = None
    count: int | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)

    @field_validator("where", mode="before")
    @classmethod
    def _conditions(cls, value: Any) -> Any:
        for column, wanted in value.items() if isinstance(value, dict) else ():
            if isinstance(wanted, dict):
                known = tuple(Range.model_fields)
                for key, end in wanted.items():
                    if key not in known:
                        raise ValueError(f"{column}: unknown key {key!r}{nearest(key, known)}; allowed: min, max")
                    if isinstance(end, bool) or not isinstance(end, int | float):
                        raise ValueError(f"{column}.{key}: must be a number, got {end!r:.200}")
            elif not all(isinstance(v, Scalar) for v in (wanted if isinstance(wanted, list) else [wanted])):
                raise ValueError(f"{column}: must be a value, a list of values, or {{min, max}}, got {wanted!r:.200}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Selection:
        if self.top is not None and self.count is None:
            raise ValueError("top needs count: the number of rows to take")
        if self.count is not None and self.share is not None:
            raise ValueError("give count or share, not both")
        return self


def _from_ids(value: Any) -> Any:
    if isinstance(value, np.integer | np.ndarray):
        value = value.tolist()
    if isinstance(value, int) and not isinstance(value, bool):
        return {"ids": [value]}
    return {"ids": value} if isinstance(value, list) else value


SelectionField = Annotated[Selection, BeforeValidator(_from_ids)]
"""A `Selection` that may also be written as one id or a list of ids."""


def select(
    selection: Selection,
    frame: pl.DataFrame,
    id_column: str,
    draws: Draws,
    keys: npt.NDArray[np.uint64],
    where: str,
    stream: str | None = None,
) -> npt.NDArray[np.int32]:
    """Return the ids that a selection takes from `frame`, sorted.

    Parameters
    ----------
    frame : polars.DataFrame
        One row per candidate.
    keys : ndarray, shape (all ids,), uint64
        Stable key by id, from which shares and ties are drawn.
    where : str
        Place in the scenario, for messages.
    stream : str, optional
        Names the stream of the draw; `where` by default.

    Raises
    ------
    ScenarioError
        For an id or column that does not exist.
    """
    if selection.ids is not None:
        known = frame[id_column]
        missing = sorted(set(selection.ids) - set(known.to_list())) if len(selection.ids) else []
        if missing:
            span = f"{known.min()!s} to {known.max()!s}" if len(known) else "none: there are no rows"
            raise ScenarioError(f"{where}: no {id_column} {missing[0]}; allowed: {span}")
        frame = frame.filter(pl.col(id_column).is_in(selection.ids))
    frame = _fitting(selection, frame, where)
    ids = frame[id_column].to_numpy().astype(np.int32)
    if selection.count is None and selection.share is None:
        return np.sort(ids)
    order = draws.bits(f"select {stream or where}", 0, keys[ids])
    if selection.share is not None:
        return np.sort(ids[order < np.uint64(min(selection.share * 2.0**64, 2.0**64 - 2048))])
    rank = np.argsort(order, kind="stable")
    if selection.top is not None:
        _check_top(selection.top, frame, where)
        height = frame[selection.top].cast(pl.Float64).fill_null(-np.inf).to_numpy()
        rank = np.lexsort((order, -height))
    return np.sort(ids[rank[: selection.count]])


def check_selection(selection: Selection, frame: pl.DataFrame, where: str) -> None:
    """Refuse a selection that fits no frame with these columns.

    Raises
    ------
    ScenarioError
        For a column that does not exist, a value of another type, or `top` of a column that is no number.
    """
    _fitting(selection, frame, where)
    if selection.top is not None:
        _check_top(selection.top, frame, where)


def _fitting(selection: Selection, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Return the rows that meet all conditions."""
    for column, wanted in selection.where.items():
        _check_column(column, frame, where)
        value = pl.col(column)
        if isinstance(wanted, Range):
            condition = value.is_between(
                -np.inf if wanted.min is None else wanted.min, np.inf if wanted.max is None else wanted.max
            )
        else:
            condition = value.is_in(wanted if isinstance(wanted, list) else [wanted])
        try:
            frame = frame.filter(condition)
        except pl.exceptions.PolarsError as error:
            raise ScenarioError(
                f"{where}.where.{column}: {wanted!r} does not fit a column of {frame.schema[column]}"
            ) from error
    return frame


def _check_top(column: str, frame: pl.DataFrame, where: str) -> None:
    _check_column(column, frame, where)
    if not (frame.schema[column].is_numeric() or frame.schema[column] == pl.Boolean):
        raise ScenarioError(f"{where}.top: {column!r} is a column of {frame.schema[column]}; it must hold numbers")


def _check_column(column: str, frame: pl.DataFrame, where: str) -> None:
    if column not in frame.columns:
        raise ScenarioError(
            f"{where}: no column {column!r}{nearest(column, frame.columns)}; allowed: {', '.join(frame.columns)}"
        )
