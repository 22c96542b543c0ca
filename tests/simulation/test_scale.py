"""What a step costs follows the agents that are active, not those that are registered: counted, not timed."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from oasis import Scenario, Simulation
from oasis.kernels import feeds
from oasis.recsys import products
from oasis.simulation import engine

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def work_of_a_step(registered: int, active: int, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, float], int]:
    """Return what the third step of X by `interest` works on per active agent, and the bytes allocated to observe.

    There are 2,000 earlier posts, however many agents there are.
    """
    work: Counter[str] = Counter()

    def counted(module: ModuleType, name: str, count: Callable[..., dict[str, int]]) -> None:
        original = getattr(module, name)

        def call(*arguments: Any) -> Any:
            work.update(count(*arguments))
            return original(*arguments)

        monkeypatch.setattr(module, name, call)

    def selected(*arguments: Any) -> dict[str, int]:
        agents = len(arguments[-1])  # `counts`, one per agent
        return {"agents compared": agents, "pairs of agent and text": agents * sizes["texts"]}

    def followed(*arguments: Any) -> dict[str, int]:
        follow_ptr = arguments[3]
        return {"follows looked up": int(follow_ptr[-1] - follow_ptr[0])}

    sizes = {"texts": 0}
    gather = products.pack

    def pack(pool: np.ndarray) -> Any:
        sizes["texts"] = len(pool)
        return gather(pool)

    monkeypatch.setattr(products, "pack", pack)
    if products.has_byte_products():
        counted(products, "similar_to", selected)
    counted(feeds, "followed", followed)
    observe = engine.observe

    def observed(*arguments: Any) -> Any:
        tracemalloc.start()
        seen = observe(*arguments)
        work["bytes"] += tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        work["posts shown"] += len(seen.feeds.post_ids)
        return seen

    monkeypatch.setattr(engine, "observe", observed)
    counted(engine, "commit", lambda world, platform, batch, ctx: {"actions": len(batch)})
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 3},
            "recsys": {"kind": "interest", "embedder": "hashed-ngrams"},
            "population": {
                "agents": registered, "mean_active": active / registered, "activity_sigma": 0.0, "day_rhythm": 0.0,
                "mean_follows": 20, "follows_sigma": 0.0, "history": 2_000 / registered,
            },
        }
    )  # fmt: skip
    results = []

    def keep(result: Any) -> None:
        results.append(result)
        if len(results) < 3:
            work.clear()

    Simulation(scenario).run_sync(keep)
    monkeypatch.undo()
    work["rows recorded"] = results[-1].impressions.num_rows + results[-1].events.num_rows
    allocated = work.pop("bytes")
    return {name: count / len(results[-1].active) for name, count in work.items()}, allocated


def test_work_follows_active_agents_not_registered_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Per active agent a step works on the same, be 300 of 2,000 or of 20,000 agents active, or 1,200."""
    few, few_bytes = work_of_a_step(2_000, 300, monkeypatch)
    many, many_bytes = work_of_a_step(20_000, 300, monkeypatch)
    busy, busy_bytes = work_of_a_step(20_000, 1_200, monkeypatch)
    assert set(few) == set(many) == set(busy) >= {"follows looked up", "posts shown", "actions", "rows recorded"}
    for name in few:
        assert many[name] <= 1.25 * few[name], f"{name}: grows with registered agents"
        assert busy[name] <= 1.25 * many[name], f"{name}: grows faster than active agents"
    # Pointers into lists by agent are made anew when lists change: a few bytes each, no column of all agents.
    assert many_bytes <= 1.25 * few_bytes + 48 * 18_000
    assert busy_bytes <= 4 * 1.25 * many_bytes


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__("scale")


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_the_benchmark_measures_whole_steps(scale: ModuleType, tmp_path: Path, platform: str) -> None:
    scale.make(300, [20, 60], tmp_path / "people")
    few, many = (
        {"meant": active, **scale.measure(platform, tmp_path / "people" / str(active), 3, tmp_path / str(active))}
        for active in (20, 60)
    )
    for setting in (few, many):
        assert setting["registered"] == 300
        assert setting["meant"] / 2 <= setting["active"] <= 2 * setting["meant"]
        measured = setting["step_s_per_step"][scale.WARM_UP :]
        assert len(measured) == 3
        for seconds, phases in zip(measured, setting["phases_per_step"], strict=True):
            assert sum(phases.values()) == pytest.approx(seconds, abs=1e-3)
            assert all(value >= 0 for value in phases.values())
        numbers = [value for value in setting.values() if isinstance(value, float | int)]
        assert np.isfinite([*numbers, *setting["counts"].values()]).all()
        assert setting["feed_rows"] > setting["active"]
        assert setting["counts"]["stream_bytes"] > 0
    (row,) = scale.growth([few, many])
    assert row["ratio"] == round(many["step_s"] / few["step_s"], 3)
    limits = scale.of_limit(many, {"copy": 1e10, "float32": 1e11, "disk": 1e9})
    assert {row["phase"] for row in limits} == set(many["seconds"]) - {"interventions"}
    assert all(row["limit_s"] >= 0 for row in limits)


def test_settings_are_five_percent_and_the_two_largest(scale: ModuleType) -> None:
    assert scale.settings([1_000, 100_000, 1_000_000, 10_000], [5_000, 50_000]) == [
        (1_000, 50), (10_000, 500), (100_000, 5_000), (100_000, 50_000), (1_000_000, 5_000), (1_000_000, 50_000),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_benchmark_writes_all_it_promises(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "scale.py"), "--agents", "300", "600", "--active", "20", "40"]
    command += ["--steps", "3", "--copy-megabytes", "16", "--out", str(tmp_path)]
    printed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert printed == json.loads((tmp_path / "scale.json").read_text())
    assert len(printed["settings"]) == len(scale_pairs(printed)) == 6
    assert (tmp_path / "scale.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "scale.parquet").exists()


def scale_pairs(printed: dict[str, Any]) -> set[tuple[int, int]]:
    return {(setting["registered"], setting["meant"]) for setting in printed["settings"]}
