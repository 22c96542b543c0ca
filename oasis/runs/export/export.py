"""Write a run in another format, whole or not at all."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import polars as pl

from oasis.errors import InputError, OasisError, RunDirectoryError, nearest
from oasis.paths import check_absent
from oasis.runs.export.csv_files import export_csv
from oasis.runs.export.graphml import export_graphml
from oasis.runs.export.sqlite import export_sqlite
from oasis.runs.reading import Run

__all__ = ["FORMATS", "export_run"]

FORMATS: dict[str, Callable[[Run, Path, bool], None]] = {
    "csv": export_csv,
    "graphml": export_graphml,
    "sqlite": export_sqlite,
}


def export_run(run: Run, to: str, out: str | Path, handles: bool = False) -> Path:
    """Write a run in another format and return where.

    Parameters
    ----------
    to : {"csv", "graphml", "sqlite"}
    out : path
        A file, for "csv" a folder; it must not exist.
    handles : bool
        Whether names of accounts are written.

    Raises
    ------
    InputError
        If the format is unknown, or `out` exists or cannot be made.
    RunDirectoryError
        If a file of the run is missing or damaged.
    OasisError
        If writing fails half-way; then nothing is left behind.
    """
    out = Path(out)
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format{nearest(to, FORMATS)}; allowed: {', '.join(FORMATS)}")
    check_absent(out, RunDirectoryError)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        part.rmdir()  # whatever the format's library would say of a folder that cannot be written, this says it better
    except OSError as error:
        raise InputError(f"{out}: cannot be made: {error.strerror}; choose another --out") from None
    try:
        FORMATS[to](run, part, handles)
        os.rename(part, out)
    except (OSError, sqlite3.Error, pl.exceptions.ComputeError) as error:
        raise OasisError(f"{out}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
    return out
