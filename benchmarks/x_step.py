"""Whole steps of X with every agent active, feeds by `interest`, all recorded on disk, as JSON on stdout.

    python benchmarks/x_step.py [--agents 10000] [--steps 30] [--warm-up 10]

A step is activate, recommend, observe, decide, commit and record. Steps of the warm-up are left out: kernels are
compiled and the first texts embedded in them. `actions_per_second` counts the actions of agents (do_nothing is one)
over what applying and recording them takes: commit, making rows, digest, writing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import tempfile
import time
from pathlib import Path

import numpy as np

from oasis.scenario import Scenario
from oasis.simulation import Simulation, StepResult


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=10)
    given = parser.parse_args()
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": given.warm_up + given.steps},
            "recsys": {"kind": "interest"},
            # nearly equal activity, so that a mean of 1 is everybody
            "population": {"agents": given.agents, "mean_active": 1.0, "activity_sigma": 0.0, "day_rhythm": 0.0},
            "output": {"report": False},
        }
    )
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        simulation = Simulation(scenario, Path(folder) / "run")
        before = time.perf_counter()

        def keep(result: StepResult) -> None:
            nonlocal before
            now = time.perf_counter()
            steps.append((result.metrics, now - before))
            before = now

        simulation.run_sync(keep)
    measured = [(metrics, seconds) for metrics, seconds in steps if metrics["step"] > given.warm_up]
    phases = [name for name in measured[0][0] if name.startswith("seconds_")]
    split = {name.removeprefix("seconds_"): float(np.median([m[name] for m, _ in measured])) for name in phases}
    seconds = np.array([s for _, s in measured])
    split["record"] = float(np.median([s - sum(m[name] for name in phases) for m, s in measured]))
    actions = sum(int(m["actions"]) for m, _ in measured)
    applying = sum(s - sum(m[f"seconds_{n}"] for n in ("interventions", "activate", "recommend", "decide", "embed"))
                   for m, s in measured)  # fmt: skip
    result = {
        "agents": given.agents,
        "active_per_step": int(np.median([m["active"] for m, _ in measured])),
        "posts_at_end": int(measured[-1][0]["posts_total"]),
        "step_seconds_median": round(float(np.median(seconds)), 3),
        "step_seconds_max": round(float(seconds.max()), 3),
        "median_seconds_by_phase": {name: round(value, 4) for name, value in split.items()},
        "actions_per_second": round(actions / applying),
        "cores": os.cpu_count(),
        "machine": machine.processor() or machine.machine(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
