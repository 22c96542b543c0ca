"""Misuse of the Python API is named before anything happens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from oasis import OasisError, Question, Scenario, Simulation, open_run
from oasis.errors import InputError, RunDirectoryError, ScenarioError

SCENARIO = Scenario.from_dict({"simulation": {"steps": 2}, "population": {"agents": 20}, "output": {"report": False}})


@pytest.mark.parametrize("values", [None, [1], "text"])
def test_a_scenario_of_another_type(values: Any) -> None:
    with pytest.raises(ScenarioError, match="table of tables"):
        Scenario.from_dict(values)


def test_a_simulation_of_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"got dict; see Scenario\.load"):
        Simulation({"simulation": {"steps": 2}})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size"):
        Simulation(SCENARIO, batch_size=0)
    with pytest.raises(RunDirectoryError, match="is there already"):
        Simulation(SCENARIO, tmp_path)


@pytest.mark.parametrize(
    "keys",
    [
        {"text": " "},
        {"text": "How?", "scale": (7, 1)},
        {"text": "How?", "scale": (1, float("inf"))},
        {"text": "How?", "options": ("a",)},
        {"text": "How?", "options": ("a", "a")},
        {"text": "How?", "options": ("a", "b"), "scale": (1, 7)},
    ],
)
def test_questions_that_have_no_answer(keys: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Question("q", **keys)


def test_agents_that_are_none() -> None:
    simulation = Simulation(SCENARIO)
    for agent in (20, -1):
        with pytest.raises(InputError, match="allowed: 0 to 19"):
            asyncio.run(simulation.interview([agent], Question("q", "How?")))


def test_run_sync_where_a_loop_runs() -> None:
    async def cell() -> None:
        Simulation(SCENARIO).run_sync()

    with pytest.raises(RuntimeError, match=r"await simulation\.run\(\)"):
        asyncio.run(cell())


def test_after_the_end(tmp_path: Path) -> None:
    simulation = Simulation(SCENARIO, tmp_path / "run")
    with pytest.raises(RuntimeError, match="not ended"):
        _ = simulation.summary
    simulation.run_sync()
    with pytest.raises(RuntimeError, match="has ended"):
        simulation.inject("ban", agent=1)
    with pytest.raises(RuntimeError, match="runs once"):
        simulation.run_sync()
    with pytest.raises(OasisError, match="did you mean 'events'"):
        open_run(tmp_path / "run").table("event")
