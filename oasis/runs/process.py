"""Which process writes a run: one at a time, and whether it lives."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Literal, Self

from oasis.errors import RunDirectoryError

try:
    import fcntl
except ImportError:  # not on Windows: there the process number must do
    fcntl = None  # type: ignore[assignment]

__all__ = ["PROCESS", "ProcessState", "WriterLock", "process_state"]

PROCESS = "process.json"

ProcessState = Literal["alive", "dead", "unknown"]


class WriterLock:
    """The right to write a run directory: a lock of the operating system on `PROCESS`, gone with the process.

    Attributes
    ----------
    path : Path
        Of the locked file; follows the directory when it is renamed.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, directory: Path) -> Self:
        """Lock a run directory and note this process as its owner.

        Raises
        ------
        RunDirectoryError
            If another process writes it, or the file cannot be made.
        """
        path = directory / PROCESS
        try:
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                if _taken(descriptor, directory):
                    os.close(descriptor)
                    raise RunDirectoryError(
                        f"{directory}: {_owner(path)} writes it; wait until that has ended, or stop it"
                    )
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        break
                os.close(descriptor)  # the other ended, and removed the file, in between
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be written: {error.strerror}") from None
        pid = os.getpid()
        note = {"pid": pid, "host": socket.gethostname(), "started": _start_ticks(pid)}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode() + b"\n", 0)
        return cls(path, descriptor)

    def __del__(self) -> None:
        self.release()

    def release(self, remove: bool = False) -> None:
        """Give the lock back; `remove` the note where the run has ended."""
        if self._descriptor < 0:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def process_state(directory: Path) -> ProcessState:
    """Return whether the process that owns a run directory lives.

    "unknown" where nothing is noted or it ran on another machine. A process number that has been given to another
    process since is told by its start time, where the system shows one (``/proc``).
    """
    try:
        note = json.loads((directory / PROCESS).read_text("utf-8"))
        pid, host, started = int(note["pid"]), note["host"], note["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
    if host != socket.gethostname() or pid <= 0:
        return "unknown"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "dead"
    except (PermissionError, OverflowError):
        pass
    now = _start_ticks(pid)
    if now == "zombie":
        return "dead"
    return "dead" if started is not None and now is not None and started != now else "alive"


def _taken(descriptor: int, directory: Path) -> bool:
    """Lock a file; return whether another process has done so. Where locks do not work, its number must do."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            pass
        else:
            return False
    return process_state(directory) == "alive"


def _owner(path: Path) -> str:
    try:
        note = json.loads(path.read_text("utf-8"))
        return f"process {int(note['pid'])} on {note['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _start_ticks(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, "zombie" for a dead one, None where not shown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
    return "zombie" if fields[0] in "ZX" else fields[19]
