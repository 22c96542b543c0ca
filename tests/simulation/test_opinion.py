"""Runs whose agents' stances move: the same in any batches, after a stop, replayed, branched; and whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from oasis import Scenario, Simulation, branch, open_run, replay, resume, verify
from oasis.errors import ReplayError, RunStoppedError
from oasis.interfaces import Decisions, Question, Stances
from oasis.simulation import StepResult
from oasis.simulation.afterwards import interview_run
from oasis.simulation.assembly import assemble

STEPS = 7
FRIEDKIN = {"rule": "friedkin-johnsen", "susceptibility": 0.6, "self_weight": 0.2}
DEFFUANT = {"rule": "deffuant", "confidence": 0.8}
QUESTION = {"kind": "interview", "agents": {"count": 5}, "question": "Agree?", "scale": [-500, 500], "every": 3}


def scenario(opinion: dict[str, Any] | None, platform: str = "x", **tables: Any) -> Scenario:
    parameters: dict[str, Any] = {"coefficients": {"like_post": {"stance_distance": -2.0}}}
    if opinion is not None:
        parameters["opinion"] = opinion
    base: dict[str, Any] = {
        "simulation": {"steps": STEPS, "seed": 3},
        "platform": {"kind": platform},
        "recsys": {"embedder": "hashed-ngrams"},
        "population": {"agents": 70, "mean_active": 0.4, "history": 1},
        "policies": [{"kind": "choice", "parameters": parameters}],
        "interventions": [
            {"step": 2, "kind": "sign_up", "username": "late", "stance": 0.5, "activity": 1.0},
            {"step": 2, "kind": "sign_up", "username": "blank", "activity": 1.0},
            {"step": 2, **QUESTION},
            {"step": 4, "kind": "edit_profile", "agents": [1, 2], "stance": -1},
        ],
        "output": {"report": False, "sync": False, "steps_per_block": 2, "checkpoint_steps": 3},
    }
    return Scenario.from_dict(base | tables)


def stop_after(step: int, simulation: Simulation) -> None:
    def stop(result: StepResult) -> None:
        if result.step == step:
            simulation.request_stop()

    with pytest.raises(RunStoppedError):
        simulation.run_sync(stop)


@pytest.mark.parametrize(("opinion", "platform"), [(FRIEDKIN, "x"), (DEFFUANT, "reddit")])
def test_a_run_is_the_same_however_it_came_about(opinion: dict[str, Any], platform: str, tmp_path: Path) -> None:
    case = scenario(opinion, platform)
    whole = Simulation(case, tmp_path / "whole").run_sync()
    for size in (1, 9):
        assert Simulation(case, batch_size=size).run_sync().state_hash == whole.state_hash
    assert replay(tmp_path / "whole") == whole.state_hash
    for step in (1, 4, 6):
        stop_after(step, Simulation(case, tmp_path / f"at-{step}"))
        if step != 6:  # its steps are executed again from the first, or from step 3
            shutil.rmtree(tmp_path / f"at-{step}" / "checkpoints" / f"{step:06d}")
        resume(tmp_path / f"at-{step}").run_sync()
        assert open_run(tmp_path / f"at-{step}").manifest.state_hash == whole.state_hash
        metrics = [open_run(tmp_path / name).metrics.collect() for name in ("whole", f"at-{step}")]
        assert metrics[0]["step_digest"].to_list() == metrics[1]["step_digest"].to_list()
    for step in (2, 3):
        out = tmp_path / f"branch-{step}"
        assert branch(tmp_path / "whole", step, out).run_sync().state_hash == whole.state_hash
        assert verify(out).problems == ()
        assert replay(out) == whole.state_hash
    assert verify(tmp_path / "whole").problems == ()


def test_stances_move_and_are_those_of_the_end(tmp_path: Path) -> None:
    simulation = Simulation(scenario(FRIEDKIN), tmp_path / "run")
    begun = simulation.world.users["stance"].copy()
    simulation.run_sync()
    run = open_run(tmp_path / "run")
    users, metrics = run.users.collect(), run.metrics.collect()
    active = run.events.filter(pl.col("agent_id") >= 0).select("agent_id").unique().collect()["agent_id"]
    changed = users["stance"].head(70).to_numpy() != begun
    assert changed.mean() > 0.7
    assert set(np.flatnonzero(changed)) <= set(active) | {1, 2}
    assert users["stance"].is_between(-1, 1).sum() == 71
    assert users["stance"][71] is None  # who signed up without one
    assert metrics["mean_stance"][-1] == pytest.approx(users["stance"].mean(), rel=1e-6)
    assert metrics["stance_variance"][-1] < 0.7 * metrics["stance_variance"][0]
    anchors = simulation.world["choice.anchors"].to_arrow()
    held = dict(zip(anchors["agent_id"].to_pylist(), anchors["stance"].to_pylist(), strict=True))
    assert all(held[agent] == begun[agent] for agent in held if agent not in (1, 2))
    assert set(held) >= set(np.flatnonzero(changed)) - {1, 2}


async def test_interviews_give_the_stance_and_say_by_what(tmp_path: Path) -> None:
    simulation = Simulation(scenario(DEFFUANT), tmp_path / "run")
    seen: dict[int, dict[int, float]] = {}
    stance = simulation.world.users["stance"].copy()
    async for result in simulation.steps():
        asked = result.tables["interviews"].to_pylist()
        seen |= {result.step: {row["agent_id"]: row["value"] for row in asked}}
        for row in asked:  # asked before anybody acted in the step
            assert (row["source"], row["text"], row["policy"]) == ("model", None, "choice")
            if row["agent_id"] < 70 and not (row["step"] >= 4 and row["agent_id"] in (1, 2)):
                assert row["value"] == pytest.approx(500 * stance[row["agent_id"]], abs=1e-9)
        stance = simulation.world.users["stance"].copy()
    assert sorted(step for step, answers in seen.items() if answers) == [2, 5]
    run = open_run(tmp_path / "run")
    assert run.interviews.collect()["source"].cast(pl.String).to_list() == ["model"] * 10
    (blank,) = (await interview_run(tmp_path / "run", [71], Question("q", "Agree?", scale=(1, 7)))).to_pylist()
    assert (blank["value"], blank["outcome"], blank["source"]) == (None, "no_stance", "model")


def test_a_branch_may_bring_or_change_a_rule(tmp_path: Path) -> None:
    Simulation(scenario(None), tmp_path / "plain").run_sync()
    changed = [f'policies.0.parameters.opinion={{rule="{rule}"}}' for rule in ("friedkin-johnsen", "deffuant")]
    begun = branch(tmp_path / "plain", 3, tmp_path / "begun", changes=[changed[0]]).run_sync()
    run = open_run(tmp_path / "begun")
    assert run.metrics.collect()["stance_digest"].is_null().to_list() == [True] * 3 + [False] * 4
    assert verify(tmp_path / "begun").problems == ()
    assert replay(tmp_path / "begun") == begun.state_hash
    other = branch(tmp_path / "begun", 5, tmp_path / "other", changes=[changed[1]]).run_sync()
    assert replay(tmp_path / "other") == other.state_hash
    assert verify(tmp_path / "other").problems == ()


def test_a_stance_that_comes_out_differently_is_found_in_its_step(tmp_path: Path, monkeypatch: Any) -> None:
    Simulation(scenario(DEFFUANT), tmp_path / "run").run_sync()
    from oasis.agents.choice import Choice

    decide = Choice.decide

    async def another(self: Any, observations: Any, ctx: Any) -> Decisions:
        decisions = await decide(self, observations, ctx)
        if ctx.base.step == 4:
            decisions.stances.values[-1] *= np.float32(0.5)
        return decisions

    monkeypatch.setattr(Choice, "decide", another)
    with pytest.raises(ReplayError, match="step 4 came out differently"):
        replay(tmp_path / "run")


@pytest.mark.parametrize("wrong", [([0], [np.nan]), ([0, 0], [0.1, 0.1]), ([10**6], [0.1]), ([0, 1], [0.1])], ids=str)
def test_stances_of_others_are_a_fault_of_the_policy(wrong: tuple[Any, Any], monkeypatch: Any) -> None:
    from oasis.agents.choice import Choice

    decide = Choice.decide

    async def another(self: Any, observations: Any, ctx: Any) -> Decisions:
        decisions = await decide(self, observations, ctx)
        decisions.stances = Stances(np.array(wrong[0], np.int32), np.array(wrong[1], np.float32))
        return decisions

    monkeypatch.setattr(Choice, "decide", another)
    everybody = scenario(None, population={"agents": 5, "mean_active": 1.0})
    with pytest.raises(ValueError, match="stances, finite ones"):
        Simulation(everybody).run_sync()


def test_runs_of_versions_that_did_not_say_by_what_open(tmp_path: Path) -> None:
    """A run's blocks without `source` are read, verified, replayed and branched; there it is null."""
    done = Simulation(scenario(None), tmp_path / "run").run_sync()
    manifest = tmp_path / "run" / "manifest.json"
    listed = json.loads(manifest.read_text())
    for file in (tmp_path / "run" / "interviews").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["source"]), file, write_page_checksum=True)
        listed["files"][f"interviews/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(listed))
    run = open_run(tmp_path / "run")
    answers = run.interviews.collect()
    assert answers.height == 10
    assert answers["source"].is_null().all()
    assert replay(tmp_path / "run") == done.state_hash
    assert verify(tmp_path / "run").problems == ()
    made = branch(tmp_path / "run", 4, tmp_path / "branch").run_sync()
    assert made.state_hash == done.state_hash
    assert open_run(tmp_path / "branch").interviews.collect()["source"].null_count() == 5


def test_the_rule_has_its_store_in_the_world() -> None:
    assert "choice.anchors" in assemble(scenario(FRIEDKIN)).world
    assert "choice.anchors" not in assemble(scenario(DEFFUANT)).world
    assert "choice.anchors" not in assemble(scenario(None)).world
