"""Fitting to cascades: a planted truth is found, real ones are parted as declared, wrong input is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

from oasis.cli import main
from oasis.errors import InputError
from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.measures import read_real_cascades, shape_distances
from oasis.experiments.phenomena.spread_fit import SpreadFit, SpreadFitParameters, real_target
from oasis.experiments.phenomena.spread_fit_report import cut_off, word
from oasis.experiments.phenomena.spread_inference import PLANTED, Fit, Target, lognormal, planted

DATA = Path(os.environ.get("OASIS_DATA", "../shared/data")) / "x"
KEY = "policies.0.parameters.coefficients.repost."


def made_up(replicates: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return tables of runs: `level` moves sizes and, through them, depths; `idle` moves nothing."""
    rng = np.random.default_rng(seed)
    cascades, drawn = [], []
    for replicate in range(1, replicates + 1):
        level, idle = (5.3, 0.5) if replicate == PLANTED else (rng.uniform(4.5, 6.5), rng.uniform())
        sizes = np.exp(rng.normal(level, 0.3, 60)).astype(np.int64)
        depths = 2 + rng.poisson(sizes / 150)
        cascades.append(pl.DataFrame({"replicate": replicate, "scale": sizes, "depth": depths}))
        drawn.append(pl.DataFrame({"replicate": replicate, "parameter": ["level", "idle"], "value": [level, idle]}))
    return pl.concat(cascades), pl.concat(drawn)


def test_a_planted_truth_is_found_and_what_moves_nothing_is_not_identified() -> None:
    cascades, drawn = made_up(300)
    others = pl.col("replicate") != PLANTED
    target = planted(cascades)
    assert target.held_out.mean() == pytest.approx(0.3)
    fit = Fit.of(drawn.filter(others), cascades.filter(others), target, ["level", "idle"], 0.1, 0.95)
    assert fit.posterior.low[0] < 5.3 < fit.posterior.high[0]
    assert fit.posterior.high[0] - fit.posterior.low[0] < 0.6
    error, covered = fit.validation
    assert [word(*values) for values in zip(fit.posterior.narrowed, error, strict=True)] == ["yes", "no"]
    assert covered[0] > 0.85
    beside = fit.beside()
    assert beside["kept draws"][1].sum() < beside["all draws"][1].sum()


def test_draws_without_cascades_of_the_right_size_are_not_compared() -> None:
    cascades, drawn = made_up(60)
    far = pl.when(pl.col("replicate") == 7).then(10**6).otherwise(pl.col("scale"))
    fit = Fit.of(drawn, cascades.with_columns(scale=far), planted(cascades), ["level", "idle"], 0.1, 0.95)
    assert not fit.enough[6]
    assert 6 not in fit.kept


def test_draws_that_the_prior_ends_are_told() -> None:
    inside = np.linspace(0.4, 0.6, 40)
    assert not cut_off(inside, 0.0, 1.0)
    assert cut_off(inside, 0.4, 1.0)
    assert cut_off(inside, 0.0, 0.6)
    assert not cut_off(np.linspace(0, 1, 40), 0.0, 1.0)  # even, as the prior


def test_the_log_normal_baseline_is_the_truncated_one() -> None:
    draws = stats.truncnorm(-1.0, 2.0, loc=5.5, scale=0.4).rvs(4000, random_state=1)
    sizes = np.round(np.exp(draws)).astype(np.int64)
    nothing = np.zeros(len(sizes), np.bool_)
    target = Target(sizes, np.ones_like(sizes), np.arange(len(sizes)), nothing, "made up")
    assert shape_distances(lognormal(target), target.shapes(~nothing))[0, 0] < 0.03


@pytest.mark.skipif(not (DATA / "cascades_99.csv").exists(), reason="real cascades are not there (OASIS_DATA)")
def test_real_cascades_are_parted_as_declared() -> None:
    design = Design.load(SpreadFit.design)
    target = real_target(DATA, SpreadFitParameters.model_validate(design.parameters).data)
    table = read_real_cascades(DATA / "cascades_99.csv").with_columns(out=pl.Series(target.held_out))
    assert 0.25 <= target.held_out.mean() <= 0.3
    assert table.filter(pl.col("topic_name").is_in(["False_Business_0", "False_Business_1"]))["out"].all()
    assert not set(table.filter("out")["root_user"]) & set(table.filter(~pl.col("out"))["root_user"])
    halves, parts = target.ceiling()
    assert (halves > 0).all()
    assert np.median(halves[:, 0]) < np.median(parts[:, 0]) + 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prior": {KEY + "age": [0.0, -1.0]}}, "first must be less"),
        ({"truth": {KEY + "interest": 1.0}}, "truth"),
        ({"prior": {KEY + "aeg": [0.0, 1.0]}, "truth": {KEY + "aeg": 0.5}}, "aeg"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_is_written(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    content = Design.load(SpreadFit.design).to_dict()
    content["parameters"] |= {"truth": {KEY + "age": -0.5}, "prior": {KEY + "age": [-1.0, 0.0]}} | change
    with pytest.raises(InputError, match=said):
        ExperimentFolder.begin(tmp_path / "x", Design.from_dict(content), Request(replicates=2))
    assert not (tmp_path / "x").exists()


def test_a_data_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    command = ["experiment", "run", "spread-fit", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "cascades_99.csv: cannot be read" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_finds_what_was_planted(tmp_path: Path) -> None:
    smaller = ["--replicates", "45", "--set", "population.agents=1500", "--set", "simulation.steps=12"]
    command = ["experiment", "run", "spread-fit", "--quick", *smaller, "--out", str(tmp_path / "fit"), "--quiet"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    said = pl.read_parquet(tmp_path / "fit" / "figures" / "fit.parquet")
    assert said["parameter"].to_list() == ["intercept", "in_network", "age"]
    intercept = said.row(0, named=True)
    assert intercept["low"] < intercept["truth"] < intercept["high"]
    assert intercept["error_cv"] < 0.7
