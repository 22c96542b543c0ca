"""Time and memory of generating, writing, loading and describing a population, as JSON on stdout.

    python benchmarks/population_generate.py [--agents 10000 1000000] [--embedder wordllama]

Each part of each size runs in a process of its own, so that its peak memory is its own; kernels are compiled before the
clock starts. Writing embeds bios and posts; loading reads the folder and fills a world with
its agents, follows and vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oasis.plugins import load
from oasis.population import describe, load_population, read_population, write_population
from oasis.world import World

_FACTS = ("follows", "mean_follows", "in_degree_exponent", "reciprocity", "group_assortativity", "clustering")


def make(agents: int, folder: Path, embedder: Any) -> dict[str, Any]:
    """Generate and write."""
    write_population(load_population("generate", agents=300), folder.with_name("small"), embedder)
    found: dict[str, Any] = {}
    with _measured(found, "generate"):
        population = load_population("generate", agents=agents, seed=1)
    with _measured(found, "write"):
        write_population(population, folder, embedder)
    return found


def install(agents: int, folder: Path, embedder: Any) -> dict[str, Any]:
    """Load into a world."""
    _into_a_world(folder.with_name("small"), embedder)
    found: dict[str, Any] = {}
    with _measured(found, "load"):
        world = _into_a_world(folder, embedder)
    return {**found, "embedded_while_loading": world.embeddings.texts_embedded}


def tell(agents: int, folder: Path, embedder: Any) -> dict[str, Any]:
    """Read and describe."""
    describe(read_population(folder.with_name("small")))
    found: dict[str, Any] = {}
    with _measured(found, "read_and_describe"):
        facts = describe(read_population(folder))
    return {**found, **{name: facts[name] for name in _FACTS}}


PARTS: dict[str, Callable[[int, Path, Any], dict[str, Any]]] = {"make": make, "install": install, "tell": tell}


@contextmanager
def _measured(found: dict[str, Any], name: str) -> Iterator[None]:
    start, cpu = time.perf_counter(), time.process_time()
    yield
    found[f"{name}_s"] = round(time.perf_counter() - start, 2)
    found[f"{name}_cpu_s"] = round(time.process_time() - cpu, 2)
    found[f"{name}_peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _into_a_world(folder: Path, embedder: Any) -> World:
    world = World()
    world.attach_embedder(embedder)
    read_population(folder).install(world)
    world.embeddings.ensure(world.users["bio"])
    return world


def main() -> None:
    """Measure each size and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--embedder", default="wordllama")
    parser.add_argument("--part", choices=PARTS, help="measure one part here, with --folder")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.part:
        embedder = load("embedders", arguments.embedder)()
        print(json.dumps(PARTS[arguments.part](arguments.agents[0], arguments.folder, embedder)))
        return
    results = []
    for agents in arguments.agents:
        result: dict[str, Any] = {"agents": agents}
        with TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--agents", str(agents), "--embedder", arguments.embedder]
            command += ["--folder", f"{folder}/population", "--part"]
            for part in PARTS:
                done = subprocess.run([*command, part], check=True, stdout=subprocess.PIPE, text=True)
                result |= json.loads(done.stdout)
        results.append(result)
    print(json.dumps({"benchmark": "population_generate", "cpus": os.cpu_count(), "results": results}, indent=2))


if __name__ == "__main__":
    main()
