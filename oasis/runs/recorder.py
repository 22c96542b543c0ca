"""The recorder: one call per step, after which the step is on disk or never was."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oasis.errors import RunStoppedError
from oasis.records import STEP_TABLES
from oasis.runs.blocks import (
    Mark,
    block_name,
    convert_left,
    marks_path,
    metrics_frame,
    read_marks,
    stream_path,
    to_parquet,
)
from oasis.runs.checked_batches import write_checked
from oasis.runs.directory import CURRENT, INHERITED, INITIAL, RunDirectory, write_parquet, write_world_files
from oasis.runs.journal import DROPPED
from oasis.runs.manifest import MANIFEST, Manifest, Status
from oasis.runs.process import PROCESS
from oasis.runs.provenance import hash_files

__all__ = ["METRICS", "SORTED_BY", "Recorder"]

METRICS = "metrics.parquet"
SORTED_BY: dict[str, tuple[str, ...]] = {
    "events": ("seq",),
    "impressions": ("agent_id", "turn", "position"),
    "llm_calls": ("agent_id", "turn", "attempt"),
    "interviews": (),
}
"""Order of a table's rows within a step, where the caller did not bring them in it already."""

_force = getattr(os, "fdatasync", os.fsync)  # a tenth of the time of fsync here; both keep content and length
_TRANSIENT = frozenset({MANIFEST, PROCESS, CURRENT, INITIAL, INHERITED})
_BLOCKS_WAITING = 2  # finished blocks that may wait for the background thread before a step waits for it


class Recorder:
    """Appends steps to a run directory: a new one, or one that `oasis.runs.continuing` made ready.

    Parameters
    ----------
    directory : RunDirectory
    steps_per_block : int
        Steps per Parquet file.
    sync : bool
        Whether each step is forced to disk before it is marked. Without, it survives the death of the process, not
        that of the machine.

    Examples
    --------
    ::

        recorder = Recorder(directory, steps_per_block=60)
        recorder.record_step(1, {"events": events, "impressions": impressions}, {"active": 12})
        recorder.finish("done", tables=world_tables(world, policies), state_hash=world.state_hash())
    """

    def __init__(self, directory: RunDirectory, *, steps_per_block: int = 60, sync: bool = True) -> None:
        self.directory = directory
        self._steps_per_block, self._sync = steps_per_block, sync
        marks = read_marks(directory.path)
        self._step = marks[-1].step if marks else 0
        self._block: dict[str, _Stream] = {}
        self._first_of_block = 0
        self._lengths: dict[str, int] = {}
        self._broken: str | None = None
        self._marks: BinaryIO = open(marks_path(directory.path), "ab", buffering=0)  # noqa: SIM115
        self._background = ThreadPoolExecutor(1, thread_name_prefix="oasis-blocks")
        self._waiting: list[Future[None]] = []

    @property
    def steps_done(self) -> int:
        """The last step that is on disk."""
        return self._step

    def record_step(self, step: int, tables: Mapping[str, pa.Table], metrics: Mapping[str, Any]) -> None:
        """Write what happened in a step, then mark it as done.

        Parameters
        ----------
        step : int
            One more than the last.
        tables : mapping
            Rows of tables of `oasis.records.STEP_TABLES`; a table left out has none.
        metrics : mapping
            The step's numbers, booleans and strings, a column each of ``metrics.parquet``; NaN becomes null.

        Raises
        ------
        RunStoppedError
            If the disk is full or a file cannot be written. The steps before are on disk; nothing more can be
            recorded, but `finish` still can be called.
        ValueError
            For a step out of order or a table that does not exist.
        """
        if self._broken:
            raise RunStoppedError(self._broken)
        if step != self._step + 1:
            raise ValueError(f"step {step} cannot be recorded after step {self._step}")
        unknown = tables.keys() - STEP_TABLES.keys()
        if unknown:
            raise ValueError(f"no recorded table {sorted(unknown)}; there are {', '.join(STEP_TABLES)}")
        ready = {name: _ready(name, tables[name]) for name in STEP_TABLES if name in tables}
        row = {name: _plain(value) for name, value in metrics.items()}
        with self.writing():
            self._collect(_BLOCKS_WAITING)
            if not self._block:
                self._first_of_block = step
                self._block = {name: _Stream(self.directory, name, step) for name in STEP_TABLES}
            lengths = {name: stream.append(ready.get(name), self._sync) for name, stream in self._block.items()}
            sums = {name: stream.checksum for name, stream in self._block.items()}
            self._marks.write(Mark(step, self._first_of_block, lengths, row, sums).line())
            if self._sync:
                _force(self._marks.fileno())
        self._step, self._lengths = step, lengths
        if step - self._first_of_block + 1 >= self._steps_per_block:
            self._close_block()

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest (coverage, tokens, ...) during the run; ``steps_done`` is kept up with it.

        Raises
        ------
        RunStoppedError
            If it cannot be written.
        """
        with self.writing():
            self.directory.update(steps_done=self._step, **changes)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what goes wrong while files of the run are written into a message.

        Raises
        ------
        RunStoppedError
            For a full disk and the like; nothing more can be recorded then.
        """
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise self._break(error) from error

    def record_dropped(self, calls: pa.Table) -> None:
        """Keep the language model calls of a step that was begun and dropped: they cost all the same.

        Raises
        ------
        RunStoppedError
            If they cannot be written.
        """
        if not calls.num_rows:
            return
        target = self.directory.path / "llm_calls" / f"{self._step + 1:06d}{DROPPED}"
        with self.writing():
            write_parquet(_ready("llm_calls", calls), target)

    def finish(
        self,
        status: Status = "done",
        *,
        tables: Mapping[str, pa.Table] | None = None,
        report: bool = True,
        top_cascades: int = 10,
        **fields: Any,
    ) -> Manifest:
        """Turn the last block into Parquet, write the world, metrics, report and the final manifest.

        Parameters
        ----------
        status : {"done", "stopped", "failed"}
        tables : mapping, optional
            `world_tables` of the world as it stands.
        report : bool
            Whether to write ``report.html`` and its figures.
        top_cascades : int
            Cascades that the report lists.
        **fields
            Of the manifest: ``state_hash``, ``coverage``, ``tokens``, ``message`` ...

        Raises
        ------
        RunStoppedError
            If a file cannot be written.
        """
        path = self.directory.path
        with self.writing():
            self._close_files()
            convert_left(path)
            if tables is not None:
                write_world_files(tables, path)
            write_parquet(metrics_frame(read_marks(path)).to_arrow(), path / METRICS)
            finished_at = datetime.now(UTC).isoformat(timespec="seconds")
            self.directory.change(status=status, steps_done=self._step, finished_at=finished_at, **fields)
            if report:
                self._report(top_cascades)
            # Until the manifest says that the run has ended, what is in progress is what counts.
            manifest = self.directory.update(files=hash_files(path, _TRANSIENT))
            shutil.rmtree(path / CURRENT)
            shutil.rmtree(path / INITIAL, ignore_errors=True)
            if status == "done":
                shutil.rmtree(path / INHERITED, ignore_errors=True)
            if self.directory.lock is not None:
                self.directory.lock.release(remove=True)
        return manifest

    def _report(self, top_cascades: int) -> None:
        """Write the report; one that cannot be drawn takes nothing from the run, and the manifest says why."""
        from oasis.runs.report import write_report  # matplotlib takes half a second to load

        try:
            write_report(self.directory.path, top_cascades, self.directory.manifest)
        except (OSError, pa.ArrowException):
            raise
        except Exception as error:
            said = self.directory.manifest.message
            failed = f"the report could not be written: {type(error).__name__}: {error}"
            self.directory.change(message=failed if said is None else f"{said}; {failed}")

    def abandon(self, status: Status, **fields: Any) -> None:
        """Leave the run as a killed process would, with its end in the manifest where that can be written.

        For a run whose last step or final files could not be written: what is marked stays readable, and the run can
        be resumed.

        Parameters
        ----------
        status : {"stopped", "failed"}
        **fields
            Of the manifest.
        """
        self._close_files()
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        with contextlib.suppress(OSError):
            self.directory.update(status=status, steps_done=self._step, finished_at=finished, **fields)
        if self.directory.lock is not None:
            self.directory.lock.release()

    def close(self) -> None:
        """Let go of files and lock without finishing, as a killed process would; what is marked stays readable."""
        self._close_files()
        if self.directory.lock is not None:
            self.directory.lock.release()

    def _close_files(self) -> None:
        self._background.shutdown(wait=True)
        for stream in self._block.values():
            stream.close()
        self._block = {}
        self._marks.close()

    def _close_block(self) -> None:
        path, first, last = self.directory.path, self._first_of_block, self._step
        for name, stream in self._block.items():
            stream.close()
            source, target = stream_path(path, name, first), path / name / block_name(first, last)
            work = self._background.submit(to_parquet, source, self._lengths[name], STEP_TABLES[name], target)
            self._waiting.append(work)
        self._block = {}

    def _collect(self, allowed: int) -> None:
        """Raise what went wrong in the background; wait while more than `allowed` blocks are unfinished."""
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > allowed * len(STEP_TABLES)):
            self._waiting.pop(0).result()

    def _break(self, error: Exception) -> RunStoppedError:
        what = getattr(error, "strerror", None) or error
        done = f"steps 1 to {self._step} are" if self._step else "no step is"
        self._broken = (
            f"{self.directory.path}: cannot be written: {what}; {done} on disk: make room (or mend the disk), "
            "then resume the run"
        )
        return RunStoppedError(self._broken)


class _Stream:
    """One table's Arrow IPC stream of the block in progress.

    Attributes
    ----------
    checksum : int
        CRC-32 of the bytes that `append` has returned the length of.
    """

    def __init__(self, directory: RunDirectory, table: str, block: int) -> None:
        self._file = _Summed(stream_path(directory.path, table, block))
        self._writer: pa.RecordBatchStreamWriter = pa.ipc.new_stream(self._file, STEP_TABLES[table])
        self._write = write_checked if table == "llm_calls" else pa.RecordBatchStreamWriter.write_table
        self._length = self.checksum = 0

    def append(self, table: pa.Table | None, sync: bool) -> int:
        """Append rows and return the stream's length in bytes."""
        if table is not None and table.num_rows:
            self._write(self._writer, table)
            self._file.flush()
            if sync:
                _force(self._file.fileno())
            self._length, self.checksum = self._file.tell(), self._file.checksum
        return self._length

    def close(self) -> None:
        """Let go of the file. The end mark of the stream is not written: what counts is the step's mark."""
        with contextlib.suppress(OSError):
            self._file.close()


class _Summed(io.FileIO):
    """A file whose CRC-32 is known as it is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.checksum = 0

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        done = 0
        while done < len(view):  # a full disk takes the beginning, then raises
            done += super().write(view[done:]) or 0
        self.checksum = zlib.crc32(view, self.checksum)
        return done


def _ready(name: str, table: pa.Table) -> pa.Table:
    """Return the table in its schema, rows in their order within the step."""
    schema = STEP_TABLES[name]
    if not table.schema.equals(schema):
        table = table.select(schema.names).cast(schema)
    keys = SORTED_BY[name]
    if table.num_rows > 1 and keys and not _is_sorted(table, keys):
        order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
        table = table.take(order)
    return table


def _is_sorted(table: pa.Table, keys: tuple[str, ...]) -> bool:
    undecided: Any = True
    for key in keys:
        step = np.diff(table.column(key).to_numpy().astype(np.int64))
        if np.any(undecided & (step < 0)):
            return False
        undecided = undecided & (step == 0)
    return True


def _plain(value: Any) -> Any:
    """Return a JSON value; NaN is null."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
