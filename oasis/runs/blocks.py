"""Blocks of steps: Arrow IPC streams while in progress, Parquet when full, and the marks of steps done.

A mark is one line of JSON in ``current/steps.jsonl``::

    {"step": 61, "block": 61, "bytes": {"events": 18240, ...}, "sums": {"events": 19088743, ...},
     "metrics": {...}, "crc32": ...}

It is appended after the step's rows are in the streams, and holds the length of each stream of the block that
begins with step ``block``. What lies behind the lengths of the last whole line never happened. A stream is
removed only when its Parquet file is in place, so at every moment one of the two is there.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oasis.errors import RunDirectoryError
from oasis.records import STEP_TABLES
from oasis.runs.directory import CURRENT
from oasis.runs.lines import checked_line, content_of

__all__ = [
    "Mark",
    "block_files",
    "block_name",
    "check_stream",
    "convert_left",
    "cut_block",
    "marks_path",
    "metrics_frame",
    "parquet_of",
    "parse_mark",
    "read_marks",
    "read_recorded",
    "read_stream",
    "stream_path",
    "to_parquet",
    "write_block",
]

_ROWS_PER_GROUP = 1 << 20  # the row group size that DuckDB and polars read best in parallel is 1e5 to 1e6 rows


@dataclass(frozen=True, slots=True)
class Mark:
    """A step that is done.

    Attributes
    ----------
    step, block : int
        The step, and the first step of its block.
    lengths : dict
        Bytes of each table's stream that are valid.
    metrics : dict
        The step's row of metrics.
    sums : dict
        CRC-32 of these bytes of each stream.
    """

    step: int
    block: int
    lengths: dict[str, int]
    metrics: dict[str, Any]
    sums: dict[str, int] = field(default_factory=dict)

    def line(self) -> bytes:
        """Return the mark as a line of the marks file."""
        content = {
            "step": self.step,
            "block": self.block,
            "bytes": self.lengths,
            "sums": self.sums,
            "metrics": self.metrics,
        }
        return checked_line(content)


def marks_path(directory: Path) -> Path:
    """Return where the marks of a run lie."""
    return directory / CURRENT / "steps.jsonl"


def stream_path(directory: Path, table: str, block: int) -> Path:
    """Return where the stream of a table lies, for the block that begins with step `block`."""
    return directory / CURRENT / f"{table}-{block:06d}.arrows"


def block_name(first: int, last: int) -> str:
    """Return the name of a block's Parquet file."""
    return f"{first:06d}-{last:06d}.parquet"


def read_marks(directory: Path) -> list[Mark]:
    """Return the marks of the steps done, in order; a line cut off at the end of the file is no mark.

    Raises
    ------
    RunDirectoryError
        For a whole line that is no mark.
    """
    path = marks_path(directory)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    marks = []
    for number, line in enumerate(lines, 1):
        mark = parse_mark(line)
        if mark is None:
            raise RunDirectoryError(f"{path}: damaged: line {number} is no mark of a step")
        marks.append(mark)
    return marks


def parse_mark(line: bytes) -> Mark | None:
    """Return the mark in a line; None where it is none."""
    try:
        m = content_of(line)
        return Mark(int(m["step"]), int(m["block"]), dict(m["bytes"]), dict(m["metrics"]), dict(m.get("sums", {})))
    except (ValueError, KeyError, TypeError):
        return None


def metrics_frame(marks: Sequence[Mark]) -> pl.DataFrame:
    """Return the metrics of steps, a row each; what was null in all of them is a number all the same."""
    rows = [{"step": mark.step, **mark.metrics} for mark in marks]
    frame = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema={"step": pl.Int32})
    return frame.with_columns(pl.col("step").cast(pl.Int32), pl.col(pl.Null).cast(pl.Float64))


def read_stream(path: Path, length: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the batches in the first `length` bytes of a stream.

    Raises
    ------
    RunDirectoryError
        If the file is shorter, or damaged.
    """
    if length == 0:
        return
    try:
        size = path.stat().st_size
        if size < length:
            raise RunDirectoryError(f"{path}: damaged: {size} bytes of the {length} that its mark promises")
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file.read_buffer(length)) as reader:
            if not reader.schema.equals(schema):
                raise RunDirectoryError(f"{path}: damaged: its columns are not those of this version")
            yield from reader
    except FileNotFoundError:
        raise RunDirectoryError(f"{path}: missing, though steps are marked in it") from None
    except pa.ArrowInvalid as error:
        raise RunDirectoryError(f"{path}: damaged: {error}") from None


def check_stream(path: Path, length: int, checksum: int | None) -> None:
    """See that the first `length` bytes of a stream are as they were written.

    Raises
    ------
    RunDirectoryError
        If they are not.
    """
    if checksum is None or length == 0:
        return
    found = 0
    with open(path, "rb") as file:
        while length > 0 and (part := file.read(min(length, 1 << 24))):
            found, length = zlib.crc32(part, found), length - len(part)
    if found != checksum:
        raise RunDirectoryError(f"{path}: damaged: its checksum is not the one in its mark")


def to_parquet(stream: Path, length: int, schema: pa.Schema, target: Path) -> None:
    """Turn the first `length` bytes of a stream into a Parquet file, then remove the stream."""
    write_block(stream, length, schema, target)
    stream.unlink(missing_ok=True)


def write_block(stream: Path, length: int, schema: pa.Schema, target: Path) -> None:
    """Write the first `length` bytes of a stream as a Parquet file (zstd, dictionaries)."""
    part = target.with_name(f".{target.name}.part")
    with _writer(part, schema) as writer:
        waiting: list[pa.RecordBatch] = []
        rows = 0
        for batch in read_stream(stream, length, schema):
            waiting.append(batch)
            rows += batch.num_rows
            if rows >= _ROWS_PER_GROUP:
                writer.write_table(_joined(waiting, schema), row_group_size=_ROWS_PER_GROUP)
                waiting, rows = [], 0
        if waiting:
            writer.write_table(_joined(waiting, schema), row_group_size=_ROWS_PER_GROUP)
    with open(part, "rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=3, write_page_checksum=True)


def convert_left(directory: Path) -> None:
    """Turn into Parquet what is marked and is not yet: the last block, and those that were not in the background."""
    last_of_block = {mark.block: mark for mark in read_marks(directory)}

    def convert(block: int, mark: Mark, name: str) -> None:
        target = directory / name / block_name(block, mark.step)
        if not target.exists():
            length = mark.lengths.get(name, 0)
            to_parquet(stream_path(directory, name, block), length, STEP_TABLES[name], target)

    left = [(block, mark, name) for block, mark in last_of_block.items() for name in STEP_TABLES]
    with ThreadPoolExecutor(2, thread_name_prefix="oasis-blocks") as pool:
        list(pool.map(lambda block_of_table: convert(*block_of_table), left))


def cut_block(source: Path, last: int, folder: Path) -> Path:
    """Write the rows of a block's Parquet file up to step `last` as a file in `folder` and return its path."""
    first = int(source.stem.partition("-")[0])
    target = folder / block_name(first, last)
    part = target.with_name(f".{target.name}.part")
    with pq.ParquetFile(source) as file, _writer(part, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):  # steps are in order, so those behind `last` are not read
            if _first_step(file, group) > last:
                break
            table = file.read_row_group(group)
            writer.write_table(table.filter(pc.less_equal(table["step"], last)))
    os.replace(part, target)
    return target


def _first_step(file: pq.ParquetFile, group: int) -> int:
    statistics = file.metadata.row_group(group).column(0).statistics
    return int(statistics.min) if statistics is not None and statistics.has_min_max else 0


def block_files(directory: Path, table: str) -> list[tuple[int, int, Path]]:
    """Return (first step, last step, path) of a table's Parquet files, in order."""
    files = []
    for path in (directory / table).glob("[0-9]*-[0-9]*.parquet"):
        first, _, last = path.stem.partition("-")
        if first.isdigit() and last.isdigit():
            files.append((int(first), int(last), path))
    return sorted(files)


def read_recorded(directory: Path, table: str) -> tuple[list[Path], pa.Table]:
    """Return what is recorded of a table: its Parquet files in order, and the rows of steps done that are in none.

    Raises
    ------
    RunDirectoryError
        If a file is missing or damaged.
    """
    schema = STEP_TABLES[table]
    last_of_block = {mark.block: mark for mark in read_marks(directory)}
    files = [f for f in (directory / table).glob("[0-9]*.parquet") if _block_of(f) not in last_of_block]
    batches: list[pa.RecordBatch] = []
    for block, mark in sorted(last_of_block.items()):
        made = parquet_of(directory, table, block)
        if made is None:
            stream = read_stream(stream_path(directory, table, block), mark.lengths.get(table, 0), schema)
            try:
                batches += list(stream)
            except RunDirectoryError:  # it has become Parquet meanwhile
                made = parquet_of(directory, table, block)
                if made is None:
                    raise
        if made is not None:
            files.append(made)
    return sorted(files), _joined(batches, schema)


def _block_of(file: Path) -> int | None:
    """Return the first step of a block's file; None for one of another kind."""
    first, _, last = file.stem.partition("-")
    return int(first) if last.isdigit() else None


def parquet_of(directory: Path, table: str, block: int) -> Path | None:
    """Return the Parquet file of the block that begins with step `block`; None while there is none."""
    return next((directory / table).glob(f"{block:06d}-[0-9]*.parquet"), None)


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(batches, schema).unify_dictionaries().combine_chunks()
