"""Checkpoints of a large population on X: writing the first and the next, and going on from one, as JSON on stdout.

    python benchmarks/checkpoint.py [--agents 1000000] [--steps 2] [--active 0.05]

A run in memory makes `--steps` steps and writes a checkpoint after each, forced to disk: `first` writes all, `next`
links what has not changed. `seconds` are those for which the run waits: `take` makes tables of the world,
`write` all the rest. `restore` reads and checks the last checkpoint (`read`) and builds the world from it
(`assemble`); `generate` is what building the world from nothing takes. `peak_mb` is the process's largest memory so
far, `extra_mb` by how much its memory was larger while a checkpoint was written than before.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform as machine
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from oasis.runs.checkpoints import Checkpoints, checkpoint_folders, read_checkpoint
from oasis.runs.provenance import code_revision
from oasis.scenario import Scenario
from oasis.simulation import Simulation, StepResult
from oasis.simulation.assembly import assemble
from oasis.simulation.point import Point

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


class Watch:
    """The largest memory while a block of code runs."""

    def __enter__(self) -> Watch:
        self.before = self.largest = resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.largest = max(self.largest, resident())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def run(scenario: Scenario, path: Path) -> tuple[float, str | None, list[dict[str, Any]]]:
    """Return seconds to build the world, the state hash at the end, and what was measured after each step."""
    begun = time.perf_counter()
    simulation = Simulation(scenario)
    generated = time.perf_counter() - begun
    checkpoints: list[dict[str, Any]] = []
    kept = Checkpoints(path, keep=2, sync=True)

    def write(result: StepResult) -> None:
        gc.collect()
        os.sync()
        with Watch() as memory:
            begun = time.perf_counter()
            checkpoint = simulation.point().to_checkpoint()
            taken = time.perf_counter()
            written = kept.write(checkpoint)
            ended = time.perf_counter()
        sizes = [f.stat() for f in written.iterdir()]
        checkpoints.append(
            {
                "step": result.step,
                "seconds": {"take": round(taken - begun, 3), "write": round(ended - taken, 3)},
                "files": len(sizes),
                "mb_written": round(sum(s.st_size for s in sizes if s.st_nlink == 1) / 1e6),
                "mb_linked": round(sum(s.st_size for s in sizes if s.st_nlink > 1) / 1e6),
                "extra_mb": round((memory.largest - memory.before) / 1e6),
                "peak_mb": peak_mb(),
            }
        )

    simulation.run_sync(write)
    return generated, simulation.summary.state_hash, checkpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--active", type=float, default=0.05)
    parser.add_argument("--folder", help="where checkpoints are written; default: the system's, for temporary files")
    given = parser.parse_args()
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": given.steps},
            "recsys": {"kind": "interest"},
            "population": {"agents": given.agents, "mean_active": given.active},
        }
    )
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder)
        generated, wanted, checkpoints = run(scenario, path)
        gc.collect()
        begun = time.perf_counter()
        point = Point.from_checkpoint(read_checkpoint(checkpoint_folders(path)[-1]))
        read = time.perf_counter() - begun
        parts = assemble(scenario, point=point)
        restored = time.perf_counter() - begun
        same = parts.world.state_hash() == wanted
    result = {
        "agents": given.agents,
        "active_share": given.active,
        "first": checkpoints[0],
        "next": checkpoints[1:],
        "generate_seconds": round(generated, 2),
        "restore_seconds": {"read": round(read, 2), "assemble": round(restored - read, 2)},
        "restored_state_hash_is_the_same": same,
        "cores": os.cpu_count(),
        "machine": machine.processor() or machine.machine(),
        "revision": code_revision(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
