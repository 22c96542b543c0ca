"""A branch shares its parent's past, and after it all that its change does not touch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation, branch, lineage, open_run, replay, resume, verify
from oasis.cli import main
from oasis.errors import RunDirectoryError, RunStoppedError, ScenarioError
from oasis.runs.comparison.arms import periods
from oasis.simulation import StepResult
from oasis.testing.servers import StubServer

STEPS = 9


def scenario(platform: str = "x", **tables: Any) -> Scenario:
    base: dict[str, Any] = {
        "simulation": {"steps": STEPS, "seed": 11},
        "platform": {"kind": platform},
        "population": {"agents": 80, "mean_active": 0.3, "history": 1},
        "interventions": [
            {"step": 2, "kind": "post", "author": 3, "content": "News", "likes": 9},
            {"step": 3, "kind": "swap_recommender", "recommender": "trending"},
            {"step": 4, "every": 3, "kind": "sign_up", "username": "late", "bio": "rain", "activity": 1.0},
            {"step": 7, "kind": "interview", "agents": [1, 2], "question": "How are you?", "scale": [1, 7]},
        ],
        "output": {"report": False, "sync": False, "steps_per_block": 4, "checkpoint_steps": 3},
    }
    return Scenario.from_dict(base | tables)


def asking(url: str, platform: str = "x") -> Scenario:
    return scenario(
        platform,
        policies=[{"kind": "llm", "share": 0.4}, {"kind": "choice"}],
        llm={"endpoints": [url], "model": "stub", "concurrency": 4},
    )


def digests(path: Path) -> list[str]:
    return open_run(path).metrics.collect()["step_digest"].to_list()


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_a_branch_that_changes_nothing_is_its_parent(platform: str, tmp_path: Path) -> None:
    with StubServer() as server:
        whole = Simulation(asking(server.url, platform), tmp_path / "run").run_sync()
        asked = len(server.requests)
        for step in (0, 2, 4, 6, STEPS):
            out = tmp_path / f"at-{step}"
            assert branch(tmp_path / "run", step, out).run_sync().state_hash == whole.state_hash
            assert digests(out) == digests(tmp_path / "run")
            calls = open_run(out).llm_calls.collect()
            assert calls.filter("reused").height == calls.filter(pl.col("step") > step).height
        assert len(server.requests) == asked
    shutil.rmtree(tmp_path / "run")
    for step in (0, 4, STEPS):
        assert verify(tmp_path / f"at-{step}").ok
        assert replay(tmp_path / f"at-{step}", by_answers=step == 4) == whole.state_hash


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_what_a_change_does_not_touch_stays(platform: str, tmp_path: Path) -> None:
    """Of one author muted by half of all: an agent that sees what it saw in the parent does what it did there."""
    with StubServer() as server:
        Simulation(asking(server.url, platform), tmp_path / "run").run_sync()
        asked = len(server.requests)
        mute = 'kind="mute", agents={share=0.5}, users=[3]'
        branch(tmp_path / "run", 4, tmp_path / "mute", interventions=[mute]).run_sync()
        asked_again = len(server.requests) - asked
    calls = open_run(tmp_path / "mute").llm_calls.filter(pl.col("step") > 4).collect()
    assert calls.filter("reused").height == calls.height - asked_again > 0
    before, after = (_seen_and_done(tmp_path / name) for name in ("run", "mute"))
    both = before.join(after, on=["step", "agent_id"], suffix="_after")
    assert both.filter(pl.col("done") != pl.col("done_after")).height > 0
    same = both.filter(pl.col("seen") == pl.col("seen_after"))
    assert same.height > 0
    assert same.filter(pl.col("done") != pl.col("done_after")).is_empty()
    early = [digests(tmp_path / name)[:4] for name in ("run", "mute")]
    assert early[0] == early[1]
    assert replay(tmp_path / "mute") == open_run(tmp_path / "mute").manifest.state_hash


def _seen_and_done(path: Path) -> pl.DataFrame:
    """Return, by step and agent, what it was shown (a model by its prompts) and what it did, in keys of posts."""
    run = open_run(path)
    key = run.posts.select("post_id", "key")
    order = ["step", "agent_id", "turn"]
    shown = run.impressions.join(key, on="post_id", how="left").sort(*order, "position")
    shown = shown.group_by("step", "agent_id", maintain_order=True).agg(shown=pl.struct("turn", "key", "score"))
    prompts = run.llm_calls.filter(pl.col("purpose").cast(pl.String) == "decide").sort(*order)
    prompts = prompts.group_by("step", "agent_id", maintain_order=True).agg(prompts="prompt_hash")
    events = run.events.filter(pl.col("agent_id") >= 0)
    done = events.join(key.rename({"post_id": "target_id"}), on="target_id", how="left").with_columns(
        aim=pl.when(pl.col("target_kind").cast(pl.String) == "post").then("key").otherwise("target_id")
    )
    done = (
        done.sort("step", "seq")
        .group_by("step", "agent_id", maintain_order=True)
        .agg(done=pl.struct(pl.col("action").cast(pl.String), "aim", "content"))
    )
    frame = done.join(shown, on=["step", "agent_id"], how="left").join(prompts, on=["step", "agent_id"], how="left")
    asked = pl.col("prompts").is_not_null()  # what a model sees is all in its prompts
    seen = pl.struct(pl.when(~asked).then("shown").alias("shown"), "prompts")
    return frame.select("step", "agent_id", "done", seen=seen).collect()


def test_another_recommender_and_more_steps(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    longer = branch(tmp_path / "run", STEPS, tmp_path / "longer", ["simulation.steps=12"])
    whole = Simulation(scenario().with_changes(simulation={"steps": 12})).run_sync()
    assert longer.run_sync().state_hash == whole.state_hash
    assert open_run(tmp_path / "longer").steps_done == 12
    hot = branch(tmp_path / "longer", 10, tmp_path / "hot", ["recsys.kind=hot"])
    assert hot.run_sync().state_hash != whole.state_hash
    assert replay(tmp_path / "hot") == hot.summary.state_hash
    assert verify(tmp_path / "hot").ok
    (tree,) = lineage(tmp_path)
    assert (tree.run.path.name, tree.branches[0].run.path.name, tree.branches[0].branches[0].run.path.name) == (
        "run",
        "longer",
        "hot",
    )


def test_a_tree_with_a_copy_and_a_damaged_run(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    branch(tmp_path / "run", 3, tmp_path / "branch").run_sync()
    for name in ("another", "zero"):
        shutil.copytree(tmp_path / "run", tmp_path / name)
    (tmp_path / "zero/manifest.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"zero.manifest\.json: damaged"):
        lineage(tmp_path)
    damage: list[str] = []
    trees = lineage(tmp_path, damage)
    assert [(t.run.path.name, [b.run.path.name for b in t.branches]) for t in trees] == [
        ("another", []),
        ("run", ["branch"]),
    ]
    assert len(damage) == 1
    listed = CliRunner().invoke(main, ["branches", str(tmp_path)])
    assert listed.exit_code == 0
    assert "Warning: " in listed.stderr


def test_other_policies_are_assigned_anew(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    with StubServer() as server:
        changes = [
            'policies=[{kind="llm", share=0.5}, {kind="choice"}]',
            f'llm={{endpoints=["{server.url}"], model="stub"}}',
        ]
        branch(tmp_path / "run", 5, tmp_path / "llm", changes).run_sync()
        assert server.requests
    by = open_run(tmp_path / "llm").events.filter(pl.col("agent_id") >= 0)
    by = by.group_by(late=pl.col("step") > 5).agg(pl.col("policy").cast(pl.String).unique().sort()).sort("late")
    assert by.collect()["policy"].to_list() == [["choice"], ["choice", "llm"]]
    coverage = open_run(tmp_path / "llm").manifest.coverage
    assert sum(coverage.decided_by.values()) == coverage.decisions
    assert replay(tmp_path / "llm") == open_run(tmp_path / "llm").manifest.state_hash
    assert verify(tmp_path / "llm").ok


@pytest.mark.parametrize("step", [4, 6])
def test_a_branch_is_branched_off_where_it_began(step: int, tmp_path: Path) -> None:
    """What its parent changed holds, though it made no step; with a checkpoint of that step (6), and without (4)."""
    Simulation(scenario(), tmp_path / "run").run_sync()
    policies = 'policies=[{name="some", kind="choice", share=0.3}, {kind="choice"}]'
    branch(tmp_path / "run", step, tmp_path / "policies", [policies]).run_sync()
    both = branch(tmp_path / "policies", step, tmp_path / "both", ["recsys.kind=hot"]).run_sync()
    at_once = branch(tmp_path / "run", step, tmp_path / "at-once", [policies, "recsys.kind=hot"]).run_sync()
    assert both.state_hash == at_once.state_hash
    assert replay(tmp_path / "both") == both.state_hash
    assert verify(tmp_path / "both").ok
    assert [period.first for period in periods(open_run(tmp_path / "both").manifest)] == [1, step + 1]


def test_a_branch_off_a_killed_parent_that_is_killed_and_orphaned(tmp_path: Path) -> None:
    """Each directory is complete by itself, whatever its state."""
    with StubServer() as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
    code = (
        "import sys, json; from oasis import Scenario, Simulation, branch\n"
        "path, text = sys.argv[1:3]\n"
        "if text: Simulation(Scenario.from_dict(json.loads(text)), path).run_sync()\n"
        "else: branch(sys.argv[3], 4, path, [f'llm.endpoints=[\"{sys.argv[4]}\"]']).run_sync()"
    )

    def killed_after(step: int, *arguments: str) -> None:
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=os.environ)
        path = Path(arguments[0])
        while process.poll() is None and not (path.exists() and open_run(path).steps_done >= step):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()

    with StubServer(delay_s=0.1) as server:
        text = asking(server.url).model_dump_json(exclude_none=True)
        killed_after(5, str(tmp_path / "run"), text)
        parent = open_run(tmp_path / "run")
        assert parent.state == "killed"
        killed_after(6, str(tmp_path / "branch"), "", str(tmp_path / "run"), server.url)
        assert verify(tmp_path / "branch").ok
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "branch").rename(tmp_path / "elsewhere")
    with StubServer() as server:
        resume(tmp_path / "elsewhere", [f'llm.endpoints=["{server.url}"]']).run_sync()
    assert open_run(tmp_path / "elsewhere").manifest.state_hash == whole.state_hash
    assert not (tmp_path / "elsewhere/inherited").exists()


@pytest.mark.parametrize("step", [4, 6])
def test_a_stopped_branch_is_taken_up_where_it_parted_or_earlier(step: int, tmp_path: Path) -> None:
    """The steps of its ancestors by their scenarios, then its own; from the parent's checkpoint of step 6, and none."""
    changes = ["recsys.kind=hot", 'policies=[{name="some", kind="choice", share=0.3}, {kind="choice"}]']
    Simulation(scenario(), tmp_path / "run").run_sync()
    whole = branch(tmp_path / "run", step, tmp_path / "whole", changes).run_sync()
    cut = branch(tmp_path / "run", step, tmp_path / "cut", changes)

    def stop(result: StepResult) -> None:
        if result.step == 7:
            cut.request_stop()

    with pytest.raises(RunStoppedError):
        cut.run_sync(stop)
    for folder in (tmp_path / "cut/checkpoints").iterdir():
        if folder.name != "000006" or step == 4:
            shutil.rmtree(folder)
    assert resume(tmp_path / "cut").run_sync().state_hash == whole.state_hash


def test_names_that_mean_something_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern of file names, and the folder where one is."""
    run = tmp_path / "r[a]*? é"
    Simulation(scenario(), run).run_sync()
    monkeypatch.chdir(run)
    beside = f"../{run.name}-branch-4"
    for line in (["branch", ".", "--at-step", "4"], ["replay", "."], ["verify", beside], ["compare", ".", beside]):
        result = CliRunner().invoke(main, line)
        assert result.exit_code == 0, result.output
    assert verify(".").ok


def test_what_cannot_be(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    run, out = tmp_path / "run", tmp_path / "out"
    for step in (-1, STEPS + 1):
        with pytest.raises(RunDirectoryError, match=f"must be 0 to {STEPS}"):
            branch(run, step, out)
    for change in ("population.agents=5", "simulation.step_minutes=5", "platform.kind=reddit"):
        with pytest.raises(ScenarioError, match="a branch cannot change it"):
            branch(run, 4, out, [change])
    with pytest.raises(ScenarioError, match="before the step to branch off"):
        branch(run, 4, out, ["simulation.steps=3"])
    with pytest.raises(ScenarioError, match=r"interventions\.4\.step: 3 is in the past"):
        branch(run, 4, out, interventions=['kind="ban", agents=[1], step=3'])
    with pytest.raises(ScenarioError, match="keys of an entry as TOML"):
        branch(run, 4, out, interventions=["ban agent 3"])
    with pytest.raises(RunDirectoryError, match="run: "):
        branch(run, 4, run)
    with pytest.raises(RunDirectoryError, match="lies in the run"):
        branch(run, 4, run / "inside")
    assert not out.exists()
    branch(run, 4, out, ["recsys.kind=hot"]).run_sync()
    with pytest.raises(RunDirectoryError, match="is itself a branch"):
        branch(out, 3, tmp_path / "other")
