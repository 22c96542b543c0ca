"""Runs that are resumed or replayed come out as if nothing had happened, and no recorded answer is asked for again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oasis import Scenario, Simulation, open_run, verify
from oasis.actions import ActionBatch
from oasis.errors import (
    FailureLimitError,
    NoEndpointError,
    ReplayError,
    RunDirectoryError,
    RunStoppedError,
    ScenarioError,
)
from oasis.interfaces import Platform, StepContext
from oasis.simulation import StepResult, engine
from oasis.simulation.again import replay, resume
from oasis.simulation.commit import commit
from oasis.testing.servers import StubServer
from oasis.world.store import digest_table
from oasis.world.world import World


def scenario(**tables: Any) -> Scenario:
    base: dict[str, Any] = {
        "simulation": {"steps": 8, "seed": 6},
        "population": {"agents": 60, "mean_active": 0.3},
        "interventions": [
            {"step": 2, "kind": "post", "author": 3, "content": "News", "likes": 9},
            {"step": 3, "kind": "interview", "agents": [1, 2], "question": "How are you?", "scale": [1, 7]},
            {"step": 6, "kind": "ban", "agents": {"top": "followers", "count": 2}},
        ],
        "output": {"report": False, "sync": False, "steps_per_block": 3},
    }
    return Scenario.from_dict(base | tables)


def asking(url: str, timeout_s: float = 30) -> Scenario:
    return scenario(
        policies=[{"kind": "llm", "share": 0.4}, {"kind": "choice"}],
        llm={"endpoints": [url], "model": "stub", "timeout_s": timeout_s, "concurrency": 4},
    )


def contents(path: Path) -> dict[str, bytes]:
    run = open_run(path)
    names = ("events", "impressions", "interviews", "users", "posts", "comments", "follows")
    frames = {name: run.table(name).collect() for name in names}
    frames["metrics"] = run.metrics.drop(pl.selectors.starts_with("seconds_")).collect()
    return {name: digest_table(frame.to_arrow()) for name, frame in frames.items()}


def go_on(path: Path, overrides: list[str] | None = None) -> None:
    resume(path, overrides or []).run_sync()


def stop_after(step: int, simulation: Simulation) -> None:
    def stop(result: StepResult) -> None:
        if result.step == step:
            simulation.request_stop()

    with pytest.raises(RunStoppedError):
        simulation.run_sync(stop)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_stopped_run_goes_on(step: int, tmp_path: Path) -> None:
    whole = Simulation(scenario(), tmp_path / "whole").run_sync()
    stop_after(step, Simulation(scenario(), tmp_path / "run"))
    go_on(tmp_path / "run")
    manifest = open_run(tmp_path / "run").manifest
    assert (manifest.status, manifest.state_hash) == ("done", whole.state_hash)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "whole"]


def test_answers_are_not_asked_for_twice(tmp_path: Path) -> None:
    with StubServer() as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
        asked = len(server.requests)
    with StubServer() as server:
        stop_after(4, Simulation(asking(server.url), tmp_path / "run"))
        go_on(tmp_path / "run", [f'llm.endpoints=["{server.url}"]'])
        assert len(server.requests) == asked
    run = open_run(tmp_path / "run")
    assert run.manifest.state_hash == whole.state_hash
    assert run.llm_calls.collect().height == asked
    assert replay(tmp_path / "run") == whole.state_hash


def test_a_run_whose_server_died_goes_on_with_another(tmp_path: Path) -> None:
    with StubServer() as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
        asked = len(server.requests)
    by_step = open_run(tmp_path / "whole").llm_calls.group_by("step").len().sort("step").collect()["len"]
    alive = sum(by_step[:3]) + 2  # it dies soon after the fourth step begins

    def dies(body: dict[str, object], nth: int) -> str | None:
        return "<500>" if len(dying.requests) > alive else None

    with StubServer(script=dies) as dying, pytest.raises(NoEndpointError):
        Simulation(asking(dying.url, timeout_s=2), tmp_path / "run").run_sync()
    stopped = open_run(tmp_path / "run")
    assert (stopped.manifest.status, stopped.steps_done) == ("stopped", 3)
    answered = stopped.llm_calls.filter(pl.col("status") == "ok").collect().height
    assert 0 < answered < asked
    with StubServer() as server:
        go_on(tmp_path / "run", [f'llm.endpoints=["{server.url}"]'])
        assert len(server.requests) == asked - answered
    assert open_run(tmp_path / "run").manifest.state_hash == whole.state_hash
    assert contents(tmp_path / "run")["events"] == contents(tmp_path / "whole")["events"]


@pytest.mark.parametrize("kill_after", [3, 20])
def test_a_killed_run_goes_on(kill_after: int, tmp_path: Path) -> None:
    with StubServer(delay_s=0.02) as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
        asked = len(server.requests)
    with StubServer(delay_s=0.2) as server:
        code = (
            "import sys, json; from oasis import Scenario, Simulation\n"
            "Simulation(Scenario.from_dict(json.loads(sys.argv[1])), sys.argv[2]).run_sync()"
        )
        text = asking(server.url).model_dump_json(exclude_none=True)
        process = subprocess.Popen([sys.executable, "-c", code, text, str(tmp_path / "run")], env=os.environ)
        while len(server.requests) < kill_after and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = len(server.requests)
    with StubServer() as server:
        go_on(tmp_path / "run", [f'llm.endpoints=["{server.url}"]'])
        assert before + len(server.requests) <= asked + 4  # at most those in flight are repeated
    assert open_run(tmp_path / "run").manifest.state_hash == whole.state_hash


def test_a_resume_that_is_killed_loses_no_answer(tmp_path: Path) -> None:
    with StubServer() as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
        asked = len(server.requests)
    with StubServer() as server:
        stop_after(2, Simulation(asking(server.url), tmp_path / "run"))
        before = len(server.requests)
    for _ in range(2):  # each gets a little further, and dies
        with StubServer(delay_s=0.1) as server:
            code = (
                "import sys; from oasis.simulation.again import resume\nresume(sys.argv[1], [sys.argv[2]]).run_sync()"
            )
            change = f'llm.endpoints=["{server.url}"]'
            process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run"), change], env=os.environ)
            while len(server.requests) < 12 and process.poll() is None:
                time.sleep(0.02)
            with pytest.raises(RunDirectoryError, match=r"process \d+ on .* writes it"):
                resume(tmp_path / "run")
            process.kill()
            process.wait()
            before += len(server.requests)
    with StubServer() as server:
        go_on(tmp_path / "run", [f'llm.endpoints=["{server.url}"]'])
        assert before + len(server.requests) <= asked + 2 * 4  # at most those in flight at each kill are repeated
    assert open_run(tmp_path / "run").manifest.state_hash == whole.state_hash
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "whole"]


@pytest.mark.parametrize("table", ["events", "impressions", "llm_calls", "metrics.parquet", "checkpoints"])
def test_what_is_damaged_is_made_again(table: str, tmp_path: Path) -> None:
    """From what is left; answers that are left are not asked for again."""
    with StubServer() as server:
        whole = Simulation(asking(server.url), tmp_path / "whole").run_sync()
        stop_after(5, Simulation(asking(server.url), tmp_path / "run"))
        asked = len(server.requests)
        place = tmp_path / "run" / table
        files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
        files = files[:: len(files) // 8 + 1]
        for number, path in enumerate(files):
            run = tmp_path / str(number)
            shutil.copytree(tmp_path / "run", run)
            harmed = run / path.relative_to(tmp_path / "run")
            content = bytearray(harmed.read_bytes())
            content[len(content) // 2] ^= 16
            harmed.write_bytes(content)
            assert resume(run).run_sync().state_hash == whole.state_hash, path
            assert verify(run).ok, path
            assert contents(run) == contents(tmp_path / "whole")
        rest = open_run(tmp_path / "whole").llm_calls.filter(pl.col("step") > 5).collect().height
        lost = open_run(tmp_path / "whole").llm_calls.collect().height - rest if table == "llm_calls" else 0
        assert rest * len(files) <= len(server.requests) - asked <= rest * len(files) + lost


@pytest.mark.parametrize("step", [4, 5])
def test_a_run_that_is_moved_away_leaves_nothing_behind(step: int, tmp_path: Path) -> None:
    """In the midst of a block with the next checkpoint to come first, and before a new block."""
    run = scenario().with_changes(output={"checkpoint_steps": 5})
    whole = Simulation(run).run_sync()
    with pytest.raises(RunStoppedError, match="cannot be written"):
        Simulation(run, tmp_path / "run").run_sync(
            lambda result: (tmp_path / "run").rename(tmp_path / "moved") if result.step == step else None
        )
    assert not (tmp_path / "run").exists()
    assert open_run(tmp_path / "moved").steps_done >= step
    assert resume(tmp_path / "moved").run_sync().state_hash == whole.state_hash


@pytest.mark.parametrize("step", [4, 6])
def test_a_step_that_fails_half_done_leaves_nothing(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did to the world before is in no file; in step 6 there is an intervention, in step 4 none."""
    whole = Simulation(scenario()).run_sync()

    def fail(world: World, platform: Platform, decided: ActionBatch, ctx: StepContext) -> Any:
        done = commit(world, platform, decided, ctx)
        if ctx.step == step:
            raise MemoryError("planted")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(engine, "commit", fail)
        with pytest.raises(MemoryError):
            Simulation(scenario(), tmp_path / "run").run_sync()
    run = open_run(tmp_path / "run")
    assert (run.state, run.steps_done, run.manifest.state_hash) == ("failed", step - 1, None)
    assert verify(tmp_path / "run").ok
    assert resume(tmp_path / "run").run_sync().state_hash == whole.state_hash


def test_injected_actions_are_repeated(tmp_path: Path) -> None:
    simulation = Simulation(scenario(), tmp_path / "run")

    def inject(result: StepResult) -> None:
        if result.step in (2, 4):
            simulation.inject("seed_votes", posts={"share": 0.3}, likes=result.step)
        if result.step == 5:
            simulation.request_stop()

    with pytest.raises(RunStoppedError):
        simulation.run_sync(inject)
    assert replay(tmp_path / "run") == simulation.summary.state_hash
    shutil.rmtree(tmp_path / "run/checkpoints")
    simulation, repeated = resume(tmp_path / "run", on_repeated=lambda step: repeated.append(step)), []
    handed_out: list[int] = []
    simulation.inject("seed_votes", posts={"share": 0.3}, likes=7)  # in the first step that is new
    simulation.run_sync(lambda result: handed_out.append(result.step))
    assert (repeated, handed_out) == ([1, 2, 3, 4, 5], [6, 7, 8])
    manifest = open_run(tmp_path / "run").manifest
    assert (manifest.status, [entry["step"] for entry in manifest.injected]) == ("done", [3, 5, 6])
    assert replay(tmp_path / "run") == open_run(tmp_path / "run").manifest.state_hash


def test_a_changed_record_is_named(tmp_path: Path) -> None:
    """A difference is the first step, agent and field."""
    Simulation(scenario(), tmp_path / "run").run_sync()
    before = pl.read_parquet(tmp_path / "run/metrics.parquet")
    path = tmp_path / "run/events/000004-000006.parquet"
    events = pq.read_table(path)
    chance, steps = events["probability"].to_pylist(), events["step"].to_pylist()
    row = max(i for i, step in enumerate(steps) if step == 5)
    agent = events["agent_id"][row].as_py()
    chance[row] = 0.125
    at = events.column_names.index("probability")
    pq.write_table(events.set_column(at, events.schema.field(at), pa.array(chance, pa.float32())), path)
    wrong = before.with_columns(
        step_digest=pl.when(pl.col("step") == 5).then(pl.lit("0")).otherwise(pl.col("step_digest"))
    )
    wrong.write_parquet(tmp_path / "run/metrics.parquet")
    with pytest.raises(RunDirectoryError, match="SHA-256"):
        replay(tmp_path / "run")
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest | {"files": {}}))
    with pytest.raises(ReplayError, match=f"step 5 .*agent {agent}.*probability.*0.125"):
        replay(tmp_path / "run")


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no such run"):
        resume(tmp_path / "none")
    Simulation(scenario(), tmp_path / "done").run_sync()
    with pytest.raises(RunDirectoryError, match="is done"):
        resume(tmp_path / "done")
    stop_after(2, Simulation(scenario(), tmp_path / "run"))
    for override in ("simulation.seed=3", "llm.model=other", "recsys.size=3"):
        with pytest.raises(ScenarioError, match="would change"):
            resume(tmp_path / "run", [override])


def test_a_budget_stops_a_run_and_a_larger_one_lets_it_go_on(tmp_path: Path) -> None:
    with StubServer() as server:
        case = asking(server.url)
        whole = Simulation(case, tmp_path / "whole").run_sync()
        with pytest.raises(RunStoppedError, match=r"budget\.max_calls"):
            Simulation(case.with_changes(budget={"max_calls": 20}), tmp_path / "run").run_sync()
        assert 0 < open_run(tmp_path / "run").steps_done < 8
        go_on(tmp_path / "run", ["budget.max_calls=100000"])
    assert open_run(tmp_path / "run").manifest.state_hash == whole.state_hash


def test_a_run_past_its_limit_goes_on_each_time_it_is_resumed(tmp_path: Path) -> None:
    """The limit stops a run anew after as many new failures, never for steps that are done."""

    def wrong(body: dict[str, object], nth: int) -> str | None:
        return "not what was asked for"

    with StubServer(script=wrong) as server:
        case = scenario(
            policies=[{"kind": "llm"}],
            llm={"endpoints": [server.url], "model": "stub", "attempts": 1, "failure_window": 600},
        )
        with pytest.raises(FailureLimitError, match="of the last"):
            Simulation(case, tmp_path / "run").run_sync()
        done = [open_run(tmp_path / "run").steps_done]
        while done[-1] < 8:
            with pytest.raises(FailureLimitError):
                go_on(tmp_path / "run")
            done.append(open_run(tmp_path / "run").steps_done)
        assert done[0] < done[1] < done[2]
        asked = len(server.requests)
        assert replay(tmp_path / "run") == open_run(tmp_path / "run").manifest.state_hash
        go_on(tmp_path / "run", ["llm.failure_limit=1"])
        assert len(server.requests) == asked
    manifest = open_run(tmp_path / "run").manifest
    assert (manifest.status, manifest.coverage.llm_invalid) == ("done", manifest.coverage.decisions)
