"""What a run keeps on disk while it goes on: answers at once, steps when they are done, checkpoints now and then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from oasis.errors import RunStoppedError
from oasis.inference.calls import SORT_KEYS, call_table
from oasis.output_config import OutputConfig
from oasis.runs import Recorder, RunDirectory
from oasis.runs.checkpoints import Checkpoints
from oasis.runs.journal import Journal, read_journal
from oasis.runs.manifest import Manifest, Status
from oasis.simulation.point import Point

__all__ = ["Storage"]

_DISK_FLOOR = 64 * 2**20  # bytes that must be free before a step: more than a step of a small run writes


class Storage:
    """The journal, the recorder and the checkpoints of one run.

    Parameters
    ----------
    directory : RunDirectory
        Locked.
    output : OutputConfig
    whole_checkpoint : Path, optional
        The checkpoint that the run was taken up from: what has not changed is linked to it.
    """

    def __init__(self, directory: RunDirectory, output: OutputConfig, whole_checkpoint: Path | None = None) -> None:
        self._output = output
        self._path = directory.path
        self._recorder = Recorder(directory, steps_per_block=output.steps_per_block, sync=output.sync)
        self._journal = Journal(directory.path)
        self._checkpoints = Checkpoints(directory.path, output.checkpoints_kept, output.sync)
        if whole_checkpoint is not None:
            self._checkpoints.adopt(whole_checkpoint)
        self._checkpoint_time = time.monotonic()

    @property
    def steps_done(self) -> int:
        """The last step on disk."""
        return self._recorder.steps_done

    @property
    def manifest(self) -> Manifest:
        """As last written."""
        return self._recorder.directory.manifest

    def check_space(self) -> None:
        """Stop before a step whose answers could not be stored.

        Raises
        ------
        RunStoppedError
        """
        if (free := shutil.disk_usage(self._path).free) < _DISK_FLOOR:
            raise RunStoppedError(
                f"stopped after step {self.steps_done}: {free / 2**20:.0f} MiB are free at {self._path}; "
                f"at least {_DISK_FLOOR // 2**20} MiB are needed to keep what a step brings"
            )

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest."""
        self._recorder.update(**changes)

    def keep_calls(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep attempts to ask a language model, before their answers are used."""
        self._journal.write(rows)

    def keep_step(self, step: int, tables: Mapping[str, pa.Table], metrics: Mapping[str, Any]) -> None:
        """Keep a step that is done.

        Raises
        ------
        RunStoppedError
            If it cannot be written.
        """
        with self._recorder.writing():
            if self._output.sync:
                self._journal.sync()
            self._recorder.record_step(step, tables, metrics)
            self._journal.clear(step)

    def checkpoint_due(self, step: int) -> bool:
        """Return whether the scenario wants a checkpoint after `step`. When it is made changes no result."""
        every, minutes = self._output.checkpoint_steps, self._output.checkpoint_minutes
        if every and step % every == 0:
            return True
        return minutes > 0 and time.monotonic() - self._checkpoint_time >= 60 * minutes

    def keep_point(self, point: Point) -> None:
        """Write a checkpoint.

        Raises
        ------
        RunStoppedError
            If it cannot be written; those before stay.
        """
        with self._recorder.writing():
            self._checkpoints.write(point.to_checkpoint())
        self._checkpoint_time = time.monotonic()

    def abandon(self, status: Status, **manifest: Any) -> None:
        """Leave the run as a kill would, with its end in the manifest where that can be written."""
        self._journal.close(remove=False)
        self._recorder.abandon(status, **manifest)

    def dropped(self) -> pa.Table:
        """Return the calls of steps that were begun and not done."""
        later = (row for row in read_journal(self._path) if row["step"] > self._recorder.steps_done)
        return call_table(list({tuple(row[key] for key in SORT_KEYS): row for row in later}.values()))

    def finish(
        self, status: Status, point: Point, dropped: pa.Table, tables: Mapping[str, pa.Table], **manifest: Any
    ) -> None:
        """Write what a run leaves behind when it has ended in order.

        Raises
        ------
        RunStoppedError
            If a file cannot be written; `abandon` it then.
        """
        self._recorder.record_dropped(dropped)
        self._journal.close()
        self.keep_point(point)
        output = self._output
        self._recorder.finish(status, tables=tables, report=output.report, top_cascades=output.top_cascades, **manifest)
