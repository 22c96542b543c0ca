"""Group polarization: primes and stances are the same in all arms, nobody moves alone, averaging brings together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from oasis.cli.main import main
from oasis.errors import InputError, ScenarioError
from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.interfaces import Cell, Setting
from oasis.experiments.phenomena.dilemma import opinions_of_stances, population_of, waves
from oasis.experiments.phenomena.polarization import Polarization
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import gather
from oasis.experiments.work import make_cell
from oasis.plugins import load
from oasis.runs import open_run
from oasis.scenario import Scenario
from oasis.testing.llama import why_no_llama

REAL = Path(os.environ.get("OASIS_DATA", "/nowhere")) / "x"
DESIGN = Design.load(Polarization.design)
BUSY = {"population.agents": 40, "population.mean_active": 1.0, "simulation.steps": 13, "recsys.kind": "random"}


def begin(path: Path, arms: dict[str, dict[str, Any]], replicates: int = 1, **changes: Any) -> ExperimentFolder:
    """Return an experiment of a small, busy world in which all read a good deal of all others."""
    base = next(iter(arms))
    values = DESIGN.to_dict()
    values["experiment"] |= {"baseline": base}
    values["arms"] = [{"name": name, "set": keys} for name, keys in arms.items()]
    values["outcomes"] = [{**o, "arms": "*"} for o in values["outcomes"]]
    request = Request(replicates=replicates, changes={**BUSY, **changes})
    return ExperimentFolder.begin(path, Design.from_dict(values), request)


def made(folder: ExperimentFolder) -> pl.DataFrame:
    """Make all runs; return the outcomes, a row per arm and replicate."""
    for number in range(len(folder.cells)):
        assert make_cell(folder.path, number) is None
    values = gather(folder).values
    return values.pivot("outcome", index=["arm", "replicate"], values="value", aggregate_function="first")


def rule(**parameters: Any) -> dict[str, Any]:
    return {"policies.0.parameters.opinion": parameters}


def prepared(arm: str, data: Path | None = None, seed: int = 3) -> Scenario:
    scenario = DESIGN.arm_scenario(next(a for a in DESIGN.arms if a.name == arm))
    return Polarization().prepare(scenario, Cell(arm, {}, 1, seed), Setting(DESIGN.parameters, data))


def primed(scenario: Scenario) -> pl.DataFrame:
    """Return who was primed how: ``agent, group, stance, persona``."""
    edits = [i for i in scenario.interventions if i.kind == "edit_profile"]
    rows = [{"agent": i.agents.ids[0], **i.arguments} for i in edits if i.agents is not None and i.agents.ids]
    return pl.DataFrame(rows, {"agent": pl.Int64, "group": pl.String, "stance": pl.Float64, "persona": pl.String})


def test_low_is_risk_and_the_middle_is_the_middle() -> None:
    assert opinions_of_stances([-1, 0, 1]).tolist() == [1.0, 5.5, 10.0]
    assert waves(13, 6) == [1, 7, 13]
    assert waves(12, 6) == [1, 7, 12]
    assert waves(1, 6) == [1]


def test_primes_move_means_and_a_mix_has_half_of_each() -> None:
    risky, cautious, mixed = (primed(prepared(f"{name}-alone")) for name in ("risky", "cautious", "mixed"))
    assert risky["stance"].mean() < -0.3 < 0.3 < cautious["stance"].mean()  # type: ignore[operator]
    assert mixed["group"].value_counts(sort=True)["count"].to_list() == [98, 98]
    of_group = {"risky": risky["stance"], "cautious": cautious["stance"]}
    assert all(of_group[group][agent] == stance for agent, group, stance, _ in mixed.rows())
    assert all(frame["stance"].null_count() == 1 for frame in (risky, cautious, mixed))  # the poser's
    assert "safe than sorry" in cautious["persona"][0]
    assert "safe than sorry" not in risky["persona"][0]


def test_arms_of_a_replicate_share_primes_and_replicates_differ() -> None:
    same = [primed(prepared(f"mixed-{arm}")) for arm in ("alone", "deffuant", "fj-shuffled")]
    assert_frame_equal(same[0], same[1])
    assert_frame_equal(same[0], same[2])
    assert not primed(prepared("mixed-alone", seed=4)).equals(same[0])


def test_nobody_moves_alone_and_full_susceptibility_brings_together(tmp_path: Path) -> None:
    """DeGroot (1974): averaging over a connected graph contracts the variance, so it polarizes nobody."""
    degroot = rule(rule="friedkin-johnsen", susceptibility=1.0, self_weight=0.5)
    alone = {**degroot, "baseline.kind": "no-interaction"}
    folder = begin(tmp_path / "x", {"cautious-alone": alone, "cautious-degroot": degroot})
    found = made(folder)
    first, second = found.sort("arm").rows(named=True)
    assert first["shift"] == 0.0
    assert first["variance_change"] == 0.0
    assert first["final_mean"] == first["first_mean"] > 6
    assert second["variance_change"] < -0.95
    people = gather(folder).table("opinions").filter(pl.col("arm") == "cautious-degroot")
    assert people["first"].min() <= people["last"].min()  # type: ignore[operator]
    assert people["last"].max() <= people["first"].max()  # type: ignore[operator]
    assert first["answered"] == second["answered"] == 1.0


def test_a_small_confidence_keeps_two_clusters_and_a_large_one_merges_them(tmp_path: Path) -> None:
    """Deffuant et al. (2000): opinions further apart than the confidence never meet."""
    arms = {
        "mixed-narrow": rule(rule="deffuant", confidence=0.3, convergence=0.5),
        "mixed-wide": rule(rule="deffuant", confidence=2.0, convergence=0.5),
    }
    folder = begin(tmp_path / "x", arms)
    values = folder.design.to_dict()
    values["parameters"] |= {"stance_sd": 0.05}  # within a half all are near, the halves 0.8 apart
    folder = ExperimentFolder.begin(tmp_path / "y", Design.from_dict(values), folder.request)
    narrow, wide = made(folder).sort("arm").rows(named=True)
    assert narrow["bimodality"] > 0.8  # of two points 0.88, corrected for 39 agents
    assert abs(narrow["group_shift"]) < 0.1
    assert narrow["variance_change"] > -0.1
    assert wide["group_shift"] < -1.0
    assert wide["variance_change"] < -0.9


def test_the_same_seed_gives_the_same_and_the_report_names_what_it_is(tmp_path: Path) -> None:
    arms = {"risky-alone": {"baseline.kind": "no-interaction"}, "risky-deffuant": rule(rule="deffuant")}
    folders = [begin(tmp_path / name, arms, **{"simulation.steps": 5}) for name in ("a", "b")]
    first, second = (made(folder) for folder in folders)
    assert_frame_equal(first, second, check_exact=True)
    assert first.filter(pl.col("arm") == "risky-deffuant")["variance_change"].item() < 0
    write_experiment_report(folders[0])
    page = (folders[0].path / "report.html").read_text("utf-8")
    for words in ("Model consequence", "Populations are generated", "low is risk", "DeGroot", "source: model"):
        assert words in page, words


def test_arms_are_compared_with_their_own_population() -> None:
    choice, llm = DESIGN.decided_by("choice"), DESIGN.decided_by("llm")
    assert [a.name for a in llm.arms if population_of(a.name) == "mixed"] == [
        "mixed-alone",
        "mixed-reading",
        "mixed-reading-shuffled",
    ]
    assert not any("reading" in a.name for a in choice.arms)
    asking = DESIGN.model_copy(update={"scenario": {**DESIGN.scenario, "policies": [{"kind": "llm"}]}})
    assert (DESIGN.asks_model, asking.asks_model) == (False, True)
    for arm in [*choice.arms, *llm.arms]:
        assert population_of(arm.against or DESIGN.experiment.baseline) == population_of(arm.name)


def test_an_arm_against_another_is_compared_with_that_alone(tmp_path: Path) -> None:
    arms = {"risky-alone": {}, "cautious-alone": {}, "cautious-deffuant": rule(rule="deffuant")}
    folder = begin(tmp_path / "x", arms, 2, **{"simulation.steps": 2})
    values = folder.design.to_dict()
    values["arms"][1]["against"] = values["arms"][2]["against"] = "cautious-alone"
    values["outcomes"][0]["arms"] = "risky-*"
    folder = ExperimentFolder.begin(tmp_path / "y", Design.from_dict(values), folder.request)
    made(folder)
    effects = gather(folder).effects
    assert set(effects.select("arm", "baseline").rows()) == {("cautious-deffuant", "cautious-alone")}
    assert values["outcomes"][0]["name"] not in effects["outcome"].to_list()
    values["arms"][1]["against"] = "cautious-alne"
    with pytest.raises(ScenarioError, match="against 'cautious-alne' .did you mean 'cautious-alone'"):
        Design.from_dict(values)
    values["arms"][1]["against"], values["outcomes"][0]["arms"] = None, "reddish-*"
    with pytest.raises(ScenarioError, match="is of arms 'reddish-.'"):
        Design.from_dict(values)
    values["outcomes"][0]["arms"], values["arms"][0]["deciders"] = "*", "llm"
    with pytest.raises(ScenarioError, match="'risky-alone', which others are compared with"):
        Design.from_dict(values).decided_by("choice")


def test_bad_input_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'calm-alone' does not say which population"):
        population_of("calm-alone")
    with pytest.raises(InputError, match=r"197_progressive\.csv: is not there"):
        prepared("risky-alone", tmp_path)
    asked = ["experiment", "run", "polarization", "--quiet", "--out", str(tmp_path / "out")]
    for extra, words in (
        (["--data", str(tmp_path)], "197_progressive.csv"),
        (["--set", "population.agents=1"], "poser"),
        (["--model-path", str(tmp_path / "none.gguf")], "no such file"),
    ):
        result = CliRunner().invoke(main, [*asked, *extra])
        assert result.exit_code == 2, result.output
        assert words in result.output
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="OASIS_DATA names no folder with x/197_*.csv")
def test_real_accounts_have_the_persona_of_their_prime_and_the_poser_no_stance() -> None:
    risky, cautious, mixed = (prepared(f"{name}-alone", REAL) for name in ("risky", "cautious", "mixed"))
    texts = {name: primed(s)["persona"] for name, s in (("risky", risky), ("cautious", cautious))}
    assert len(texts["risky"]) == 196
    for agent, group, stance, persona in primed(mixed).rows():
        assert persona == texts[group][agent]
        assert (stance is None) == (agent == 1)
    assert primed(mixed)["group"].value_counts()["count"].to_list() == [98, 98]
    questions = [i for i in risky.interventions if i.kind == "interview"]
    assert questions[0].arguments["question"].startswith("Helen is a talented writer")
    assert not any(i.kind == "post" for i in risky.interventions)  # the poser's tweet is in the data
    assert Path(str(cautious.population.path)).name == "197_baoshou.csv"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="OASIS_DATA names no folder with x/197_*.csv")
def test_a_run_on_real_accounts_is_measured(tmp_path: Path) -> None:
    arms = {"mixed-alone": {"baseline.kind": "no-interaction"}, "mixed-deffuant": rule(rule="deffuant")}
    values = DESIGN.to_dict()
    values["experiment"]["baseline"] = "mixed-alone"
    values["arms"] = [{"name": name, "set": keys} for name, keys in arms.items()]
    request = Request(replicates=1, changes={"simulation.steps": 7}, data=str(REAL))
    folder = ExperimentFolder.begin(tmp_path / "real", Design.from_dict(values), request)
    alone, read = made(folder).sort("arm").rows(named=True)
    assert alone["variance_change"] == alone["group_shift"] == 0.0
    assert read["variance_change"] < 0
    assert open_run(folder.place(folder.cells[0]) / "run").manifest.coverage.registered == 196


@pytest.mark.llm
@pytest.mark.timeout(300)
@pytest.mark.skipif(why_no_llama() is not None, reason=str(why_no_llama()))
def test_a_language_model_in_this_process_answers_and_reads(tmp_path: Path) -> None:
    small = {"population.agents": "4", "population.mean_follows": "1", "population.mean_active": "0.4"}
    small |= {"simulation.steps": "2", "llm.failure_limit": "1.0"}
    asked = ["experiment", "run", str(_only(tmp_path, "risky")), "--llm", "local", "--replicates", "1", "--jobs", "1"]
    asked += ["--quiet", "--out", str(tmp_path / "out"), *(f"--set={k}={v}" for k, v in small.items())]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    folder = ExperimentFolder.open(tmp_path / "out")
    assert [cell.arm for cell in folder.cells] == ["risky-alone", "risky-reading"]
    run = open_run(folder.place(folder.cells[1]) / "run")
    assert run.manifest.coverage.decided_by.keys() == {"llm"}
    answers = run.interviews.collect().with_columns(pl.col("source", "outcome").cast(pl.String))
    assert answers["source"].unique().to_list() == ["llm"]
    assert answers["step"].unique().sort().to_list() == [1, 2]
    asked_of = answers["question_id"].value_counts().sort("question_id")
    assert asked_of.rows() == [("advice", 6), ("dilemma", 6)]  # all but the poser, twice
    given = answers.filter((pl.col("outcome") == "accepted") & (pl.col("question_id") == "dilemma"))["value"]
    assert len(given)
    assert given.is_between(1, 10).all()
    outcomes = gather(folder).outcome("answered")["value"].to_numpy()
    assert np.isfinite(outcomes).all()
    page = (folder.path / "report.html").read_text("utf-8")
    assert "Experiment with a language model" in page


def _only(folder: Path, population: str) -> Path:
    """Write the installed design with the arms of one population that are read by a model, without shuffled feeds."""
    text = Path(load("experiments", "polarization").design).read_text("utf-8")
    head, *arms = text.split("[[arms]]")
    last, outcomes = arms[-1].split("# A quarter", 1)
    keep = [arm for arm in [*arms[:-1], last] if f'name = "{population}-' in arm and "shuffled" not in arm]
    tail = "# A quarter" + outcomes.replace('arms = "mixed-*"', "")
    path = folder / "small.toml"
    path.write_text("[[arms]]".join([head.replace("every = 6", "every = 1"), *keep]) + tail)
    return path
