"""What a branch shares with its parent: files that never change are linked, so that each directory is complete."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from oasis.errors import RunDirectoryError
from oasis.records import STEP_TABLES
from oasis.runs.blocks import Mark, block_files, block_name, cut_block, marks_path, parquet_of, stream_path, write_block
from oasis.runs.checkpoints import link_or_copy
from oasis.runs.manifest import write_atomically

__all__ = ["share_past"]


def share_past(parent: Path, marks: Sequence[Mark], step: int, checkpoint: Path | None, branch: Path) -> None:
    """Put steps 1 to `step` of a run into a directory that is being made, and one of its checkpoints.

    Blocks that end by then are hard links (copies where file systems do not allow that); the one that `step` is in is
    cut. A parent that goes on meanwhile is not disturbed: it adds, and replaces files, but never changes one.

    Parameters
    ----------
    marks : sequence of Mark
        Of the parent's steps that are done.
    """
    kept = [mark for mark in marks if mark.step <= step]
    for name, schema in STEP_TABLES.items():
        covered = 0
        for first, last, path in block_files(parent, name):
            if last <= step:
                link_or_copy(path, branch / name / path.name)
            elif first <= step:
                cut_block(path, step, branch / name)
            covered = min(last, step)
        last_of_block = {mark.block: mark for mark in kept if mark.step > covered}
        for block, mark in last_of_block.items():
            target = branch / name / block_name(block, mark.step)
            try:
                write_block(stream_path(parent, name, block), mark.lengths[name], schema, target)
            except RunDirectoryError:  # it has become Parquet meanwhile
                made = parquet_of(parent, name, block)
                if made is None:
                    raise
                cut_block(made, mark.step, branch / name)
    write_atomically(marks_path(branch), b"".join(mark.line() for mark in kept))
    if checkpoint is not None:
        folder = branch / checkpoint.relative_to(parent)
        folder.mkdir(parents=True)
        with contextlib.suppress(FileNotFoundError):  # a parent that goes on has just removed it: it only saves room
            for file in checkpoint.iterdir():
                link_or_copy(file, folder / file.name)
            return
        shutil.rmtree(folder)
