"""``oasis run --from-manifest``: the same run again, from wherever it is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from oasis import Scenario, Simulation, branch, open_run
from oasis.cli import main
from oasis.testing.servers import StubServer

SCENARIO = """
[simulation]
steps = 4
seed = 3
[population]
source = "x-csv"
path = "data/users.csv"
mean_active = 0.9
[recsys]
embedder = "hashed-ngrams"
[output]
report = false
"""


def _oasis(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def _again(*arguments: str | Path, code: int = 0) -> Result:
    return _oasis("run", "--quiet", "--from-manifest", *arguments, code=code)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run that was made in one folder, moved into another, which is where we are."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "data").mkdir(parents=True)
    elsewhere.mkdir()
    rows = "\n".join(f"{i},user{i},[{(i + 1) % 6}]" for i in range(6))
    (home / "data/users.csv").write_text(f"user_id,username,following_agentid_list\n{rows}\n")
    (home / "s.toml").write_text(SCENARIO)
    monkeypatch.chdir(home)
    _oasis("run", "s.toml", "--quiet")
    (home / "runs/s").rename(elsewhere / "moved")
    monkeypatch.chdir(elsewhere)
    return Path("moved")


def _edit(run: Path, **fields: Any) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_same_again(recorded: Path) -> None:
    assert "the same as recorded" in _again(recorded).stdout
    facts = json.loads(_again(recorded / "manifest.json", "--json", "--seed", "3", "--set", "output.sync=false").stdout)
    assert facts["same"] is True
    assert facts["out"] == "runs/s-again-2"
    shutil.copy(recorded / "manifest.json", "alone.json")
    shutil.rmtree(recorded)
    assert "the same as recorded" in _again("alone.json", "--out", "third").stdout
    assert "lies in the run" in _again("third", "--out", "third/new", code=2).stderr
    assert "is there already" in _again("alone.json", "--out", "third", code=2).stderr


def test_what_was_injected_is_injected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"simulation": {"steps": 4}, "population": {"agents": 20, "mean_active": 0.5}, "output": {"report": False}}
    simulation = Simulation(Scenario.from_dict(values), "run")
    simulation.inject("post", author=3, content="Breaking")
    simulation.run_sync(lambda result: simulation.inject("ban", agents=[1]) if result.step == 2 else None)
    assert "the same as recorded" in _again("run", "--out", "again").stdout
    injected = open_run("again").manifest.injected
    assert injected == open_run("run").manifest.injected
    assert len(injected) == 2


def test_a_different_end_fails_and_names_the_first_step(recorded: Path) -> None:
    _edit(recorded, state_hash="00")
    failed = _again(recorded, code=1)
    assert "not the same as recorded" in failed.stderr
    assert "is the first to differ" not in failed.stderr  # every step is as it was
    _edit(
        recorded,
        scenario=open_run(recorded).manifest.scenario
        | {"interventions": [{"step": 3, "kind": "ban", "agents": [0, 1, 2, 3, 4]}]},
    )
    failed = _again(recorded, "--json", code=1)
    facts = json.loads(failed.stdout)
    assert (facts["same"], facts["first_different_step"]) == (False, 3)
    assert "step 3 is the first to differ" in failed.stderr


def test_other_results_make_it_another_run(recorded: Path) -> None:
    for arguments in (["--seed", "4"], ["--set", "simulation.steps=2"], ["--set", "recsys.kind=random"]):
        facts = json.loads(_again(recorded, "--json", *arguments).stdout)
        assert facts["same"] is None
        assert "another run" in facts["compared"]


@pytest.mark.parametrize(
    ("change", "what"),
    [(lambda p: p.write_bytes(p.read_bytes().replace(b"user3", b"user9")), "was changed"), (Path.unlink, "is missing")],
)
def test_inputs_are_checked_first(recorded: Path, change: Callable[[Path], Any], what: str) -> None:
    users = Path("../home/data/users.csv").resolve()
    shutil.copy(users, "copy.csv")
    change(users)
    error = _again(recorded, code=2).stderr
    assert f"population.path: {users} {what}" in error
    assert not Path("runs").exists()
    assert "the same as recorded" in _again(recorded, "--set", "population.path=copy.csv").stdout


def test_other_versions_are_warned_of(recorded: Path) -> None:
    manifest = open_run(recorded).manifest
    _edit(recorded, versions=manifest.versions | {"numpy": "1.0", "system": "other"}, code_hash="ff")
    warnings = [line for line in _again(recorded).stderr.splitlines() if line.startswith("Warning")]
    assert warnings[0].startswith("Warning: numpy was 1.0, is ")
    assert "the code of oasis-sim" in warnings[1]
    assert len(warnings) == 2


def test_a_model_that_answers_differently_is_reported_without_failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with StubServer() as server:
        values = {
            "simulation": {"steps": 3},
            "population": {"agents": 20, "mean_active": 0.5},
            "policies": [{"kind": "llm"}],
            "llm": {"endpoints": [server.url], "model": "stub"},
            "output": {"report": False},
        }
        Simulation(Scenario.from_dict(values), "run").run_sync()
        assert "the same as recorded" in _again("run").stdout
    with StubServer(seed=1) as other:
        said = _again("run", "--llm", other.url).stdout
    assert "not the same as recorded" in said
    assert "'oasis replay'" in said


def test_runs_that_were_not_done(recorded: Path) -> None:
    _edit(recorded, status="stopped", steps_done=4)
    assert "the same as recorded up to step 4; the recorded run was not done (stopped)" in _again(recorded).stdout
    (recorded / "metrics.parquet").write_bytes(b"damaged")
    assert "its steps are not at hand" in _again(recorded).stdout
    _edit(recorded, status="done")
    assert "the same as recorded" in _again(recorded).stdout  # of a done run the state hash is enough


def test_a_branch_is_made_again_from_where_its_own_scenario_begins(tmp_path: Path) -> None:
    values = {"simulation": {"steps": 5}, "population": {"agents": 30, "mean_active": 0.4}, "output": {"report": False}}
    Simulation(Scenario.from_dict(values), tmp_path / "run").run_sync()
    branch(tmp_path / "run", 3, tmp_path / "hot", ["recsys.kind=hot"]).run_sync()
    shutil.rmtree(tmp_path / "run")
    assert "the same as recorded" in _again(tmp_path / "hot", "--out", tmp_path / "again").stdout
    assert open_run(tmp_path / "again").manifest.past == open_run(tmp_path / "hot").manifest.past


def test_bad_usage(recorded: Path, tmp_path: Path) -> None:
    for arguments in ([], ["../home/s.toml", "--from-manifest", recorded]):
        assert "either SCENARIO" in _oasis("run", *arguments, code=2).stderr
    assert "no such run directory" in _again("none", code=2).stderr
    assert "too long" in _again("n" * 300, code=2).stderr
    assert "it has no manifest.json" in _again(tmp_path, code=2).stderr
    assert "not valid JSON" in _again("../home/s.toml", code=2).stderr
    _edit(recorded, past=[{"last_step": 2, "scenario": {}}])
    alone = recorded / "manifest.json"
    assert "is a branch of another run" in _again(alone, code=2).stderr
    parent = {"run_id": "ab", "name": "p", "path": "/a/p", "step": 2, "step_digest": "cd"}
    _edit(recorded, parent=parent)
    assert "give its run directory" in _again(alone, code=2).stderr
    _edit(recorded, parent=None, past=[], scenario={"simulation": {"steps": "x"}})
    assert "simulation.steps" in _again(recorded, code=2).stderr
