"""What recording, digests and checkpoints add to a run, as JSON on stdout.

    python benchmarks/safety_cost.py [--platform x] [--recommender interest] [--agents 100000] [--steps 60] [--pairs 3]

The same scenario, 5% of the agents active in a step, is run alternately `bare` (in memory, without step digests and
state hash) and `whole` (on disk with the default ``[output]``: all impressions, forced to disk after each step, a
checkpoint, Parquet, hashes of all files, the report). A run is measured from its first step to the end of `run`,
without building population and world, which would only make the share smaller. Runs of a pair follow each other, the
first of a pair being the one and the other in turn; one pair beforehand compiles kernels and is not counted.

`overhead` is (whole - bare) / bare: its median over pairs, and the smallest and largest. `seconds_in` says in which
parts of `whole` the calling thread spent it (`end` without the parts named beside it). Background threads and the disk
share the cores with the steps: that is in `overhead` alone. `overhead_without_report` leaves out ``report.html`` and
its figures, whose second is the same for any number of agents and steps. `overhead_in_cpu_seconds` is that of the whole
process, all threads; writing in the background counts in full. `overhead_within` compares the parts of `seconds_in`
with the rest of the same runs: it knows nothing of the background, but is steady where other processes want the cores
(see `load`: above the number of cores, whole and bare differ more by what else runs than by what they do).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform as machine
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from oasis.runs import Recorder
from oasis.runs.provenance import code_revision
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.simulation.engine import Engine
from oasis.simulation.simulation import Simulation as Run
from oasis.simulation.storage import Storage
from oasis.world.world import World

TIMED: dict[str, tuple[type, str]] = {
    "open": (Run, "_open"),
    "digest": (Engine, "_chain"),
    "record": (Storage, "keep_step"),
    "checkpoint": (Storage, "keep_point"),
    "end": (Run, "_end"),
    "report": (Recorder, "_report"),
    "state_hash": (World, "state_hash"),
}


class Timers:
    """Seconds within methods, without those of timed methods that they call."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner: list[float] = []

    def wrap(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            begun = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                took = time.perf_counter() - begun
                self.seconds[name] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return timed


@contextmanager
def bare() -> Iterator[None]:
    """Do without digests."""
    with patch.object(Engine, "_chain", lambda *_: None), patch.object(World, "state_hash", lambda *_: ""):
        yield


@contextmanager
def timed(timers: Timers) -> Iterator[None]:
    patches = [patch.object(cls, name, timers.wrap(key, getattr(cls, name))) for key, (cls, name) in TIMED.items()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def measure(scenario: Scenario, out: Path | None, timers: Timers) -> dict[str, float]:
    """Run once; return wall-clock and CPU seconds."""
    simulation = Simulation(scenario, out)
    gc.collect()
    os.sync()
    with timed(timers) if out is not None else bare():
        cpu, begun = time.process_time(), time.perf_counter()
        simulation.run_sync()
        return {"wall": time.perf_counter() - begun, "cpu": time.process_time() - cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--platform", default="x")
    parser.add_argument("--recommender", default="interest")
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", help="where runs are written; default: the system's folder for temporary files")
    given = parser.parse_args()

    def scenario(steps: int, seed: int) -> Scenario:
        return Scenario.from_dict(
            {
                "simulation": {"steps": steps, "seed": seed},
                "platform": {"kind": given.platform},
                "recsys": {"kind": given.recommender},
                "population": {"agents": given.agents, "mean_active": 0.05},
            }
        )

    seconds: dict[str, list[dict[str, float]]] = {"bare": [], "whole": []}
    timers = Timers()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for pair in range(-1, given.pairs):
            if pair == 0:
                timers.seconds.clear()
            for kind in ("bare", "whole") if pair % 2 == 0 else ("whole", "bare"):
                out = Path(folder) / f"{pair}" if kind == "whole" else None
                took = measure(scenario(given.steps if pair >= 0 else 3, max(pair, 0)), out, timers)
                if pair >= 0:
                    seconds[kind].append(took)
        written = sum(f.stat().st_size for f in (Path(folder) / "0").rglob("*") if f.is_file())

    def column(kind: str, clock: str) -> np.ndarray:
        return np.array([took[clock] for took in seconds[kind]])

    overhead = column("whole", "wall") / column("bare", "wall") - 1
    in_cpu = column("whole", "cpu") / column("bare", "cpu") - 1
    report = timers.seconds["report"] / column("bare", "wall").sum()
    spent = sum(timers.seconds.values())
    steps_alone = column("whole", "wall").sum() - spent
    result = {
        "scenario": {key: getattr(given, key) for key in ("platform", "recommender", "agents", "steps")},
        "pairs": given.pairs,
        "overhead": {
            "median": round(float(np.median(overhead)), 4),
            "min": round(float(overhead.min()), 4),
            "max": round(float(overhead.max()), 4),
            "of_all": round(float(column("whole", "wall").sum() / column("bare", "wall").sum() - 1), 4),
        },
        "overhead_without_report": round(float(np.median(overhead) - report), 4),
        "overhead_within": {
            "all": round(float(spent / steps_alone), 4),
            "without_report": round(float((spent - timers.seconds["report"]) / steps_alone), 4),
        },
        "overhead_in_cpu_seconds": {
            "median": round(float(np.median(in_cpu)), 4),
            "min": round(float(in_cpu.min()), 4),
            "max": round(float(in_cpu.max()), 4),
        },
        "seconds": {kind: [round(took["wall"], 3) for took in runs] for kind, runs in seconds.items()},
        "cpu_seconds": {kind: [round(took["cpu"], 3) for took in runs] for kind, runs in seconds.items()},
        "seconds_in": {key: round(timers.seconds[key] / given.pairs, 3) for key in TIMED},
        "bytes_written": written,
        "load": os.getloadavg(),
        "cores": os.cpu_count(),
        "machine": machine.processor() or machine.machine(),
        "revision": code_revision(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
