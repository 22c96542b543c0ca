"""Answers that no run asks for, on disk before they are used: what was paid for is not asked for again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from oasis.errors import OasisError, RunDirectoryError
from oasis.runs.journal import Journal, read_journal
from oasis.runs.manifest import write_atomically
from oasis.runs.process import WriterLock

__all__ = ["Begun", "begun_folder", "fate", "forget"]

_SETTINGS = "settings.json"


def begun_folder(out: Path) -> Path:
    """Return the folder beside `out` that holds answers until all are there."""
    return out.with_name(f"{out.name}.begun")


class Begun:
    """A folder with answers, and with what they are answers to.

    Attributes
    ----------
    rows : list of dict
        Rows of `oasis.records.LLM_CALLS` that were there.
    """

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        self.folder, self.rows = folder, rows
        self._journal = Journal(folder)

    @classmethod
    @contextmanager
    def at(cls, folder: Path, settings: Mapping[str, Any]) -> Iterator[Self]:
        """Take up what is there, or begin.

        Parameters
        ----------
        settings : mapping
            Name to JSON value, of all that answers follow from.

        Raises
        ------
        RunDirectoryError
            If it holds answers that were asked for with other settings, or something else, or another process asks.
        OasisError
            If it cannot be written.
        """
        if folder.exists():
            _check_same(folder, settings)
        else:
            try:
                folder.mkdir(parents=True)
                write_atomically(folder / _SETTINGS, json.dumps(settings, indent=1).encode())
            except OSError as error:
                raise OasisError(f"{folder}: cannot be written: {error.strerror or error}") from error
        lock = WriterLock.acquire(folder)
        try:
            begun = cls(folder, read_journal(folder))
            try:
                yield begun
            finally:
                begun._journal.close(remove=False)
        finally:
            if not _kept(folder):
                forget(folder)
            lock.release(remove=True)

    @property
    def answered(self) -> int:
        """How many of `rows` are answers."""
        return _answered(self.rows)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append attempts.

        Raises
        ------
        RunStoppedError
            If the disk does not take them.
        """
        self._journal.write(rows)


def fate(folder: Path | None) -> str:
    """Return what becomes of the answers where the rest is not asked for."""
    if folder is None or not (kept := _kept(folder)):
        return "nothing was kept"
    return f"{kept:,} answers are kept in {folder}: the same command goes on from them"


def forget(folder: Path) -> None:
    """Remove answers that are in the tables now."""
    shutil.rmtree(folder, ignore_errors=True)


def _kept(folder: Path) -> int:
    return _answered(read_journal(folder))


def _answered(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(row["status"] == "ok" for row in rows)


def _check_same(folder: Path, settings: Mapping[str, Any]) -> None:
    try:
        theirs = json.loads((folder / _SETTINGS).read_text("utf-8"))
    except (OSError, ValueError):
        raise RunDirectoryError(
            f"{folder}: is there, and holds no answers; remove it or choose another --out"
        ) from None
    plain = json.loads(json.dumps(dict(settings)))
    if others := sorted(name for name in plain | theirs if plain.get(name) != theirs.get(name)):
        raise RunDirectoryError(
            f"{folder}: holds answers that were asked for with another {', '.join(others)}; go on with the same, or"
            " remove it to ask anew"
        )
