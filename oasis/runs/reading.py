"""Open a run, whatever state it is in, with every table as a polars LazyFrame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import RunDirectoryError, nearest
from oasis.records import LATER, STEP_TABLES
from oasis.runs.blocks import metrics_frame, read_marks, read_recorded
from oasis.runs.directory import INITIAL, WORLD_TABLES
from oasis.runs.manifest import Manifest
from oasis.runs.process import ProcessState, process_state
from oasis.runs.recorder import METRICS

__all__ = ["TABLES", "Run", "open_run"]

TABLES = (*STEP_TABLES, *WORLD_TABLES, "metrics")
"""Names of a run's tables."""


class Run:
    """A run directory for reading. Tables are read when they are collected.

    A run in progress, or one whose process was killed, has its events, impressions, calls, interviews and metrics up
    to the last step that was done. Its users, comments and follows are those before step 1; its posts are those plus
    what was posted since, with counts known only at the end (null).

    Attributes
    ----------
    path : Path
    manifest : Manifest
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.state}, {self.steps_done} of {self.manifest.steps_planned} steps)"

    @property
    def ended(self) -> bool:
        """Whether the run has its final files: it is done, or was stopped in an orderly way."""
        status = self.manifest.status
        return status == "done" or (status != "running" and (self.path / METRICS).exists())

    @cached_property
    def process_state(self) -> ProcessState:
        """Whether the process that makes the run lives."""
        return process_state(self.path)

    @property
    def state(self) -> str:
        """The manifest's status, but "killed" for a run that says "running" and whose process is dead."""
        if self.manifest.status == "running" and self.process_state == "dead":
            return "killed"
        return self.manifest.status

    @property
    def steps_done(self) -> int:
        """The last step on disk."""
        if self.ended:
            return self.manifest.steps_done
        marks = read_marks(self.path)
        return marks[-1].step if marks else 0

    @property
    def events(self) -> pl.LazyFrame:
        """What was done, a row per action (`oasis.records.EVENTS`)."""
        return self._recorded("events")

    @property
    def impressions(self) -> pl.LazyFrame:
        """What was shown, a row per post of a feed (`oasis.records.IMPRESSIONS`)."""
        return self._recorded("impressions")

    @property
    def llm_calls(self) -> pl.LazyFrame:
        """Calls of language models, a row per attempt (`oasis.records.LLM_CALLS`)."""
        return self._recorded("llm_calls")

    @property
    def interviews(self) -> pl.LazyFrame:
        """Answers to interviews (`oasis.records.INTERVIEWS`)."""
        return self._recorded("interviews")

    @property
    def users(self) -> pl.LazyFrame:
        """Agents at the end."""
        return self._world("users")

    @property
    def posts(self) -> pl.LazyFrame:
        """Posts at the end; of a run that has not ended, those so far."""
        if self.ended:
            return self._world("posts")
        return posts_so_far(self._world("posts"), self.events)

    @property
    def comments(self) -> pl.LazyFrame:
        """Comments at the end."""
        return self._world("comments")

    @property
    def follows(self) -> pl.LazyFrame:
        """Who follows whom, at the end."""
        return self._world("follows")

    @property
    def metrics(self) -> pl.LazyFrame:
        """A row of numbers per step."""
        if self.ended:
            return _scan([self.path / METRICS])
        return metrics_frame(read_marks(self.path)).lazy()

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table by name.

        Raises
        ------
        RunDirectoryError
            If it is not there, or damaged, or a run has no such table.
        """
        if name not in TABLES:
            raise RunDirectoryError(f"no table {name!r}{nearest(name, TABLES)}; there are {', '.join(TABLES)}")
        frame: pl.LazyFrame = getattr(self, name)
        return frame

    def check(self) -> None:
        """Look at every table's files without reading their rows.

        Raises
        ------
        RunDirectoryError
            If one is missing or damaged.
        """
        for name in TABLES:
            self.table(name)

    def _recorded(self, name: str) -> pl.LazyFrame:
        files, rest = read_recorded(self.path, name)
        if self.ended:
            _check_complete(self.path / name, files, self.manifest.steps_done)
        parts = []
        if files and name in LATER:
            schema = STEP_TABLES[name]
            parts = [_from_arrow(schema.empty_table(), schema), *(_scan([file]) for file in files)]
        elif files:
            parts.append(_scan(files))
        if rest.num_rows or not files:
            parts.append(_from_arrow(rest, STEP_TABLES[name]))
        return pl.concat(parts, how="diagonal" if name in LATER else "vertical")

    def _world(self, name: str) -> pl.LazyFrame:
        path = self.path / f"{name}.parquet"
        before = self.path / INITIAL / f"{name}.parquet"
        if not self.ended and before.exists():  # killed while it wrote its end
            return _scan([before])
        if path.exists():
            return _scan([path])
        raise RunDirectoryError(f"{path}: missing; a run writes it when it ends ({self.path.name}: {self.state})")


def open_run(directory: str | Path) -> Run:
    """Open a run directory for reading.

    Raises
    ------
    RunDirectoryError
        If it is missing or damaged.

    Examples
    --------
    ::

        run = oasis.open_run("runs/x_day")
        run.events.group_by("action").len().collect()
    """
    path = Path(directory)
    return Run(path, Manifest.read(path))


def posts_so_far(before: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
    """Return posts before a run and those that its events made, in the columns of ``posts.parquet``.

    Counts and what else only the world knows are null for the later ones.
    """
    written = {"create_post": "original", "post": "original", "repost": "repost", "quote_post": "quote"}
    posted = events.filter(
        (pl.col("outcome") == "accepted")
        & pl.col("created_id").is_not_null()
        & pl.col("action").cast(pl.String).is_in(list(written))
    )
    outside = pl.col("agent_id") < 0
    known = before.with_columns(pl.col("kind").cast(pl.String))
    made = posted.select(
        post_id="created_id",
        author_id=pl.when(outside).then("target_id").otherwise("agent_id"),
        kind=pl.col("action").cast(pl.String).replace_strict(written, default=None),
        parent_id=pl.when(pl.col("action").cast(pl.String).is_in(["repost", "quote_post"])).then("target_id"),
        step="step",
        content=pl.when(outside).then(pl.col("content").str.json_path_match("$.text")).otherwise("content"),
    ).sort("post_id")
    # of a run that was resumed, `before` holds the posts up to there
    made = made.filter(pl.col("post_id") >= known.select(pl.len()).collect().item())
    rows = pl.concat([known, made], how="diagonal").collect()
    root = rows["root_id"].fill_null(-1).to_numpy(writable=True)
    parent = rows["parent_id"].fill_null(-1).to_numpy()
    open_ = np.flatnonzero(root < 0)
    root[open_] = np.where(parent[open_] < 0, open_, -1)
    while len(open_ := np.flatnonzero(root < 0)):  # as often as the deepest chain is long
        above = root[parent[open_]]
        if (above < 0).all():
            raise RunDirectoryError("the posts of this run are damaged: their parents form a circle")
        root[open_] = above
    return rows.with_columns(root_id=pl.Series(root, dtype=pl.Int32)).lazy()


def _check_complete(folder: Path, files: Sequence[Path], steps: int) -> None:
    following = 1
    for file in files:
        first, _, last = file.stem.partition("-")
        if last.isdigit():
            if int(first) != following:
                raise RunDirectoryError(f"{folder}: the file with step {following} is missing")
            following = int(last) + 1
    if following != steps + 1:
        raise RunDirectoryError(f"{folder}: the file with step {following} is missing; the run has {steps} steps")


def _scan(files: Sequence[Path]) -> pl.LazyFrame:
    for file in files:
        try:
            pq.read_metadata(file)
        except FileNotFoundError:
            raise RunDirectoryError(f"{file}: missing") from None
        except PermissionError:
            raise RunDirectoryError(f"{file}: cannot be read: permission denied") from None
        except (pa.ArrowException, OSError) as error:
            raise RunDirectoryError(f"{file}: damaged: {error}") from None
    return pl.scan_parquet(list(files), glob=False)  # names may hold brackets


def _from_arrow(table: pa.Table, schema: pa.Schema) -> pl.LazyFrame:
    frame = pl.from_arrow(table if table.num_rows else schema.empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()
