"""How the cost of a step grows with agents registered and agents active, and how far it is from the machine's limits.

    python benchmarks/scale.py [--agents 1000 10000 100000 1000000] [--active 5000 50000] [--steps 6]
                               [--platform x|reddit|both] [--out DIR]

Whole runs of the choice policy, all impressions recorded and forced to disk, X by `interest`, Reddit by `hot`. Each
setting runs in a process of its own, from a population that was made once per size (activity without a daily rhythm,
so that as many act as are meant to). Settings are: 5% of each size, and each number of `--active` out of the two
largest sizes that have twice as many.

Seconds are medians over all steps but the first two, in which caches fill and kernels are compiled; "record" is what is
left of a step when the phases that it times itself are taken away. Bytes per agent are the peak memory of the process
(Linux) less what it had after imports: up to the last step, and with the end of the run (tables, checkpoint, digest).

`growth` has the ratios to look at: a step of as many active agents among the most and among fewer registered, and
a step of the most and of fewer active agents among the most registered; also per active agent. `of_limit` is
explained in `scale_limits.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pyarrow as pa
from scale_figure import draw_scale
from scale_limits import machine_limits, of_limit

from oasis.kernels.threads import available
from oasis.plugins import load
from oasis.population import GenerateParameters, generate, write_population
from oasis.population.activity import scale_to_mean
from oasis.population.vectors import BIO_VECTORS, POST_VECTORS
from oasis.recsys import interests, scorers
from oasis.runs.provenance import code_revision, versions
from oasis.scenario import Scenario
from oasis.simulation import Simulation, StepResult

WARM_UP = 2
USUAL = 0.05
RECOMMENDERS = {"x": "interest", "reddit": "hot"}


def make(agents: int, actives: list[int], folder: Path) -> dict[str, float]:
    """Write a population of `agents` for each number of active ones into `folder`; return seconds."""
    start = time.perf_counter()
    population = generate(GenerateParameters(agents=agents, day_rhythm=0.0), 1, USUAL)
    seconds = {"generate_s": round(time.perf_counter() - start, 3)}
    start = time.perf_counter()
    for number, active in enumerate(actives):
        activity = scale_to_mean(population.activity.astype(np.float64), active / agents, "activity")
        target = folder / str(active)
        embedder = None if number else load("embedders", "wordllama")()
        write_population(replace(population, activity=activity), target, embedder)
        if number:
            for file in (BIO_VECTORS, POST_VECTORS):
                os.link(folder / str(actives[0]) / file, target / file)
        else:
            seconds["embed_and_write_s"] = round(time.perf_counter() - start, 3)
    return {**seconds, "peak_mb": _memory()["VmHWM"] >> 20}


def measure(platform: str, people: Path, steps: int, folder: Path) -> dict[str, Any]:
    """Return what steps on `platform` with the population in `people` took; the run is written into `folder`."""
    idle = _memory()["VmRSS"]
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": WARM_UP + steps},
            "platform": {"kind": platform},
            "recsys": {"kind": RECOMMENDERS[platform]},
            "population": {"source": "parquet", "path": str(people)},
            "output": {"report": False, "checkpoint_steps": 0},
        }
    )
    pools: list[tuple[int, ...]] = []
    gather = interests.pool_products

    def counted(pool: np.ndarray) -> Any:
        pools.append(pool.shape)
        return gather(pool)

    start = time.perf_counter()
    simulation = Simulation(scenario, folder / "run")
    build = time.perf_counter() - start
    world = simulation.world
    done: list[dict[str, Any]] = []
    before, streams = 0.0, 0

    def keep(result: StepResult) -> None:
        nonlocal before, streams
        step = {"seconds": time.perf_counter() - before, "impressions": result.impressions.num_rows}
        texts = result.events["content"].filter(pa.compute.equal(result.events["outcome"], "accepted"))
        mark = json.loads((folder / "run" / "current" / "steps.jsonl").read_text().splitlines()[-1])
        streamed, streams = sum(mark["bytes"].values()) - streams, sum(mark["bytes"].values())
        step |= {"new_texts": len(texts) - texts.null_count, "stream_bytes": streamed, "peak": _memory()["VmHWM"]}
        done.append({**result.metrics, **step, "events": result.events.num_rows})
        before = time.perf_counter()

    before = time.perf_counter()
    with patch.object(interests, "pool_products", counted):
        simulation.run_sync(keep)
    peak = _memory()["VmHWM"]

    measured = done[WARM_UP:]

    def median(name: str) -> float:
        return float(np.median([step[name] for step in measured]))

    phases = [name for name in measured[0] if name.startswith("seconds_")]
    for step in measured:
        step["seconds_record"] = step["seconds"] - sum(step[name] for name in phases)
    age = world.step - world.posts["step"]
    reach = scorers.RECENCY_REACH - scorers.RECENCY_SCALE if platform == "x" else np.inf
    registered = len(world.users)
    kept = [file.stat().st_size for file in (folder / "run" / "impressions").iterdir()]
    return {
        "platform": platform,
        "recommender": RECOMMENDERS[platform],
        "registered": registered,
        "active": median("active"),
        "actions": median("actions"),
        "empty_feeds": median("empty_feeds"),
        "feed_rows": median("impressions"),
        "build_s": round(build, 3),
        "step_s": median("seconds"),
        "step_s_least": min(step["seconds"] for step in measured),
        "seconds": {name.removeprefix("seconds_"): median(name) for name in [*phases, "seconds_record"]},
        "step_s_per_step": [round(step["seconds"], 4) for step in done],
        "phases_per_step": [
            {name.removeprefix("seconds_"): step[name] for name in [*phases, "seconds_record"]} for step in measured
        ],
        "microseconds_per_active": 1e6 * median("seconds") / max(median("active"), 1),
        "actions_per_s": median("actions") / median("seconds"),
        "impressions_per_s": median("impressions") / median("seconds"),
        "bytes_per_agent": (done[-1]["peak"] - idle) / registered,
        "bytes_per_agent_to_the_end": (peak - idle) / registered,
        "peak_mb": peak >> 20,
        "disk_bytes_per_impression": sum(kept) / max(sum(step["impressions"] for step in done), 1),
        "store_mb": {name: round(table.nbytes / 1e6, 3) for name, table in simulation.point().tables.items()},
        "counts": {
            "posts_in_window": int(np.count_nonzero(age < reach)),
            "pool_texts": pools[-1][0] if pools else 0,
            "dimensions": world.embeddings.dimensions,
            "follows_per_agent": len(world.follows) / registered,
            "seen_width": world.seen.width,
            "engaged_width": world.engaged.width,
            "events": median("events"),
            "new_texts": median("new_texts"),
            "stream_bytes": median("stream_bytes"),
        },
    }


def settings(sizes: list[int], actives: list[int]) -> list[tuple[int, int]]:
    """Return the pairs (registered, active) to measure, by size."""
    pairs = {(n, max(1, round(USUAL * n))) for n in sizes}
    for active in actives:
        pairs |= {(n, active) for n in sorted(n for n in sizes if n >= 2 * active)[-2:]}
    return sorted(pairs)


def growth(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how much longer a step of more agents takes, for each platform."""
    rows = []
    for platform in dict.fromkeys(r["platform"] for r in results):
        mine = [r for r in results if r["platform"] == platform]
        largest = max(r["registered"] for r in mine)
        for first, last in product(mine, mine):
            same_active = first["meant"] == last["meant"] and last["registered"] == largest
            same_size = first["registered"] == last["registered"] == largest
            if (same_active and first["registered"] < largest) or (same_size and first["meant"] < last["meant"]):
                rows.append(
                    {
                        "platform": platform,
                        "registered": [first["registered"], last["registered"]],
                        "active": [first["active"], last["active"]],
                        "step_s": [first["step_s"], last["step_s"]],
                        "ratio": round(last["step_s"] / first["step_s"], 3),
                        "ratio_per_active": round(
                            last["microseconds_per_active"] / first["microseconds_per_active"], 3
                        ),
                        "posts_in_window": [r["counts"]["posts_in_window"] for r in (first, last)],
                    }
                )
    return rows


def _memory() -> dict[str, int]:
    """Return ``VmRSS`` and ``VmHWM`` (the peak) of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith(("VmRSS", "VmHWM"))}


def _apart(*arguments: str) -> Any:
    """Return what this file prints with other arguments, in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    """Measure, print one JSON object, and write it with a figure and a table where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--active", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--steps", type=int, default=6, help=f"measured steps, after {WARM_UP} that are not")
    parser.add_argument("--platform", choices=("x", "reddit", "both"), default="x")
    parser.add_argument("--out", type=Path, help="folder for scale.json, scale.parquet and scale.png")
    parser.add_argument("--copy-megabytes", type=int, default=512, help="size of the arrays copied")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        print(json.dumps(make(given.agents[0], given.active, given.make)))
        return
    if given.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(given.platform, given.one, given.steps, Path(folder))))
        return

    limits = machine_limits(given.copy_megabytes)
    platforms = list(RECOMMENDERS) if given.platform == "both" else [given.platform]
    pairs = settings(given.agents, given.active)
    results, made = [], {}
    for size in sorted(set(given.agents)):
        actives = [active for n, active in pairs if n == size]
        with tempfile.TemporaryDirectory() as folder:
            people = Path(folder)
            made[size] = _apart("--make", folder, "--agents", str(size), "--active", *map(str, actives))
            for platform, active in product(platforms, actives):
                print(f"{platform}: {active:,} of {size:,} agents", file=sys.stderr)
                one = ("--one", str(people / str(active)), "--platform", platform, "--steps", str(given.steps))
                results.append({"meant": active, **_apart(*one)})
                print(f"{results[-1]['step_s']:.3f} s a step", file=sys.stderr)
    last = {r["platform"]: r for r in sorted(results, key=lambda r: (r["registered"], r["meant"]))}
    result = {
        "benchmark": "scale",
        "machine": machine.processor() or machine.machine(),
        "cores": os.cpu_count(),
        "threads": available(),
        "revision": code_revision(),
        "versions": versions(),
        "giga_per_s": {name: round(value / 1e9, 2) for name, value in limits.items()},
        "populations": made,
        "settings": results,
        "growth": growth(results),
        "of_limit": {platform: of_limit(setting, limits) for platform, setting in last.items()},
    }
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "scale.json").write_text(json.dumps(result, indent=2) + "\n")
        flat = [
            {k: v for k, v in r.items() if not isinstance(v, dict | list)}
            | {f"seconds_{phase}": seconds for phase, seconds in r["seconds"].items()}
            for r in results
        ]
        pl.DataFrame(flat).write_parquet(given.out / "scale.parquet")
        draw_scale(results, given.out / "scale.png")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
