"""Which process a run belongs to, and whether it lives."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Literal

__all__ = ["PROCESS", "ProcessState", "process_state", "write_process"]

PROCESS = "process.json"

ProcessState = Literal["alive", "dead", "unknown"]


def write_process(directory: Path) -> None:
    """Note this process as the owner of a run directory."""
    pid = os.getpid()
    note = {"pid": pid, "host": socket.gethostname(), "started": _start_ticks(pid)}
    (directory / PROCESS).write_text(json.dumps(note) + "\n", "utf-8")


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


def _start_ticks(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, "zombie" for a dead one, None where not shown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
    return "zombie" if fields[0] in "ZX" else fields[19]
