"""A CSV file as columns of cells, each row with the line it begins on; lists in cells are Python literals."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import pyarrow as pa

from oasis.errors import PopulationError

__all__ = ["GREATEST", "Rows", "read_utf8", "text_array"]

_LONGEST_CELL = 16 * 2**20
GREATEST = 2**53  # whole numbers up to here are exact in float64


class Rows:
    """A CSV file's cells with the line that each row begins on.

    Attributes
    ----------
    columns : list of str
        The header.
    lines : list of int
        From 1; a row's cells may hold line breaks, so it may take several lines.

    Raises
    ------
    PopulationError
        For a file that cannot be read, is no CSV, or has no rows, naming the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[int] = []
        self._cells: list[list[str]] = []
        limit = csv.field_size_limit(_LONGEST_CELL)
        try:
            self._read()
        finally:
            csv.field_size_limit(limit)
        if not self._cells:
            raise PopulationError(f"{path}: has no users; a population needs at least one")

    def _read(self) -> None:
        reader = csv.reader(StringIO(read_utf8(self.path), newline=""), strict=True)
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
        """Return file and line of a row."""
        return f"{self.path}, line {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """Return the cells of a column that is there."""
        at = self.columns.index(name)
        return [cells[at] for cells in self._cells]

    def texts(self, name: str) -> pa.LargeStringArray:
        """Return a text column, null where it is empty or not there."""
        if name not in self.columns:
            return pa.nulls(len(self), pa.large_string())
        return text_array([cell or None for cell in self.column(name)])

    def lists(self, name: str, example: str) -> list[list[Any]]:
        """Return a column of Python list literals, read as data; `example` is one, for the message."""
        if name not in self.columns:
            return [[] for _ in range(len(self))]
        return [self._list(cell, i, name, example) for i, cell in enumerate(self.column(name))]

    def _list(self, cell: str, row: int, name: str, example: str) -> list[Any]:
        if cell.strip() in ("", "[]", "nan"):
            return []
        try:
            with catch_warnings():
                simplefilter("ignore")  # of escapes such as \d in a post, which stay as they are
                value = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
        if not isinstance(value, list):
            raise PopulationError(f"{self.place(row)}: {name} must be a list such as {example}, got {cell!r:.80}")
        return value

    def whole(self, value: Any, row: int, column: str) -> int:
        """Return a whole number from a cell or a list in it."""
        try:
            number = value if isinstance(value, int) else float(value)
            if isinstance(value, bool) or number != int(number) or abs(number) > GREATEST:
                raise ValueError
            return int(number)
        except (TypeError, ValueError, OverflowError):
            raise PopulationError(f"{self.place(row)}: {column} must hold whole numbers, got {value!r:.80}") from None


def read_utf8(path: Path) -> str:
    """Return a file's text, without a byte order mark.

    Raises
    ------
    PopulationError
        If it cannot be read or is not UTF-8, naming the line.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise PopulationError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = len((error.object[: error.start] + b".").splitlines())
        raise PopulationError(
            f"{path}, line {line}: not UTF-8: {error.reason} (byte {error.object[error.start]:#04x}); "
            "save the file as UTF-8"
        ) from None
    except OSError as error:
        raise PopulationError(f"{path}: cannot be read: {error.strerror}") from None


def text_array(texts: Sequence[str | None]) -> pa.LargeStringArray:
    """Return texts as Arrow; lone surrogates become "?"."""
    clean = [None if t is None else t.encode("utf-8", "replace").decode("utf-8") for t in texts]
    return pa.array(clean, pa.large_string())
