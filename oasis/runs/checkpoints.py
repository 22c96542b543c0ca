"""Checkpoints: the state between two steps as Arrow files, of which only what changed is written.

A checkpoint is a folder, complete by itself: ``checkpoint.json`` and Arrow IPC files. A small table is one file; a
large one is cut by column and by ranges of rows, so that most pieces are the same as in the checkpoint before. Those
are hard links to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import mmap
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from oasis.errors import RunDirectoryError
from oasis.runs.manifest import write_atomically

__all__ = [
    "CHECKPOINTS",
    "CONTENT",
    "FORMAT",
    "Checkpoint",
    "Checkpoints",
    "checkpoint_folders",
    "link_or_copy",
    "read_checkpoint",
]

CHECKPOINTS = "checkpoints"
"""Folder of a run's checkpoints, one folder each, named by its step."""
CONTENT = "checkpoint.json"
FORMAT = 1

_WHOLE = 1 << 20  # bytes up to which a table is one file
_PIECE = 1 << 22  # bytes of a piece, at most: a million agents make some five hundred files
_TEXT_BYTES = 256  # assumed for a text when rows per piece are chosen
_WRITERS = 2
_LIBRARY = ctypes.CDLL(None)


@dataclass(frozen=True)
class Checkpoint:
    """The state after a step.

    Attributes
    ----------
    step : int
    facts : dict
        JSON values that belong to it, ``step_digest`` among them.
    tables : mapping
        By name. Those of a checkpoint that was read lie in its files, which may be removed meanwhile; what of them was
        looked at leaves memory when another is taken.
    """

    step: int
    facts: dict[str, Any]
    tables: Mapping[str, pa.Table] = field(repr=False)


class Checkpoints:
    """Writes a run's checkpoints.

    Parameters
    ----------
    directory : Path
        The run directory.
    keep : int
        How many are kept: the newest two, and others spread over the run, from which branches are made sooner.
    sync : bool
        Whether files are forced to disk before the checkpoint counts.
    """

    def __init__(self, directory: Path, keep: int, sync: bool) -> None:
        self._folder = directory / CHECKPOINTS
        self._keep, self._sync = keep, sync
        self._before: tuple[Path, dict[str, str]] | None = None
        for part in self._folder.glob(".*.part"):  # of a process that was killed
            shutil.rmtree(part, ignore_errors=True)

    def adopt(self, folder: Path) -> None:
        """Take what is the same in the next checkpoint from `folder`, which `read_checkpoint` found whole."""
        if folder.exists():
            self._before = folder, json.loads((folder / CONTENT).read_bytes())["files"]

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, whole or not at all, then remove those that are too many.

        Raises
        ------
        OSError
            If it cannot be written; those before stay.
        """
        folder = self._folder / f"{checkpoint.step:06d}"
        if self._before is not None and self._before[0] == folder:  # that is this one
            return folder
        part = self._folder / f".{folder.name}.part"
        self._folder.mkdir(exist_ok=True)  # not its parents: a run that was moved away is not begun where it was
        part.mkdir()
        try:
            tables, files = self._write_tables(checkpoint.tables, part)
            content = {"format": FORMAT, "step": checkpoint.step, **checkpoint.facts, "tables": tables, "files": files}
            write_atomically(part / CONTENT, json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one, or of steps that were done otherwise
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self._before = folder, files
        folders = checkpoint_folders(self._folder.parent)
        while len(folders) > self._keep:
            shutil.rmtree(folders.pop(_superfluous([int(f.name) for f in folders])), ignore_errors=True)
        return folder

    def _write_tables(
        self, tables: Mapping[str, pa.Table], part: Path
    ) -> tuple[dict[str, list[list[str]]], dict[str, str]]:
        layout: dict[str, list[list[str]]] = {}
        pieces = []
        for name, table in sorted(tables.items()):
            layout[name] = []
            for group in _pieces(name, table):
                layout[name].append([file for file, _ in group])
                pieces += group
        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="oasis-checkpoint") as pool:
            hashes = list(pool.map(lambda piece: self._write_piece(part, *piece), pieces))
        return layout, {file: digest for (file, _), digest in zip(pieces, hashes, strict=True)}

    def _write_piece(self, part: Path, file: str, table: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        content = memoryview(sink.getvalue())
        digest = hashlib.sha256(content).hexdigest()
        if self._before is not None and self._before[1].get(file) == digest:
            with contextlib.suppress(OSError):  # links are not possible everywhere, nor without end
                os.link(self._before[0] / file, part / file)
                return digest
        with open(part / file, "wb") as out:
            out.write(content)
            if self._sync:
                out.flush()
                os.fsync(out.fileno())
        return digest


def checkpoint_folders(directory: Path) -> list[Path]:
    """Return the folders of a run's checkpoints by step."""
    return sorted(f for f in (directory / CHECKPOINTS).glob("*") if re.fullmatch(r"\d{6,}", f.name) and f.is_dir())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return a checkpoint, every byte of which is as it was written.

    Raises
    ------
    RunDirectoryError
        If anything of it is missing or damaged.
    """
    place = folder / CONTENT
    try:
        content = json.loads(place.read_bytes())
        if content.pop("format") != FORMAT:
            raise RunDirectoryError(f"{place}: of a format that this version does not read")
        layout, files, step = content.pop("tables"), content.pop("files"), int(content.pop("step"))
        names = [file for groups in layout.values() for group in groups for file in group]
        with ThreadPoolExecutor(_WRITERS) as pool:
            pieces = dict(
                zip(names, pool.map(lambda file: _read_piece(folder / file, files[file]), names), strict=True)
            )
        tables = _Tables({name: [[pieces[f] for f in group] for group in groups] for name, groups in layout.items()})
        for name in tables:
            tables[name]
    except RunDirectoryError:
        raise
    except OSError as error:
        raise RunDirectoryError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise RunDirectoryError(f"{folder}: damaged: {type(error).__name__}: {error}") from None
    return Checkpoint(step, content, tables)


def _superfluous(steps: Sequence[int]) -> int:
    """Return which of the steps' checkpoints to do without: never the newest two, else the one that leaves the smallest
    gap, so that those kept are spread over the run."""
    if len(steps) < 3:
        return 0
    before = [0, *steps[:-3]]
    gaps = [after - back for back, after in zip(before, steps[1:-1], strict=True)]
    return gaps.index(min(gaps))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where file systems do not allow that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class _Tables(Mapping[str, pa.Table]):
    """Tables in mapped files, put together when they are asked for."""

    def __init__(self, pieces: dict[str, list[list[pa.Buffer]]]) -> None:
        self._pieces = pieces
        self._last: str | None = None

    def __getitem__(self, name: str) -> pa.Table:
        pieces = self._pieces[name]
        if self._last not in (None, name):
            _leave_memory(buffer for group in self._pieces[self._last] for buffer in group)
        self._last = name
        return _joined([[pa.ipc.open_file(pa.BufferReader(buffer)).read_all() for buffer in group] for group in pieces])

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


def _leave_memory(mapped: Iterable[pa.Buffer]) -> None:
    """Take the pages of mapped files out of the process; who still reads them gets them from the file again."""
    for buffer in mapped:
        _LIBRARY.madvise(ctypes.c_void_p(buffer.address), ctypes.c_size_t(buffer.size), mmap.MADV_DONTNEED)


def _read_piece(path: Path, digest: str) -> pa.Buffer:
    with open(path, "rb") as file:  # not through the mapping, which would take all of it into memory
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise RunDirectoryError(f"{path}: damaged: its SHA-256 is not the one in {CONTENT}")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _joined(groups: list[list[pa.Table]]) -> pa.Table:
    whole = [pa.concat_tables(group) for group in groups]
    table = whole[0]
    for further in whole[1:]:
        for column, values in zip(further.schema, further.columns, strict=True):
            table = table.append_column(column, values)
    return table


def _pieces(name: str, table: pa.Table) -> Iterator[list[tuple[str, pa.Table]]]:
    """Yield groups of (file name, piece): the groups are columns side by side, their pieces rows one after another."""
    file = _file_name(name)
    if table.nbytes <= _WHOLE:
        yield [(f"{file}.arrow", table.combine_chunks())]
        return
    for number, column in enumerate(table.schema):
        rows = _rows_per_piece(column.type)
        part = table.select([number])
        starts = enumerate(range(0, table.num_rows, rows))
        # in one chunk, so that equal rows are equal bytes
        yield [(f"{file}.{number:02d}.{i:04d}.arrow", part.slice(at, rows).combine_chunks()) for i, at in starts]


def _file_name(name: str) -> str:
    """Return the name of a table, which may be anything, as one that every file system takes."""
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", name)[:100]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _rows_per_piece(kind: pa.DataType) -> int:
    width = 1
    while pa.types.is_fixed_size_list(kind):
        width, kind = width * kind.list_size, kind.value_type
    try:
        size = max(1, width * kind.bit_width // 8)
    except ValueError:
        size = width * _TEXT_BYTES
    return 1 << (_PIECE // size).bit_length() - 1
