"""Processes to kill: started as a script, it forks one per job, with all modules loaded, in some milliseconds.

A job is a line of JSON on standard input, and its answers are lines on standard output: ``{"pid": ...}``, and when the
process has ended ``{"status": ...}`` (negative: the signal that killed it). Keys of a job:

* ``args``: of the command line, or ``run``: a scenario, ``out`` and ``inject`` (see `driven`);
* ``kill_at``: the process kills itself at its so-manieth call out of or into the code that writes runs;
* ``trace``: a file to which each such call is written, as ``phase`` per line;
* ``largest_file``: bytes that a file may have, as on a full disk;
* ``said``: a file that takes what the process prints.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import numpy as np

import oasis.agents.choice
import oasis.agents.llm
import oasis.cli.again
import oasis.cli.main
import oasis.cli.run
import oasis.inference.http
import oasis.platforms.reddit
import oasis.platforms.x
import oasis.recsys.recommenders
from oasis import Scenario, Simulation, open_run
from oasis.randomness import agent_keys
from oasis.simulation.again import resume

CODE = (
    "/shutil.py",
    "/oasis/runs/",
    "/oasis/simulation/storage.py",
    "/oasis/simulation/simulation.py",
    "/oasis/simulation/point.py",
)
PHASES = {  # by the innermost function that is named here, and of which file
    "_keep_answers": "make ready to go on",
    "continue_run": "make ready to go on",
    "create": "start",
    "finish": "finish",
    "record_step": "record a step",
    "keep_step": "record a step",
    "keep_point": "checkpoint",
    "_write_piece": "checkpoint",
    "write_block": "Parquet",
    "to_parquet": "Parquet",
    "keep_calls": "journal",
    "write_report": "report",
    "whole_part": "look at records",
    "read_checkpoint": "look at records",
    "_end": "finish",
    "_open": "start",
    "update": "manifest",
}


class Watch:
    """A profile function: kills the process at call number `kill_at`; writes the phase of each call to `trace`."""

    def __init__(self, kill_at: int | None, trace: str | None) -> None:
        self.left = -1 if kill_at is None else kill_at
        self.trace: BinaryIO | None = open(trace, "wb", buffering=0) if trace else None  # noqa: SIM115
        self._of: dict[str, bool] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        mine = self._of.get(name)
        if mine is None:
            mine = self._of[name] = any(part in name for part in CODE)
        if not mine or event not in ("call", "c_call"):
            return
        self.left -= 1
        if self.trace and self.left <= 0:
            self.trace.write(phase(frame).encode() + b"\n")
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def phase(frame: FrameType | None) -> str:
    """Return what the process is at."""
    while frame is not None:
        if frame.f_code.co_name in PHASES and any(part in frame.f_code.co_filename for part in CODE):
            return PHASES[frame.f_code.co_name]
        frame = frame.f_back
    return "between"


def driven(job: dict[str, Any]) -> None:
    """Run a scenario from Python, or go on with it (``resume``), injecting votes before the steps of `inject`."""
    out = Path(job["out"])
    simulation = resume(out) if job.get("resume") else Simulation(Scenario.from_dict(job["run"]), out)
    asyncio.run(drive(simulation, job["inject"]))


async def drive(simulation: Simulation, inject: list[int]) -> None:
    """Do all steps, injecting what has not been injected yet."""

    def due() -> None:
        out = simulation.out
        assert out is not None
        run = open_run(out) if out.exists() else None
        step = max(simulation.world.step, run.steps_done if run else 0) + 1  # recorded steps are repeated first
        noted = run.manifest.injected if run else []
        if step in inject and all(entry["step"] != step for entry in noted):
            simulation.inject("seed_votes", posts={"share": 0.3}, likes=step)

    due()
    await simulation.run(lambda result: due())


def do(job: dict[str, Any]) -> int:
    """Do a job in this process; return its exit status."""
    if job.get("said"):
        said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
    if job.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest_file"],) * 2)
    if job.get("kill_at") or job.get("trace"):
        watch = Watch(job.get("kill_at"), job.get("trace"))
        threading.setprofile(watch)
        sys.setprofile(watch)
    try:
        if "args" in job:
            oasis.cli.main.main(job["args"])
        else:
            driven(job)
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def serve() -> None:
    """Fork a process per line."""
    agent_keys(np.zeros(1, np.uint64))  # loads the compiler, and starts no thread: none lives on in a fork
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(0)
            status = 71
            try:
                status = do(job)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)


if __name__ == "__main__":
    serve()
