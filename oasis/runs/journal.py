"""Answers of language models on disk before they are used, so that no paid answer is lost or asked for twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oasis.errors import RunStoppedError
from oasis.records import LLM_CALLS
from oasis.runs.blocks import block_files
from oasis.runs.checked_batches import checked_batches
from oasis.runs.directory import CURRENT
from oasis.runs.lines import checked_line, content_of

__all__ = ["DROPPED", "JOURNAL", "Journal", "later_calls", "parse_call", "read_journal"]

_KEYS = {"step", "agent_id", "turn", "purpose", "prompt_hash", "attempt", "status", "error", "response"}

DROPPED = "-dropped.parquet"
"""How the names of files in ``llm_calls`` end that hold calls of a step that was begun and dropped."""

JOURNAL = "journal.jsonl"
"""One JSON object per attempt of the step in progress; empty between steps, gone when the run has ended."""


class Journal:
    """Appends rows of `oasis.records.LLM_CALLS`, those of a moment with one ``write``: they survive the process.

    Rows of a process that was killed stay; a line that it did not finish is cut off.

    Parameters
    ----------
    directory : Path
        The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL
        whole = self._path.read_bytes().rfind(b"\n") + 1 if self._path.exists() else 0
        self._file: BinaryIO = open(self._path, "ab", buffering=0)  # noqa: SIM115
        self._file.truncate(whole)
        self._unforced = True
        self._last_step = max((row["step"] for row in read_journal(directory)), default=0)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append attempts.

        Raises
        ------
        RunStoppedError
            If the disk does not take them.
        """
        self._unforced = True
        try:
            lines = b"".join(map(checked_line, rows))
            if self._file.write(lines) < len(lines):  # a full disk takes the beginning of them
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            raise RunStoppedError(
                f"{self._path}: cannot be written: {error.strerror}; make room, then resume"
            ) from error

    def sync(self) -> None:
        """Force what was written to disk, before the step is marked as done."""
        if self._unforced:
            os.fsync(self._file.fileno())
            self._unforced = False

    def clear(self, step: int) -> None:
        """Forget the rows, those of `step` being in ``llm_calls`` now; not while there are some of later steps."""
        if self._last_step <= step:
            self._file.truncate(0)

    def close(self, remove: bool = True) -> None:
        """Let go of the file; `remove` it where its rows are in ``llm_calls``."""
        self._file.close()
        if remove:
            self._path.unlink(missing_ok=True)


def read_journal(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's journal; torn and damaged lines are left out."""
    path = directory / JOURNAL
    if not path.exists():
        return []
    return [row for line in path.read_bytes().split(b"\n") if (row := parse_call(line)) is not None]


def parse_call(line: bytes) -> dict[str, Any] | None:
    """Return the attempt in a line; None where it is none."""
    try:
        row = content_of(line)
    except (ValueError, RecursionError):
        return None
    return row if row.keys() >= _KEYS else None


def later_calls(directory: Path, step: int) -> list[dict[str, Any]]:
    """Return all rows of ``llm_calls`` after `step` that can be read, in whatever file they are, and the journal's."""
    # As rows go from the journal to streams to blocks, of a run in progress none is missed; some may come twice.
    journal = [row for row in read_journal(directory) if row["step"] > step]
    streams = [row for file in sorted((directory / CURRENT).glob("llm_calls-*.arrows")) for row in _rows_of(file, step)]
    blocks = [file for _, last, file in block_files(directory, "llm_calls") if last > step]
    dropped = sorted((directory / "llm_calls").glob(f"*{DROPPED}"))
    return [*(row for file in (*blocks, *dropped) for row in _rows_of(file, step)), *streams, *journal]


def _rows_of(file: Path, step: int) -> list[dict[str, Any]]:
    """Return the rows of a file after `step`, as far as they are whole."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, pa.ArrowException):
        if file.suffix == ".parquet":
            table = pq.read_table(file, schema=LLM_CALLS, page_checksum_verification=True)
            return table.filter(pc.greater(table["step"], step)).to_pylist()
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            for batch in checked_batches(reader):
                rows += batch.filter(pc.greater(batch["step"], step)).to_pylist()
    return rows
