"""A run directory being written: made whole, its manifest always readable."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import RunDirectoryError, nearest
from oasis.paths import check_absent
from oasis.records import STEP_TABLES
from oasis.runs.manifest import Manifest
from oasis.runs.process import PROCESS, ProcessState, WriterLock, process_state
from oasis.runs.provenance import code_revision, versions

__all__ = [
    "CURRENT",
    "INHERITED",
    "INITIAL",
    "WORLD_TABLES",
    "RunDirectory",
    "write_parquet",
    "write_world",
    "write_world_files",
]

CURRENT = "current"
"""Folder of what is in progress: one Arrow IPC stream per table, and the marks of steps done."""
INITIAL = "initial"
"""Folder of the world before step 1, while the run lasts."""
INHERITED = "inherited"
"""Folder of what a branch took from its parent for later steps, until it is done."""
WORLD_TABLES = ("users", "posts", "comments", "follows")
"""The world at the end, one Parquet file each."""


class RunDirectory:
    """One run's directory, for whoever writes it. Readers use `oasis.runs.open_run`.

    Attributes
    ----------
    path : Path
    manifest : Manifest
        As last written.
    lock : WriterLock or None
        Held by whoever appends to it.
    """

    def __init__(self, path: Path, manifest: Manifest, lock: WriterLock | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.lock = lock

    @classmethod
    def create(
        cls,
        path: str | Path,
        scenario: Mapping[str, Any],
        *,
        refused_rows: Sequence[Mapping[str, Any]] = (),
        world: Mapping[str, pa.Table] | None = None,
        fill: Callable[[Path], None] | None = None,
        **fields: Any,
    ) -> Self:
        """Make a run directory, whole or not at all, with a manifest that says "running".

        Parameters
        ----------
        path : path
            Must not exist; parent folders are made.
        scenario : mapping
            As resolved (`Scenario.to_dict`); gives name, seed and planned steps.
        refused_rows : sequence of mapping
            Rows of the population that were left out.
        world : mapping, optional
            `world_tables` of the world before the first step, so that a run in progress or killed can be read with its
            posts.
        fill : callable, optional
            Called with the directory while it is made, to put further files into it.
        **fields
            Further fields of the manifest.

        Raises
        ------
        RunDirectoryError
            If `path` exists or cannot be made.
        """
        path = Path(path)
        check_absent(path, RunDirectoryError)
        simulation = scenario["simulation"]
        manifest = Manifest(
            name=simulation["name"],
            seed=simulation["seed"],
            steps_planned=simulation["steps"],
            scenario=dict(scenario),
            refused_rows=[dict(row) for row in refused_rows],
            run_id=secrets.token_hex(16),
            started_at=_now(),
            **{"versions": versions(), "code_revision": code_revision(), **fields},
        )
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        missing = [parent for parent in part.parents if not parent.exists()]
        try:
            part.mkdir(parents=True)
            for folder in (CURRENT, *STEP_TABLES):
                (part / folder).mkdir()
            if world:
                write_world(world, part / INITIAL)
            if fill:
                fill(part)
            manifest.write(part)
            lock = WriterLock.acquire(part)
            os.rename(part, path)
        except (OSError, RunDirectoryError) as error:
            shutil.rmtree(part, ignore_errors=True)
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunDirectoryError(f"{path}: cannot be made: {reason}; choose another --out") from None
        lock.path = path / PROCESS
        return cls(path, manifest, lock)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open an existing run directory.

        Raises
        ------
        RunDirectoryError
            If it is missing or damaged.
        """
        path = Path(path)
        return cls(path, Manifest.read(path))

    @property
    def process_state(self) -> ProcessState:
        """Whether the process that makes the run lives; a "running" run whose process is "dead" was killed."""
        return process_state(self.path)

    def update(self, **changes: Any) -> Manifest:
        """Change fields of the manifest and write it (see `change`)."""
        self.change(**changes)
        self.manifest.write(self.path)
        return self.manifest

    def change(self, **changes: Any) -> None:
        """Change fields of the manifest in memory.

        Raises
        ------
        KeyError
            For a field that a manifest does not have.
        """
        for name, value in changes.items():
            if name not in Manifest.model_fields:
                raise KeyError(f"a manifest has no field {name!r}{nearest(name, Manifest.model_fields)}")
            setattr(self.manifest, name, value)


def write_world(world: Mapping[str, pa.Table], folder: Path) -> None:
    """Write the tables of `WORLD_TABLES` into a folder, which appears whole or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    write_world_files(world, part)
    part.rename(folder)


def write_world_files(world: Mapping[str, pa.Table], folder: Path) -> None:
    """Write the tables of `WORLD_TABLES`, two at a time."""
    with ThreadPoolExecutor(2, thread_name_prefix="oasis-world") as pool:
        list(pool.map(lambda name: write_parquet(world[name], folder / f"{name}.parquet"), WORLD_TABLES))


def write_parquet(table: pa.Table, path: Path, rows_per_group: int | None = None) -> None:
    """Write a table as one Parquet file, there whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    pq.write_table(
        table, part, compression="zstd", compression_level=3, write_page_checksum=True, row_group_size=rows_per_group
    )
    os.replace(part, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
