"""X profiles as CSV, in the reference's format: one row per user, lists as Python literals in their cells."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.errors import PopulationError, nearest
from oasis.population.activity import HOURS, constant_activity, scale_to_mean
from oasis.population.edges import EdgeList, accept_edges
from oasis.population.population import HistoryPosts, Population

__all__ = ["read_x_csv"]

FOLLOWS, TWEETS, ACTIVITY = "following_agentid_list", "previous_tweets", "activity_level_frequency"
_LONGEST_CELL = 16 * 2**20


def read_x_csv(path: Path, activity_path: Path | None, mean_active: float) -> Population:
    """Read X profiles; agents are numbered by their row.

    Columns: ``user_id`` (unique), ``username`` (may repeat), ``name``, ``description`` (the bio), ``user_char`` (the
    persona), ``following_agentid_list``, ``previous_tweets``, ``followers_count``, ``activity_level_frequency`` (24
    counts). Only ``username`` must be there; others are left alone.

    Parameters
    ----------
    activity_path : Path, optional
        Another CSV with the same users in the same order, whose activity counts are used.

    Raises
    ------
    PopulationError
        Naming file, line and column.
    """
    rows = _Rows(path)
    if "username" not in rows.columns:
        raise PopulationError(
            f"{path}: no column 'username'{nearest('username', rows.columns)}; it has: {', '.join(rows.columns)}"
        )
    n = len(rows)
    _check_ids(rows)
    follows = rows.lists(FOLLOWS)
    edges = EdgeList(
        np.repeat(np.arange(n, dtype=np.int64), [len(f) for f in follows]),
        np.array([_whole(v, rows, i, FOLLOWS) for i, f in enumerate(follows) for v in f], np.int64),
        np.repeat(np.array(rows.lines, np.int64), [len(f) for f in follows]),
    )
    follower, followee, refused = accept_edges(edges, n, str(path), FOLLOWS)
    tweets = rows.lists(TWEETS)
    for i, listed in enumerate(tweets):
        if any(not isinstance(t, str) for t in listed):
            raise PopulationError(f"{rows.place(i)}: {TWEETS} must be a list of texts")
    author = np.repeat(np.arange(n, dtype=np.int32), [len(t) for t in tweets])
    bio, persona = rows.texts("description"), rows.texts("user_char")
    return Population(
        username=rows.texts("username"),
        name=rows.texts("name"),
        bio=bio,
        persona=persona if "user_char" in rows.columns else bio,
        group=pa.nulls(n, pa.large_string()),
        activity=_activity(rows, activity_path, mean_active),
        stance=np.full(n, np.nan, np.float32),
        base_followers=_base_followers(rows, followee),
        follower=follower,
        followee=followee,
        posts=HistoryPosts.build(author, _array([t for listed in tweets for t in listed])),
        attributes=pa.table({}),
        refused_rows=refused,
    )


class _Rows:
    """A CSV file's cells with the line that each row begins on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[int] = []
        self._cells: list[list[str]] = []
        try:
            self._read()
        except FileNotFoundError:
            raise PopulationError(f"{path}: no such file") from None
        except UnicodeDecodeError as error:
            raise PopulationError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
        except OSError as error:
            raise PopulationError(f"{path}: cannot be read: {error.strerror}") from None
        if not self._cells:
            raise PopulationError(f"{path}: has no users; a population needs at least one")

    def _read(self) -> None:
        limit = csv.field_size_limit(_LONGEST_CELL)
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                rows = self._numbered(reader)
                _, self.columns = next(rows, (0, []))
                repeated = {c for c in self.columns if self.columns.count(c) > 1}
                if repeated:
                    raise PopulationError(f"{self.path}, line 1: column {sorted(repeated)[0]!r} stands twice")
                for line, cells in rows:
                    if len(cells) != len(self.columns):
                        raise PopulationError(
                            f"{self.path}, line {line}: {len(cells)} cells, but the header has {len(self.columns)}"
                        )
                    self.lines.append(line)
                    self._cells.append(cells)
        finally:
            csv.field_size_limit(limit)

    def _numbered(self, reader: Any) -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise PopulationError(f"{self.path}, line {line}: not a CSV row: {error}") from None
            if cells:
                yield line, cells

    def __len__(self) -> int:
        return len(self._cells)

    def place(self, row: int) -> str:
        return f"{self.path}, line {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        at = self.columns.index(name)
        return [cells[at] for cells in self._cells]

    def texts(self, name: str) -> pa.LargeStringArray:
        """Return a text column, null where it is empty or not there."""
        if name not in self.columns:
            return pa.nulls(len(self), pa.large_string())
        return _array([cell or None for cell in self.column(name)])

    def lists(self, name: str) -> list[list[Any]]:
        """Return a column of Python list literals, read as data."""
        if name not in self.columns:
            return [[] for _ in range(len(self))]
        return [self._list(cell, i, name) for i, cell in enumerate(self.column(name))]

    def _list(self, cell: str, row: int, name: str) -> list[Any]:
        if cell.strip() in ("", "[]", "nan"):
            return []
        try:
            value = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, list):
            raise PopulationError(f"{self.place(row)}: {name} must be a list such as [1, 2], got {cell!r:.80}")
        return value


def _check_ids(rows: _Rows) -> None:
    if "user_id" not in rows.columns:
        return
    first: dict[str, int] = {}
    for i, user_id in enumerate(rows.column("user_id")):
        if not user_id.strip():
            raise PopulationError(f"{rows.place(i)}: user_id is empty; each row needs its own")
        if user_id in first:
            raise PopulationError(
                f"{rows.place(i)}: user_id {user_id!r} is that of line {rows.lines[first[user_id]]} too; "
                "ids must be unique"
            )
        first[user_id] = i


def _activity(rows: _Rows, activity_path: Path | None, mean_active: float) -> npt.NDArray[np.float32]:
    if activity_path is not None:
        other = _Rows(activity_path)
        if ACTIVITY not in other.columns:
            raise PopulationError(f"{activity_path}: no column {ACTIVITY!r}; it has: {', '.join(other.columns)}")
        if len(other) != len(rows):
            raise PopulationError(f"{activity_path}: has {len(other)} users, but {rows.path} has {len(rows)}")
        if "user_id" in rows.columns and "user_id" in other.columns:
            for i, (mine, theirs) in enumerate(zip(rows.column("user_id"), other.column("user_id"), strict=True)):
                if mine != theirs:
                    raise PopulationError(
                        f"{other.place(i)}: user_id {theirs!r}, but {rows.place(i)} has {mine!r}; "
                        "both need the same order"
                    )
        rows = other
    if ACTIVITY not in rows.columns:
        return constant_activity(len(rows), mean_active)
    counts = np.empty((len(rows), HOURS))
    for i, listed in enumerate(rows.lists(ACTIVITY)):
        numbers = [v for v in listed if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(listed) != HOURS or len(numbers) != HOURS or not all(0 <= v < float("inf") for v in numbers):
            raise PopulationError(
                f"{rows.place(i)}: {ACTIVITY} must be {HOURS} counts, none negative, got {listed!r:.80}"
            )
        counts[i] = numbers
    return scale_to_mean(counts, mean_active, str(rows.path))


def _base_followers(rows: _Rows, followee: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return followers from outside: those that the profile counts, less those in the file."""
    name = next((c for c in ("followers_count", "follower_count") if c in rows.columns), None)
    inside = np.bincount(followee, minlength=len(rows))
    if name is None:
        return np.zeros(len(rows), np.int32)
    counted = [_whole(cell or 0, rows, i, name) for i, cell in enumerate(rows.column(name))]
    return np.clip(np.array(counted, np.int64) - inside, 0, 2**31 - 1).astype(np.int32)


def _whole(value: Any, rows: _Rows, row: int, column: str) -> int:
    try:
        if isinstance(value, bool) or float(value) != int(float(value)):
            raise ValueError
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise PopulationError(f"{rows.place(row)}: {column} must hold whole numbers, got {value!r:.80}") from None


def _array(texts: list[str | None]) -> pa.LargeStringArray:
    clean = [None if t is None else t.encode("utf-8", "replace").decode("utf-8") for t in texts]
    return pa.array(clean, pa.large_string())
