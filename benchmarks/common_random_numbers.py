"""What common random numbers are worth: the effect of another recommender, with and without pairs, as JSON on stdout.

    python benchmarks/common_random_numbers.py [--agents 300] [--steps 60] [--warm-up 10] [--seeds 20]

Two effects of `chronological` instead of `interest`: from step 1 on (`whole`), and swapped in by an intervention half
way, measured after it (`middle`). Each is estimated twice from as many runs: from seeds 1 to 20, both arms of each, and
from two disjoint sets of 20 further seeds, one per arm. Two populations: one read from a folder, the same for all seeds
(`fixed`), and one drawn anew for each seed (`redrawn`).

An outcome is a metric's mean over the measured steps of a run. `ratio` is the variance of the disjoint estimate over
that of the paired one: by how many times more runs the disjoint design needs for the same precision. Its interval is
given by two methods: `f`, exact up to Satterthwaite's degrees of freedom if outcomes are normal, and `bootstrap`
(percentiles; pairs drawn as pairs, the two disjoint sets each by itself), which assumes no distribution.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import f

from oasis.population import load_population
from oasis.population.parquet import write_population
from oasis.scenario import Scenario
from oasis.simulation import Simulation

F64 = npt.NDArray[np.float64]
METRICS = (
    "accepted_like_post", "accepted_repost", "accepted_create_comment", "accepted_create_post", "accepted_follow",
    "agents_reached", "distinct_authors_shown", "exposure_gini", "author_exposure_gini", "in_network_share",
    "cross_group_share", "mean_stance_shown", "stance_distance_shown",
)  # fmt: skip
ARMS = {"interest": ("interest", False), "chronological": ("chronological", False), "swapped": ("interest", True)}
DRAWS, LEVEL = 10_000, 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    begun = time.perf_counter()
    rng = np.random.default_rng(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        fixed = Path(folder) / "population"
        write_population(load_population("generate", agents=given.agents, seed=0, mean_active=0.2), fixed)
        for population in ("fixed", "redrawn"):
            source: dict[str, Any] = (
                {"source": "parquet", "path": str(fixed)} if population == "fixed" else {"agents": given.agents}
            )
            outcomes = _outcomes(given, source)
            for effect, arm in (("whole", "chronological"), ("middle", "swapped")):
                for metric in METRICS:
                    values = [outcomes[key][metric, effect] for key in
                              (("interest", 0), (arm, 0), ("interest", 1), (arm, 2))]  # fmt: skip
                    rows.append(
                        {"population": population, "effect": effect, "metric": metric, **_compare(*values, rng)}
                    )
    result = {
        "agents": given.agents,
        "steps": given.steps,
        "warm_up": given.warm_up,
        "seeds": given.seeds,
        "seconds": round(time.perf_counter() - begun, 1),
        "cores": os.cpu_count(),
        "results": rows,
    }
    print(json.dumps(result, indent=1))


def _outcomes(given: argparse.Namespace, population: dict[str, Any]) -> dict[tuple[str, int], dict[Any, F64]]:
    """Return outcomes, a value per seed: set 0 are the paired seeds, 1 those of the baseline alone, 2 of the arms."""
    found = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for arm, (kind, swap) in ARMS.items():
            for number in (0, 1) if arm == "interest" else (0, 2):
                seeds = range(1000 * number + 1, 1000 * number + 1 + given.seeds)
                runs = list(pool.map(partial(_run, given, population, kind, swap), seeds))
                found[arm, number] = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    return found


def _run(given: argparse.Namespace, population: dict[str, Any], kind: str, swap: bool, seed: int) -> dict[Any, float]:
    swapped = [{"step": given.steps // 2 + 1, "kind": "swap_recommender", "recommender": "chronological"}]
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": given.steps, "seed": seed},
            "population": {"mean_active": 0.2, **population},
            "recsys": {"kind": kind, "embedder": "hashed-ngrams"},
            "interventions": swapped if swap else [],
        }
    )
    metrics: list[dict[str, Any]] = []
    Simulation(scenario).run_sync(lambda result: metrics.append(result.metrics))
    return {
        (name, effect): float(np.nanmean([row[name] for row in metrics[first:]]))
        for effect, first in (("whole", given.warm_up), ("middle", given.steps // 2))
        for name in METRICS
    }


def _compare(a: F64, b: F64, lone_a: F64, lone_b: F64, rng: np.random.Generator) -> dict[str, Any]:
    n = len(a)
    paired, parts = float(np.var(b - a, ddof=1)) / n, [float(np.var(x, ddof=1)) / n for x in (lone_a, lone_b)]
    disjoint = sum(parts)
    same = float(np.var(a, ddof=1) + np.var(b, ddof=1)) / n
    out = {
        "effect_paired": float(np.mean(b - a)),
        "effect_disjoint": float(np.mean(lone_b) - np.mean(lone_a)),
        "variance_paired": paired,
        "variance_disjoint": disjoint,
        "variance_same_runs_unpaired": same,
        "correlation": float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else None,
    }
    if paired <= 1e-20 * max(disjoint, 1e-300):
        return {**out, "ratio": None, "f": None, "bootstrap": None, "same_runs_ratio": None}  # pairs differ by nothing
    ratio = disjoint / paired
    degrees = disjoint**2 / sum(part**2 / (n - 1) for part in parts)
    sides = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    bounds = [ratio / float(f.ppf(side, degrees, n - 1)) for side in reversed(sides)]
    draws = np.fromiter(_draws(b - a, lone_a, lone_b, rng), float)
    return {
        **out,
        "ratio": ratio,
        "f": bounds,
        "bootstrap": [float(x) for x in np.quantile(draws, sides)],
        "same_runs_ratio": same / paired,
    }


def _draws(d: F64, a: F64, b: F64, rng: np.random.Generator) -> Iterator[float]:
    n = len(d)
    var = [x[rng.integers(0, n, (DRAWS, n))].var(axis=1, ddof=1) for x in (d, a, b)]
    with np.errstate(divide="ignore", invalid="ignore"):
        yield from (var[1] + var[2]) / var[0]


if __name__ == "__main__":
    main()
