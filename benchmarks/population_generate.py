"""Time and memory of generating, installing and describing a population, as JSON on stdout.

    python benchmarks/population_generate.py [--agents 10000 1000000] [--repeats 3]

Each size runs in a process of its own, so that its peak memory is its own; kernels are compiled before the clock
starts. Install is into an empty world without an embedder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

from oasis.population import describe, load_population
from oasis.world import World


def measure(agents: int, repeats: int) -> dict[str, Any]:
    """Return the median seconds of each part at one size, and the peak memory of the process."""
    load_population("generate", agents=100).install(World())
    before = _peak_mb()
    times: dict[str, list[float]] = {"generate_s": [], "install_s": [], "describe_s": []}
    peaks = []
    for seed in range(repeats):
        start = time.perf_counter()
        population = load_population("generate", agents=agents, seed=seed)
        times["generate_s"].append(time.perf_counter() - start)
        peaks.append(_peak_mb())
        start = time.perf_counter()
        population.install(World())
        times["install_s"].append(time.perf_counter() - start)
        start = time.perf_counter()
        describe(population)
        times["describe_s"].append(time.perf_counter() - start)
        follows = len(population.follower)
        del population  # the next one must not stand beside it
    return {
        "agents": agents,
        "follows": follows,
        **{name: round(sorted(values)[repeats // 2], 3) for name, values in times.items()},
        "idle_mb": round(before),
        "peak_after_generate_mb": round(peaks[0]),
        "peak_mb": round(_peak_mb()),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure each size and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help="measure here, not in a process per size")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.agents[0], arguments.repeats)))
        return
    results = []
    for agents in arguments.agents:
        command = [sys.executable, __file__, "--one", "--agents", str(agents), "--repeats", str(arguments.repeats)]
        results.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(json.dumps({"benchmark": "population_generate", "cpus": os.cpu_count(), "results": results}, indent=2))


if __name__ == "__main__":
    main()
