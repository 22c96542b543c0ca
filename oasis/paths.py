"""Paths that are about to be made: what is there already is never written over."""

from __future__ import annotations

from pathlib import Path

from oasis.errors import OasisError

__all__ = ["check_absent", "check_outside"]


def check_absent(path: Path, error: type[OasisError]) -> None:
    """Raise `error` for a path where something is already, or that cannot be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as caught:  # a name too long, a folder that may not be entered, a NUL
        reason = getattr(caught, "strerror", None) or caught
        raise error(f"{path}: cannot be made: {reason}; choose another --out") from None
    raise error(f"{path}: is there already; choose another --out, or remove it")


def check_outside(path: Path, run: Path, error: type[OasisError]) -> None:
    """Raise `error` for a path in a run directory, of which everything is accounted for."""
    if run.resolve() in (path.resolve(), *path.resolve().parents):
        raise error(f"{path}: lies in the run {run}; choose another --out")
