"""Commands from end to end: run, look, ask, export; signals, faults and dead servers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import polars as pl
import pytest
from click.testing import CliRunner, Result

from oasis import open_run
from oasis.cli import main
from oasis.testing.servers import FAULTS, StubServer

SMALL = """
[simulation]
steps = 4
seed = 2
[population]
agents = 40
mean_active = 0.5
"""


def _oasis(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(SMALL)
    _oasis("run", folder / "small.toml", "--out", folder / "run")
    return folder / "run"


def test_run_prints_a_summary_and_leaves_a_report(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    result = _oasis("run", tmp_path / "small.toml", "--out", tmp_path / "again", "--json")
    facts = json.loads(result.stdout)
    assert facts["status"] == "done"
    assert facts["state_hash"] == open_run(finished).manifest.state_hash
    assert (tmp_path / "again" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "again" / "figures" / "overview.png").stat().st_size > 10_000
    text = _oasis("run", tmp_path / "small.toml", "--out", tmp_path / "third", "--seed", "3").stdout
    assert "done: 4 steps" in text
    assert facts["state_hash"] not in text


def test_what_will_not_happen_is_said(tmp_path: Path) -> None:
    late = '[[interventions]]\nstep = 5\nkind = "ban"\nagents = 1\n'
    (tmp_path / "small.toml").write_text(SMALL + late)
    result = _oasis("run", tmp_path / "small.toml", "--out", tmp_path / "run")
    assert "interventions.0.step: 5 is after the last step (4)" in result.stderr


def test_inspect_shows_what_an_agent_saw(finished: Path) -> None:
    assert "decisions" in _oasis("inspect", finished).stdout
    event = open_run(finished).events.filter(pl.col("agent_id") >= 0).collect().row(0, named=True)
    shown = _oasis("inspect", finished, "--agent", event["agent_id"], "--step", event["step"]).stdout
    assert event["action"] in shown


def test_interviews_change_no_file_of_the_run(finished: Path) -> None:
    before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    answer = _oasis("interview", finished, "--agent", "3", "How content are you?", "--scale", "1", "7", "--json")
    row = json.loads(answer.stdout)
    assert row["agent_id"] == 3
    assert 1 <= row["value"] <= 7
    _oasis("interview", finished, "--agent", "3", "Which one?", "--option", "red", "--option", "blue")
    assert all(p.read_bytes() == content for p, content in before.items())
    kept = pl.read_parquet(finished / "interviews_afterwards.parquet")
    assert kept["question"].to_list() == ["How content are you?", "Which one?"]
    assert "0 to 39" in _oasis("interview", finished, "--agent", "40", "Why?", code=2).stderr


@pytest.mark.parametrize("content", [None, b"", b"not Arrow"])
def test_a_damaged_snapshot_is_named(content: bytes | None, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    store = tmp_path / "run" / "checkpoints" / f"{open_run(finished).steps_done:06d}" / "users.arrow"
    store.unlink() if content is None else store.write_bytes(content)
    assert "users.arrow" in _oasis("interview", tmp_path / "run", "--agent", "0", "Why?", code=2).stderr


def test_exports_hold_what_the_tables_hold(finished: Path, tmp_path: Path) -> None:
    _oasis("export", finished, "--to", "sqlite", "--out", tmp_path / "run.db")
    run = open_run(finished)
    with sqlite3.connect(tmp_path / "run.db") as database:
        for name in ("events", "impressions", "users", "posts", "comments", "follows"):
            count = database.execute(f"select count(*) from {name}").fetchone()[0]
            assert count == run.table(name).collect().height
    _oasis("export", finished, "--to", "graphml", "--out", tmp_path / "run.graphml")
    graph = nx.read_graphml(tmp_path / "run.graphml")
    assert graph.number_of_edges() == run.follows.collect().height


def test_doctor_answers(tmp_path: Path) -> None:
    assert "embedder" in _oasis("doctor").stdout
    with StubServer() as server:
        assert f"ok      {server.url} stub answers" in _oasis("doctor", "--llm", server.url, "--model", "stub").stdout
    assert "failed" in _oasis("doctor", "--llm", f"http://127.0.0.1:{_free_port()}", code=1).stdout


def test_a_language_model_takes_over_choice_agents(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    with StubServer() as server:
        command = ["run", tmp_path / "small.toml", "--llm", server.url, "--model", "stub", "--json"]
        everyone = json.loads(_oasis(*command, "--out", tmp_path / "all").stdout)
        some = json.loads(_oasis(*command, "--llm-share", "0.25", "--out", tmp_path / "some").stdout)
    assert set(everyone["coverage"]["decided_by"]) == {"llm"}
    assert everyone["tokens"]["input"] > 0
    assert set(some["coverage"]["decided_by"]) == {"llm", "choice"}
    assert open_run(tmp_path / "some").users.collect()["policy"].value_counts().sort("policy").rows() == [
        ("choice", 30),
        ("llm", 10),
    ]


PERSONAS = [{"username": f"u{i}", "bio": f"bio {i}", "persona": f"persona {i}"} for i in range(36)]
FAULTY = """
[simulation]
steps = 10
seed = 1
[platform]
kind = "reddit"
[population]
source = "reddit-json"
path = "users.json"
mean_active = 1.0
[[policies]]
kind = "llm"
[[interventions]]
step = 1
kind = "post"
agents = [0, 1, 2]
content = "A question to all"
[llm]
timeout_s = 0.5
concurrency = 36
"""


@pytest.mark.slow  # it waits for servers to recover
@pytest.mark.parametrize("seed", [1, 2])
def test_a_third_of_the_requests_failing(tmp_path: Path, seed: int) -> None:
    (tmp_path / "faulty.toml").write_text(FAULTY)
    (tmp_path / "users.json").write_text(json.dumps(PERSONAS))
    with StubServer(share=0.3, faults=FAULTS[:7], seed=seed, hang_s=5) as server:
        result = CliRunner().invoke(
            main,
            [
                "run",
                str(tmp_path / "faulty.toml"),
                "--llm",
                server.url,
                "--model",
                "stub",
                "--out",
                str(tmp_path / "run"),
            ],
        )
        sent = len(server.requests)
    run = open_run(tmp_path / "run")
    coverage = run.manifest.coverage
    assert (result.exit_code, run.manifest.status) in [(0, "done"), (1, "stopped")], result.output
    assert coverage.decisions == sum(coverage.decided_by.values()) + coverage.llm_failed + coverage.llm_invalid
    assert coverage.decisions == 36 * run.manifest.steps_done
    calls = run.llm_calls.collect()
    assert calls.height == sent
    assert calls.filter(pl.col("status") == "ok").height >= coverage.decided_by["llm"]
    assert calls.filter(pl.col("status") != "ok")["error"].null_count() == 0
    failed = run.events.filter(pl.col("outcome").is_in(["llm_failed", "llm_invalid"])).collect()
    assert failed.height == coverage.llm_failed + coverage.llm_invalid
    assert set(failed["action"].cast(pl.String)) <= {"no_decision"}


def test_all_servers_dead(tmp_path: Path) -> None:
    (tmp_path / "faulty.toml").write_text(FAULTY + f'endpoints = ["http://127.0.0.1:{_free_port()}"]\nmodel = "m"\n')
    (tmp_path / "users.json").write_text(json.dumps(PERSONAS))
    result = _oasis("run", tmp_path / "faulty.toml", "--out", tmp_path / "run", code=1)
    assert "127.0.0.1" in result.stderr
    assert "Traceback" not in result.stderr
    run = open_run(tmp_path / "run")
    assert (run.manifest.status, run.manifest.steps_done) == ("stopped", 0)
    assert run.posts.collect().is_empty()  # the step was dropped with its interventions
    assert run.llm_calls.collect()["status"].unique().to_list() == ["failed"]


def test_a_server_that_dies_loses_nothing_that_was_done(tmp_path: Path) -> None:
    (tmp_path / "faulty.toml").write_text(FAULTY)
    (tmp_path / "users.json").write_text(json.dumps(PERSONAS))

    def dies(body: dict[str, object], nth: int) -> str | None:
        return "<500>" if len(server.requests) > 36 * 3 + 10 else None

    with StubServer(script=dies) as server:
        command = ["run", tmp_path / "faulty.toml", "--llm", server.url, "--model", "stub", "--out", tmp_path / "run"]
        result = _oasis(*command, code=1)
    run = open_run(tmp_path / "run")
    assert run.manifest.status == "stopped"
    assert run.manifest.message
    assert run.manifest.message in result.stderr
    assert run.events.filter(pl.col("agent_id") >= 0).collect()["step"].unique().sort().to_list() == list(
        range(1, run.manifest.steps_done + 1)
    )
    assert run.llm_calls.collect().height == len(server.requests)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_in_order(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(SMALL.replace("steps = 4", "steps = 100000"))
    process = _start(tmp_path / "long.toml", tmp_path / "run")
    _wait_for_steps(tmp_path / "run", 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "stopped on request" in errors
    run = open_run(tmp_path / "run")
    assert run.manifest.status == "stopped"
    assert run.events.collect()["step"].max() == run.manifest.steps_done >= 3


def test_a_killed_run_is_named_so_and_readable(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(SMALL.replace("steps = 4", "steps = 100000"))
    process = _start(tmp_path / "long.toml", tmp_path / "run")
    _wait_for_steps(tmp_path / "run", 3)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert "KILLED" in _oasis("inspect", tmp_path / "run").stdout
    run = open_run(tmp_path / "run")
    assert run.events.collect()["step"].n_unique() == run.steps_done >= 3


def _start(scenario: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from oasis.cli import main; main()", "run", str(scenario), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def _wait_for_steps(path: Path, steps: int) -> None:
    for _ in range(600):
        if (path / "manifest.json").exists() and open_run(path).steps_done >= steps:
            return
        time.sleep(0.1)
    raise AssertionError("the run did not get going within a minute")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_the_library_is_what_the_command_is(finished: Path) -> None:
    from oasis import Scenario, Simulation

    scenario = Scenario.load(finished.parent / "small.toml")
    summary = asyncio.run(Simulation(scenario).run())
    assert summary.state_hash == open_run(finished).manifest.state_hash


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "oasis", "run", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == f"Error: {tmp_path / 'none.toml'}: no such scenario file\n"
