"""SHA-256 of files and of trees of sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

__all__ = ["file_digest", "sources_digest"]

SOURCES = (".py", ".toml", ".j2", ".txt")
"""What makes code do what it does: the code, its constants, its templates, its words."""


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, hex. Read once as long as the file is the same.

    Raises
    ------
    OSError
    """
    path = os.path.abspath(path)
    stat = os.stat(path)
    return _digest(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=256)
def _digest(path: str, *state: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sources_digest(root: Path, leave_out: Collection[str] = ()) -> str:
    """Return the SHA-256 of a tree of sources: the same wherever it lies and however its lines end.

    Parameters
    ----------
    root : path
        A folder (symlinks in it are followed), or one file.
    leave_out : collection of str
        Files and folders below it that do not count, as ``folder/name``.
    """
    total = hashlib.sha256()
    for name, path in sorted(_sources(root, frozenset(leave_out))):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{name}\n{len(content)}\n".encode("utf-8", "surrogateescape"))
        total.update(content)
    return total.hexdigest()


def _sources(root: Path, leave_out: frozenset[str]) -> list[tuple[str, Path]]:
    if root.is_file():
        return [(root.name, root)]
    found: list[tuple[str, Path]] = []
    for folder, folders, files in os.walk(root, followlinks=True):
        within = Path(folder).relative_to(root)

        def counts(name: str, within: Path = within) -> bool:
            return not name.startswith(".") and (within / name).as_posix() not in leave_out

        folders[:] = [name for name in folders if name != "__pycache__" and counts(name)]
        found += [
            ((within / name).as_posix(), Path(folder, name))
            for name in files
            if name.endswith(SOURCES) and counts(name)
        ]
    return found
