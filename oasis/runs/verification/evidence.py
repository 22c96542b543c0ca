"""What there is of a run, read without trusting any of it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oasis.records import LATER, STEP_TABLES
from oasis.runs.blocks import Mark
from oasis.runs.directory import CURRENT, INITIAL
from oasis.runs.manifest import Manifest
from oasis.runs.recorder import METRICS
from oasis.runs.verification.findings import Problem, Unreadable

__all__ = [
    "Evidence",
    "Part",
    "check_is_file",
    "coded",
    "ids",
    "json_numbers",
    "read_bytes",
    "read_parquet",
    "read_stream",
]

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Part:
    """A file with rows of some steps.

    Attributes
    ----------
    table, file : str
        Name of the table, and the path within the run directory.
    first, last : int
        The steps that it holds.
    length : int or None
        Bytes that count, of a stream; None for a Parquet file.
    """

    table: str
    file: str
    first: int
    last: int
    length: int | None = None


@dataclass
class Evidence:
    """What earlier checks found, for the later ones.

    Attributes
    ----------
    path : Path
    manifest : Manifest or None
        None where it cannot be read.
    state : str
    ended : bool
        Whether the run has its final files.
    alive : bool
        Whether the run may be going on: what it writes after its marks were read is not looked at.
    marks : list of Mark
        Of a run that has not ended.
    steps_done : int
    parts : dict
        Per table of steps, the files that could be read, by step.
    dropped : list of Part
        Calls of steps that were begun and not done.
    tables : dict
        ``users``, ``posts``, ``comments``, ``follows`` and ``metrics``, those that could be read.
    broken : set of str
        Names of tables of which something is missing or cannot be read.
    damaged : set of str
        Files that are not those that the manifest lists.
    checkpoints, damaged_checkpoints : list of int
        Steps of checkpoints.
    records_confirmed, calls_confirmed : bool
        Whether digests confirm events, impressions and interviews, and tokens the calls of language models: then a
        number beside them that differs is wrong itself.
    """

    path: Path
    manifest: Manifest | None = None
    state: str = "unknown"
    ended: bool = False
    alive: bool = False
    marks: list[Mark] = field(default_factory=list)
    steps_done: int = 0
    parts: dict[str, list[Part]] = field(default_factory=dict)
    dropped: list[Part] = field(default_factory=list)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    checkpoints: list[int] = field(default_factory=list)
    damaged_checkpoints: list[int] = field(default_factory=list)
    records_confirmed: bool = False
    calls_confirmed: bool = False

    def digests(self) -> dict[int, str]:
        """Return ``step_digest`` by step, as far as metrics are there and have it."""
        metrics = self.tables.get("metrics")
        if metrics is None or metrics.schema.get("step_digest") != pl.String or "step" not in metrics.columns:
            return {}
        return dict(zip(metrics["step"].to_list(), metrics["step_digest"].to_list(), strict=True))

    def stance_digests(self) -> dict[int, bytes]:
        """Return the digest of stances by step, of steps in which a rule moved them."""
        metrics = self.tables.get("metrics")
        if metrics is None or metrics.schema.get("stance_digest") != pl.String or "step" not in metrics.columns:
            return {}
        given = metrics.filter(pl.col("stance_digest").str.contains("^([0-9a-f]{2})*$"))
        return {step: bytes.fromhex(digest) for step, digest in given.select("step", "stance_digest").iter_rows()}

    def read(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of a part.

        Raises
        ------
        Unreadable
        """
        schema, path = STEP_TABLES[part.table], self.path / part.file
        if part.length is not None:
            try:
                table = read_stream(path, part.length, schema)
                return table if columns is None else table.select(list(columns))
            except Unreadable:  # it may have become Parquet meanwhile
                made = next((self.path / part.table).glob(f"{part.first:06d}-*[0-9].parquet"), None)
                if made is None:
                    raise
                path = made
        table = read_parquet(path, schema, columns, LATER.get(part.table, ()))
        if self.alive:  # a block that became whole meanwhile may hold later steps
            table = table.filter(pc.less_equal(table["step"], part.last))
        return table

    def rows(self, table: str, columns: Sequence[str] | None = None) -> Iterator[tuple[Part, pa.Table]]:
        """Yield a table's parts with their rows."""
        for part in self.parts.get(table, []):
            yield part, self.read(part, columns)

    def all_rows(self, table: str, columns: Sequence[str]) -> pa.Table:
        """Return all rows of a table."""
        empty = STEP_TABLES[table].empty_table().select(list(columns))
        return pa.concat_tables([empty, *(rows for _, rows in self.rows(table, columns))])

    def file_of(self, table: str, step: int) -> str:
        """Return the file with a table's rows of a step."""
        return next((p.file for p in self.parts.get(table, []) if p.first <= step <= p.last), table)

    def world_file(self, table: str) -> str:
        """Return where a table of the world is read from."""
        return f"{table}.parquet" if self.ended else f"{INITIAL}/{table}.parquet"

    def metrics_file(self) -> str:
        """Return where metrics are read from."""
        return METRICS if self.ended else f"{CURRENT}/steps.jsonl"

    def problem(self, table: str, step: int, text: str) -> Problem:
        """Return a problem with a table's rows of a step."""
        return Problem(self.file_of(table, step), text, step)


def read_parquet(
    path: Path, schema: pa.Schema | None = None, columns: Sequence[str] | None = None, later: Sequence[str] = ()
) -> pa.Table:
    """Return a Parquet file, every value of it valid.

    Parameters
    ----------
    schema : pyarrow.Schema, optional
        What it must have; further columns are allowed where its metadata has the key ``open``.
    later : sequence of str
        Of its columns, those that may be missing, last ones; they are null then.

    Raises
    ------
    Unreadable
    """
    try:
        check_is_file(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            lacking = [name for name in later if name not in file.schema_arrow.names]
            if schema is not None and (wrong := _schema_difference(file.schema_arrow, schema, lacking)):
                raise Unreadable(wrong)
            table = file.read(None if columns is None else list(columns)).replace_schema_metadata(None)
        if schema is not None and columns is None:
            for name in lacking:
                table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
        table.validate(full=True)
    except Unreadable:
        raise
    except FileNotFoundError:
        raise Unreadable("missing") from None
    except Exception as error:  # whatever a damaged file makes of its reader
        raise Unreadable(f"cannot be read: {_reason(error)}") from None
    return table


def read_stream(path: Path, length: int, schema: pa.Schema) -> pa.Table:
    """Return the rows in the first `length` bytes of an Arrow IPC stream, every value of them valid.

    Raises
    ------
    Unreadable
    """
    if length == 0:
        return schema.empty_table()
    try:
        check_is_file(path)
        content = path.read_bytes()
        if len(content) < length:
            raise Unreadable(f"has {len(content):,} bytes of the {length:,} that steps are marked in")
        with pa.ipc.open_stream(pa.py_buffer(content).slice(0, length)) as reader:
            if wrong := _schema_difference(reader.schema, schema):
                raise Unreadable(wrong)
            table = reader.read_all()
        table.validate(full=True)
    except Unreadable:
        raise
    except FileNotFoundError:
        raise Unreadable("missing, and what is marked in it is in no Parquet file") from None
    except Exception as error:
        raise Unreadable(f"cannot be read: {_reason(error)}") from None
    return table


def check_is_file(path: Path) -> None:
    """Refuse what is no file: a pipe would be waited for without end.

    Raises
    ------
    Unreadable
    FileNotFoundError
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unreadable("is no file")


def read_bytes(path: Path) -> bytes:
    """Return what is in a small file.

    Raises
    ------
    Unreadable
    """
    try:
        check_is_file(path)
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None


def coded(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.int16]:
    """Return labels as indices into `names`; -1 for null, -2 for a label that is none of them."""
    index = {name: i for i, name in enumerate(names)}
    parts = [np.empty(0, np.int16)]
    for chunk in column.chunks:
        known = [index.get(value, -2) for value in chunk.dictionary.to_pylist()]
        parts.append(np.array([*known, -1], np.int16)[chunk.indices.fill_null(len(known)).to_numpy()])
    return np.concatenate(parts)


def ids(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return numbers as int64, -1 for null."""
    return np.asarray(column.fill_null(-1).to_numpy(), np.int64)


def json_numbers(content: pl.Series, key: str) -> npt.NDArray[np.int64]:
    """Return the number under `key` of each JSON object, -1 where there is none."""
    found = []
    for text in content.to_list():  # of outside actions alone
        try:
            value = json.loads(text)[key]
            found.append(value if isinstance(value, int) and abs(value) < 2**31 else -1)
        except (ValueError, KeyError, TypeError, RecursionError):
            found.append(-1)
    return np.array(found, np.int64)


def _schema_difference(found: pa.Schema, wanted: pa.Schema, lacking: Sequence[str] = ()) -> str | None:
    """Return how a schema differs from the one that it must be; None for not at all."""
    missing = [name for name in wanted.names if name not in found.names and name not in lacking]
    if missing:
        return f"has no column {', '.join(missing)}"
    for one in wanted:
        if one.name not in lacking and found.field(one.name).type != one.type:
            return f"column {one.name} is {found.field(one.name).type}, not {one.type}"
    further = [name for name in found.names if name not in wanted.names]
    if further and b"open" not in (wanted.metadata or {}):
        return f"has a column {further[0]} that this version does not know"
    return None


def _reason(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(getattr(error, "strerror", None) or error)).strip()
    return text[:200] or type(error).__name__
