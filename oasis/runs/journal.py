"""Answers of language models on disk before they are used, so that no paid answer is lost or asked for twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Any, BinaryIO

from oasis.errors import RunStoppedError

__all__ = ["JOURNAL", "Journal", "read_journal"]

JOURNAL = "journal.jsonl"
"""One JSON object per attempt of the step in progress; empty between steps, gone when the run has ended."""


class Journal:
    """Appends rows of `oasis.records.LLM_CALLS`, one ``write`` each: they survive the death of the process.

    Parameters
    ----------
    directory : Path
        The run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL
        self._file: BinaryIO = open(self._path, "ab", buffering=0)  # noqa: SIM115

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one attempt.

        Raises
        ------
        RunStoppedError
            If the disk does not take it.
        """
        try:
            line = json.dumps(dict(row), separators=(",", ":")).encode() + b"\n"
            if self._file.write(line) < len(line):  # a full disk takes the beginning of it
                raise OSError(ENOSPC, os.strerror(ENOSPC))
        except OSError as error:
            raise RunStoppedError(
                f"{self._path}: cannot be written: {error.strerror}; make room, then resume"
            ) from error

    def sync(self) -> None:
        """Force what was written to disk, before the step is marked as done."""
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget the rows: they are in ``llm_calls`` now."""
        self._file.truncate(0)
        self._file.seek(0)

    def close(self, remove: bool = True) -> None:
        """Let go of the file; `remove` it where its rows are in ``llm_calls``."""
        self._file.close()
        if remove:
            self._path.unlink(missing_ok=True)


def read_journal(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's journal; a torn last line is left out."""
    path = directory / JOURNAL
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
