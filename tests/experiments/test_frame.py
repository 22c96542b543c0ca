"""Experiments as a whole: designs are checked, runs paired, what is done stays done, and reports say what it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from oasis.cli.main import main
from oasis.errors import InputError, RunDirectoryError, ScenarioError
from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import gather
from oasis.experiments.work import make_cell
from oasis.plugins import available, load
from oasis.runs import open_run

ARMS = [
    {"name": "chronological", "set": {"recsys.kind": "chronological"}},
    {"name": "random", "set": {"recsys.kind": "random"}},
]


def values(**changes: Any) -> dict[str, Any]:
    """Return a small design."""
    config = {"name": "small", "kind": "recsys-ab", "title": "T", "question": "Q?", "baseline": "chronological"}
    return {
        "experiment": {**config, "replicates": 5},
        "scenario": {
            "simulation": {"steps": 3},
            "population": {"agents": 40, "mean_active": 0.4},
            "output": {"sync": False, "checkpoint_steps": 1},
        },
        "arms": ARMS,
        "outcomes": [
            {"name": "author_gini", "label": "G", "family": "f", "margin": 0.5},
            {"name": "reach", "label": "R", "family": "f"},
        ],
        **changes,
    }


def begin(path: Path, replicates: int = 5, request: dict[str, Any] | None = None, **changes: Any) -> ExperimentFolder:
    return ExperimentFolder.begin(
        path, Design.from_dict(values(**changes)), Request(replicates=replicates, **(request or {}))
    )


def make(folder: ExperimentFolder) -> None:
    for number in range(len(folder.cells)):
        assert make_cell(folder.path, number) is None


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    folder = begin(tmp_path_factory.mktemp("experiment") / "small")
    make(folder)
    write_experiment_report(folder)
    return folder


def test_every_installed_design_is_whole() -> None:
    for name in available("experiments"):
        design = Design.load(load("experiments", name).design)
        assert design.experiment.name == name
        assert Design.from_dict(design.to_dict()).to_dict() == design.to_dict()
        assert {o.name for o in design.outcomes} <= load("experiments", name).outcomes


def test_runs_of_a_replicate_share_seed_and_population(done: ExperimentFolder) -> None:
    by_replicate: dict[int, set[tuple[int, str]]] = {}
    for cell in done.cells:
        run = open_run(done.place(cell) / "run")
        bios = "|".join(run.users.sort("agent_id").select("bio").collect()["bio"])
        by_replicate.setdefault(cell.replicate, set()).add((run.manifest.seed, bios))
    assert all(len(found) == 1 for found in by_replicate.values())
    assert len({seed for found in by_replicate.values() for seed, _ in found}) == 5


def test_effects_are_paired_differences(done: ExperimentFolder) -> None:
    effects = pl.read_parquet(done.path / "effects.parquet")
    assert effects["arm"].to_list() == ["random", "random"]
    wide = gather(done).outcome("reach").pivot("arm", index="replicate", values="value")
    wanted = (wide["random"] - wide["chronological"]).mean()
    assert effects.filter(pl.col("outcome") == "reach")["estimate"].item() == pytest.approx(wanted)
    assert effects["n"].to_list() == [5, 5]
    equivalences = pl.read_parquet(done.path / "equivalences.parquet")
    assert equivalences["outcome"].to_list() == ["author_gini"]


def test_the_report_says_what_it_is(done: ExperimentFolder) -> None:
    page = (done.path / "report.html").read_text("utf-8")
    for words in (
        "Model consequence",
        "Decision coverage and cost",
        "generated",
        "Limits",
        "oasis experiment run small",
    ):
        assert words in page
    assert page.index("Decision coverage") < page.index("Comparisons")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_no_effect_below_five_replicates(tmp_path: Path) -> None:
    folder = begin(tmp_path / "few", replicates=2)
    make(folder)
    effects = write_experiment_report(folder)[0].effects
    assert effects["estimate"].null_count() == effects.height == 2


def test_what_was_stopped_goes_on_and_comes_out_the_same(done: ExperimentFolder, tmp_path: Path) -> None:
    folder = begin(tmp_path / "again")
    assert make_cell(folder.path, 0) is None
    (folder.place(folder.cells[0]) / "outcomes.json").unlink()  # died before it was measured
    folder = begin(tmp_path / "again")  # the same command
    make(folder)
    mine, theirs = gather(folder).values, gather(done).values
    assert_frame_equal(mine, theirs, check_exact=True)


def test_another_design_does_not_go_on_in_the_same_folder(done: ExperimentFolder) -> None:
    with pytest.raises(RunDirectoryError, match="another replicates"):
        begin(done.path, replicates=6)
    changed = values()["scenario"] | {"simulation": {"steps": 4}}
    with pytest.raises(RunDirectoryError, match="another design"):
        begin(done.path, scenario=changed)


def test_a_sweep_makes_points_unless_a_key_is_fixed(tmp_path: Path) -> None:
    sweep = {"recsys.size": [5, 10]}
    folder = begin(tmp_path / "sweep", replicates=1, sweep=sweep)
    assert [dict(cell.point) for cell in folder.cells] == [{"recsys.size": 5}] * 2 + [{"recsys.size": 10}] * 2
    assert {folder.scenario(cell).recsys.size for cell in folder.cells} == {5, 10}
    make(folder)
    assert set(write_experiment_report(folder)[0].effects["point"]) == {"size = 5", "size = 10"}
    fixed = begin(tmp_path / "fixed", replicates=1, sweep=sweep, request={"changes": {"recsys.size": 7}})
    assert {fixed.scenario(cell).recsys.size for cell in fixed.cells} == {7}
    assert len(fixed.cells) == 2


def test_a_run_that_fails_is_told_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin(tmp_path / "fails", replicates=1)

    def fail(*given: Any) -> None:
        raise InputError("no measure today")

    monkeypatch.setattr("oasis.experiments.phenomena.audit.RecommenderAudit.measure", fail)
    assert make_cell(folder.path, 0) == "no measure today"
    assert folder.state(folder.cells[0]).state == "failed"
    monkeypatch.undo()
    make(folder)
    assert {folder.state(cell).state for cell in folder.cells} == {"done"}


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda v: v["experiment"].update(kind="nope"), "no kind of experiment 'nope'"),
    (lambda v: v["experiment"].update(baseline="hot"), "no arm 'hot'"),
    (lambda v: v["experiment"].update(replicats=3), "did you mean"),
    (lambda v: v.update(arms=[*ARMS, ARMS[0]]), "is there twice"),
    (lambda v: v.update(arms=[{"name": "chronological", "set": {"recsys.kid": "hot"}}]), "arm 'chronological'"),
    (lambda v: v.update(sweep={"recsys.size": []}), "has no values"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_wrong_design_says_where(change: Callable[[dict[str, Any]], Any], words: str, tmp_path: Path) -> None:
    wrong = json.loads(json.dumps(values()))
    change(wrong)
    with pytest.raises(ScenarioError, match=words):
        Design.from_dict(wrong)


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="'author_gin' is not measured.*author_gini"):
        begin(tmp_path / "x", outcomes=[{"name": "author_gin", "label": "G"}])
    data = tmp_path / "empty"
    data.mkdir()
    out = tmp_path / "out"
    asked = ["experiment", "run", "misinformation", "--data", str(data), "--out", str(out), "--quiet"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 2, result.output
    assert str(data) in result.output
    assert not out.exists()
    assert CliRunner().invoke(main, ["experiment", "run", "recsys-abc"]).exit_code == 2
    assert CliRunner().invoke(main, ["experiment", "status", str(data)]).exit_code == 2


def test_status_and_report_are_of_what_is_done(done: ExperimentFolder) -> None:
    said = CliRunner().invoke(main, ["experiment", "status", str(done.path)])
    assert "10 runs: 10 done" in said.output, said.output
    facts = json.loads(CliRunner().invoke(main, ["experiment", "report", str(done.path), "--json"]).output)
    assert facts["runs"] == 10
    assert len(facts["effects"]) == 2


@pytest.mark.parametrize("name", sorted(available("experiments")))
@pytest.mark.parametrize(("key", "value"), [("bogus", 1), (None, "many")])
def test_parameters_of_every_kind_are_checked_before_anything_is_written(
    name: str, key: str | None, value: object, tmp_path: Path
) -> None:
    design = Design.load(load("experiments", name).design).to_dict()
    key = key or next(k for k, v in design["parameters"].items() if not isinstance(v, str))
    design["parameters"] |= {key: value}
    with pytest.raises(InputError, match=f"parameters.*{key}"):
        ExperimentFolder.begin(tmp_path / "x", Design.from_dict(design), Request(replicates=5))
    assert not (tmp_path / "x").exists()


def test_a_parameter_that_a_policy_does_not_take_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    key = "policies.0.parameters.coefficients.repost"
    scenario = {**values()["scenario"], "policies": [{"kind": "choice"}]}
    with pytest.raises(InputError, match="arm 'chronological', .*unknown feature repost.aeg"):
        begin(tmp_path / "x", scenario=scenario, sweep={key: [{"age": -0.1}, {"aeg": -0.2}]})
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "agents", "steps"),
    [
        ("herd", 400, 60),
        ("misinformation", 300, 15),
        ("polarization", 196, 16),
        ("recsys-ab", 300, 10),
        ("spread", 300, 20),
    ],
)
def test_a_packaged_experiment_ends_with_a_report(name: str, agents: int, steps: int, tmp_path: Path) -> None:
    smaller = ["--set", f"population.agents={agents}", "--set", f"simulation.steps={steps}"]
    command = ["experiment", "run", name, "--replicates", "2", *smaller, "--out", str(tmp_path / name), "--quiet"]
    result = CliRunner().invoke(main, [*command, "--quick"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / name / "report.html").exists()
    assert pl.read_parquet(tmp_path / name / "levels.parquet")["mean"].is_not_null().any()
