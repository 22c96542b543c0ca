"""The choice model fitted to recorded decisions: what made them is found again, and scored on what was held out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from click.testing import CliRunner

from oasis import Scenario, Simulation, open_run
from oasis.agents.choice import likelihood
from oasis.agents.choice.fit_data import recorded_choices
from oasis.agents.choice.fitting import fit_choices
from oasis.agents.choice.likelihood import estimate, log_likelihoods, probabilities
from oasis.cli.main import main
from oasis.errors import InputError
from oasis.inference import MockTransport, Prompt, build

PLANTED = {
    "like_post": {"intercept": -2.5, "interest": 1.0, "in_network": 0.8},
    "repost": {"intercept": -3.5, "interest": 2.0},
    "create_comment": {"intercept": -3.5},
    "follow": {"intercept": -3.5},
}
ACTIONS = ["like_post", "repost", "create_comment", "follow", "create_post", "do_nothing"]


def scenario(agents: int, steps: int, policies: list[dict[str, Any]], **further: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": steps, "seed": 3},
            "platform": {"kind": "x", "actions": ACTIONS},
            "population": {"agents": agents, "mean_active": 0.3},
            "policies": policies,
            "output": {"report": False, "sync": False},
            **further,
        }
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parameters = {"persistence": 0.9, "max_actions": 30, "coefficients": PLANTED}
    path = tmp_path_factory.mktemp("planted") / "run"
    Simulation(scenario(250, 20, [{"kind": "choice", "parameters": parameters}]), path).run_sync()
    return path


def test_what_made_the_decisions_is_found_again(planted: Path) -> None:
    found = fit_choices(planted)
    assert found.reading[0] == 0.9
    fitted = found.coefficients.drop_nulls("error")
    off = ((fitted["value"] - fitted["begun"]) / fitted["error"]).abs()
    assert len(fitted) > 25
    assert (off < 2).mean() > 0.85
    assert off.max() < 4.5  # type: ignore[operator]
    for row in found.scores.iter_rows(named=True):
        assert row["fitted_loss"] < row["intercepts_loss"]
        assert row["fitted_loss"] < 1.01 * row["begun_loss"]
    assert found.scores["occasions"].min() > 1000  # type: ignore[operator]
    assert found.calibration_error < 0.02
    inside = found.shares.select(((pl.col("expected") > pl.col("low")) & (pl.col("expected") < pl.col("high"))).mean())
    assert inside.item() >= 0.6
    assert found.counts["elsewhere"] == 0


def test_every_action_is_the_choice_of_an_occasion(planted: Path) -> None:
    choices, _, counts, _ = recorded_choices(planted)
    assert counts["undecided"] == counts["elsewhere"] == 0
    events = open_run(planted).events.filter(pl.col("agent_id") >= 0).with_columns(pl.col("action").cast(pl.String))
    made = dict(events.group_by("action").len().collect().rows())
    for data in choices.values():
        for option, action in enumerate(data.menu.actions[1:], 1):
            assert (data.chosen == option).sum() == made[action.label]
        assert data.available[np.arange(len(data)), data.chosen].all()


def test_the_likelihood_is_that_of_multinomial_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every occasion arose and the prior is flat, coefficients and errors are those of statsmodels."""
    monkeypatch.setattr(likelihood, "PRIOR_SD", 1e6)
    draw = np.random.default_rng(1)
    features = np.c_[np.ones(3000), draw.normal(size=(3000, 2))]
    truth = np.array([[0, 0, 0], [-1.0, 0.5, 0.0], [-2.0, 0.0, 1.0]])
    every = np.ones((3000, 3), np.bool_)
    chances = probabilities(truth, features, every)
    chosen = (draw.random(3000)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    free = np.ones((3, 3), np.bool_)
    free[0] = False
    found = estimate(np.zeros((3, 3)), features, every, chosen, np.ones(3000), np.arange(3000), free)
    theirs = sm.MNLogit(chosen, features).fit(disp=0, cov_type="HC0")
    assert found.coefficients[1:] == pytest.approx(theirs.params.T, abs=2e-3)
    assert found.error[1:] == pytest.approx(theirs.bse.T, rel=0.02)
    assert found.log_likelihood == pytest.approx(theirs.llf, abs=1e-3)


def test_an_occasion_that_may_not_arise_has_its_likelihood() -> None:
    chances = np.array([[0.6, 0.4], [0.6, 0.4]])
    found = log_likelihoods(chances, np.array([1, 0]), np.array([0.5, 0.5]))
    assert np.exp(found) == pytest.approx([0.2, 0.8])


def test_decisions_of_a_language_model_are_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that likes the first post it is shown, half of the time, and fails now and then."""

    def model(prompt: Prompt) -> str:
        number = hash_of(prompt)
        if number % 10 == 0:
            return "nonsense"
        action = {"action": "like_post", "n": 1} if number % 2 else {"action": "do_nothing"}
        return json.dumps({"actions": [action]})

    def hash_of(prompt: Prompt) -> int:
        return sum(map(ord, prompt.messages[-1][1]))

    monkeypatch.setattr(build, "LocalTransport", lambda *arguments: MockTransport(model))
    monkeypatch.setattr("oasis.inference.local.find_weights", lambda path: tmp_path)
    run = tmp_path / "run"
    llm = {"backend": "local", "attempts": 1, "failure_limit": 1.0}
    Simulation(scenario(40, 10, [{"kind": "llm"}], llm=llm), run).run_sync()
    found = fit_choices(run)
    assert found.policy == "llm"
    assert found.counts["undecided"] > 0
    likes = found.coefficients.filter(pl.col("action") == "like_post")
    assert likes["taken"][0] > 20
    assert found.coefficients.filter(pl.col("action") == "follow")["taken"].sum() == 0
    assert found.scores["fitted_loss"].is_not_null().all()


def test_the_command_writes_what_a_scenario_takes(planted: Path, tmp_path: Path) -> None:
    out = tmp_path / "fitted.toml"
    said = CliRunner().invoke(main, ["fit", "choice", "--from", str(planted), "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert "log loss per occasion" in said.stderr
    policies = tomllib.loads(out.read_text())["policies"]
    Simulation(scenario(20, 1, policies)).run_sync()
    again = CliRunner().invoke(main, ["fit", "choice", "--from", str(planted), "--out", str(out)])
    assert (again.exit_code, again.stderr) == (2, f"Error: {out}: exists already; choose another file\n")


def test_what_cannot_be_fitted_is_said(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no policy 'llm'; there are choice"):
        fit_choices(planted, "llm")
    two = [{"kind": "choice", "name": "a", "share": 0.5}, {"kind": "choice", "name": "b"}]
    Simulation(scenario(30, 3, two), tmp_path / "two").run_sync()
    with pytest.raises(InputError, match=r"several policies decided: name one with --decided-by \(a, b\)"):
        fit_choices(tmp_path / "two")
    quiet = {"coefficients": {name: {"intercept": -50.0} for name in ACTIONS[:-1]}}
    Simulation(scenario(30, 3, [{"kind": "choice", "parameters": quiet}]), tmp_path / "quiet").run_sync()
    with pytest.raises(InputError, match="no action to fit to"):
        fit_choices(tmp_path / "quiet")
