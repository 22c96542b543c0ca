"""Scenarios load, round-trip, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from oasis.errors import ScenarioError
from oasis.scenario import Scenario

GOOD = """
[simulation]
steps = 4
[population]
path = "data/users.csv"
source = "x-csv"
[[policies]]
kind = "choice"
[[interventions]]
step = 2
kind = "ban"
agents = [1, 2]
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "case.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_becomes_a_scenario_and_round_trips(tmp_path: Path) -> None:
    scenario = Scenario.load(_write(tmp_path, GOOD))
    assert scenario.simulation.name == "case"
    assert scenario.population.path == str(tmp_path / "data/users.csv")
    assert scenario.interventions[0].agents is not None
    assert scenario.interventions[0].agents.ids == [1, 2]
    assert Scenario.from_dict(scenario.to_dict()) == scenario


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("simulation.steps=9", 9),
        ("simulation.steps = 9", 9),
    ],
)
def test_overrides(tmp_path: Path, override: str, expected: int) -> None:
    assert Scenario.load(_write(tmp_path, GOOD), [override]).simulation.steps == expected


def test_overrides_reach_lists_and_bare_words(tmp_path: Path) -> None:
    scenario = Scenario.load(_write(tmp_path, GOOD), ["policies.0.share=0.5", "platform.kind=reddit", "llm.model=a/b"])
    assert (scenario.policies[0].share, scenario.platform.kind, scenario.llm.model) == (0.5, "reddit", "a/b")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[simulation]\nsteps = 0", ["simulation.steps", "0"]),
        ("[simulation]\nstep = 3", ["simulation.step", "did you mean 'steps'"]),
        ("[simulaton]\nsteps = 3", ["simulaton", "did you mean 'simulation'"]),
        ("[simulation\nsteps = 3", ["not valid TOML", "line 1"]),
        ("[simulation]\nsteps = 3\n[recsys]\nsiz = 3", ["recsys.siz", "did you mean 'size'"]),
        ("[simulation]\nsteps = 3\n[platform]\nactions = ['like']", ["platform.actions", "'like'", "like_post"]),
        ("[simulation]\nsteps = 3\n[platform]\nactions = []", ["platform.actions", "at least one"]),
        ("[simulation]\nsteps = 3\nwarmup_steps = 3", ["warmup_steps", "below steps"]),
        ("[simulation]\nsteps = 3\n[population]\nmean_active = nan", ["population.mean_active", "nan"]),
        ("[simulation]\nsteps = 3\n[population]\nmean_active = 1.5", ["population.mean_active", "1.5"]),
        ("[simulation]\nsteps = 3\n[[policies]]\nkind = 'choice'\nshare = 2", ["policies.0.share", "2"]),
        ("[simulation]\nsteps = 3\n[[policies]]\nshare = 0.1", ["policies.0.kind"]),
        ("[simulation]\nsteps = 3\n[[policies]]\nkind = 'llm'\nsahre = 0.1", ["policies.0.sahre", "'share'"]),
        ("[simulation]\nsteps = 3\n[[interventions]]\nkind = 'ban'", ["interventions.0.step"]),
        ("[simulation]\nsteps = 3\nseed = 'x'", ["simulation.seed", "'x'"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ScenarioError) as error:
        Scenario.load(_write(tmp_path, text))
    for part in parts:
        assert part in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("override", ["simulation.steps", "=3", "simulation.steps.x=3", "policies.7.kind=llm"])
def test_bad_overrides(tmp_path: Path, override: str) -> None:
    with pytest.raises(ScenarioError, match="--set"):
        Scenario.load(_write(tmp_path, GOOD), [override])


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="no such scenario file"):
        Scenario.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(tmp_path / "bad.toml")
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(tmp_path)
