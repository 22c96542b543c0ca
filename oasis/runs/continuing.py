"""Making a run directory that stopped, or whose process was killed, ready to be appended to.

Nothing is lost if this is cut off in the middle: doing it again ends the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oasis.records import STEP_TABLES
from oasis.runs.blocks import block_files, convert_left, cut_block, marks_path
from oasis.runs.directory import CURRENT, INITIAL, WORLD_TABLES, RunDirectory, write_world
from oasis.runs.journal import DROPPED, Journal, later_calls, read_journal
from oasis.runs.manifest import write_atomically
from oasis.runs.recorder import METRICS
from oasis.runs.recovery import Whole

__all__ = ["continue_run"]


def continue_run(directory: RunDirectory, whole: Whole, world: Mapping[str, pa.Table], **manifest: Any) -> None:
    """Make `directory`, which is locked, one that runs on from `whole.last_step`.

    Answers of language models in later steps go back into the journal.

    Parameters
    ----------
    whole : Whole
        What of it is whole.
    world : mapping
        `world_tables` of the world after that step.
    **manifest
        Fields to change.

    Raises
    ------
    OSError, RunStoppedError
        If a file cannot be written.
    """
    path, last = directory.path, whole.last_step
    (path / CURRENT).mkdir(exist_ok=True)
    _keep_answers(path, last)
    write_atomically(marks_path(path), b"".join(mark.line() for mark in whole.marks))
    for name in STEP_TABLES:
        (path / name).mkdir(exist_ok=True)
        for first, until, file in block_files(path, name):
            if first <= last < until:
                cut_block(file, last, file.parent)
            if until > last:
                file.unlink()
    convert_left(path)
    for left in (*(path / CURRENT).glob("*.arrows"), *path.glob("*/.*.part")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if whole.damage:  # it may hold posts of steps that are done again
        shutil.rmtree(path / INITIAL, ignore_errors=True)
    if not (path / INITIAL).exists():
        write_world(world, path / INITIAL)
    changes = {"state_hash": None, "files": {}, "message": None, "finished_at": None, **manifest}
    directory.update(status="running", steps_done=last, **changes)
    for stale in (METRICS, "report.html", *(f"{name}.parquet" for name in WORLD_TABLES)):
        (path / stale).unlink(missing_ok=True)
    shutil.rmtree(path / "figures", ignore_errors=True)


def _keep_answers(path: Path, last: int) -> None:
    """Put recorded calls of steps after `last` back into the journal: the steps that come next take them up."""
    kept = read_journal(path)
    rows = [row for row in later_calls(path, last) if row not in kept]
    journal = Journal(path)
    try:
        journal.write(rows)
        journal.sync()
    finally:
        journal.close(remove=False)
    for file in (path / "llm_calls").glob(f"*{DROPPED}"):
        file.unlink()
