"""Runs in every state are whole as they are written; whatever is done to their files is found and said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation
from oasis.cli import main
from oasis.errors import RunDirectoryError, RunStoppedError
from oasis.runs.verification import Verification, verify
from oasis.simulation import StepResult
from oasis.testing.servers import StubServer

Change = Callable[[pa.Table], pa.Table]

INTERVENTIONS: list[dict[str, Any]] = [
    {"step": 1, "kind": "post", "author": 3, "content": "Breaking news", "topic": "news", "likes": 9},
    {"step": 2, "kind": "seed_votes", "posts": {"where": {"topic": "news"}}, "likes": 40},
    {"step": 2, "kind": "sign_up", "username": "late", "activity": 1.0, "bio": "new here"},
    {"step": 3, "kind": "follow", "agents": {"share": 0.2}, "users": 3},
    {"step": 3, "kind": "ban", "agents": {"top": "followers", "count": 2}},
    {"step": 3, "kind": "interview", "agents": [1, 2], "question": "How are you?", "scale": [1, 7]},
    {"step": 4, "kind": "remove_post", "posts": 5},
    {"step": 5, "kind": "like_post", "agents": {"share": 0.2}, "posts": 0},
]


RUNS = ("done", "killed", "resumed", "stopped", "branch")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that is done; as it was when killed after five steps; resumed; one that was stopped then; a branch."""
    folder = tmp_path_factory.mktemp("runs")
    with StubServer() as server:
        scenario = Scenario.from_dict(
            {
                "simulation": {"steps": 6, "seed": 4},
                "platform": {"kind": "reddit"},
                "recsys": {"embedder": "hashed-ngrams"},
                "population": {"agents": 40, "mean_active": 0.3, "history": 1},
                "policies": [{"kind": "llm", "share": 0.3}, {"kind": "choice"}],
                "llm": {"endpoints": [server.url], "model": "stub"},
                "output": {"report": False, "sync": False, "steps_per_block": 3, "checkpoint_steps": 4},
                "interventions": INTERVENTIONS,
            }
        )

        def killed(result: StepResult) -> None:
            if result.step == 5:
                shutil.copytree(folder / "done", folder / "killed")

        def stopped(result: StepResult) -> None:
            if result.step == 5:
                stopping.request_stop()

        Simulation(scenario, folder / "done").run_sync(killed)
        stopping = Simulation(scenario, folder / "stopped")
        with pytest.raises(RunStoppedError):
            stopping.run_sync(stopped)
        process = json.loads((folder / "killed" / "process.json").read_text())
        (folder / "killed" / "process.json").write_text(json.dumps(process | {"started": "0"}))
        shutil.copytree(folder / "killed", folder / "resumed")
        for command in (
            ["resume", folder / "resumed"],
            ["branch", folder / "done", "--at-step", 2, "--out", folder / "branch"],
        ):
            result = CliRunner().invoke(main, [*map(str, command), "--quiet"])
            assert result.exit_code == 0, result.output
    return {name: folder / name for name in RUNS}


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(state: str) -> Path:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return Path(shutil.copytree(runs[state], tmp_path / "run"))

    return copy


def _files(run: Path) -> list[str]:
    return sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file() and not p.name.startswith("."))


def _said(found: Verification) -> str:
    return "\n".join(f"{p.file}: {p.text}" for p in found.problems) + "\n" + "\n".join(found.recovery)


def _rewrite(run: Path, file: str, change: Change) -> None:
    """Change a table and hash it again, as somebody would who wants it not to be seen."""
    path = run / file
    pq.write_table(change(pq.read_table(path)), path)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][file] = hashlib.sha256(path.read_bytes()).hexdigest()
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("name", "state"),
    [("done", "done"), ("killed", "killed"), ("resumed", "done"), ("stopped", "stopped"), ("branch", "done")],
)
def test_what_was_written_is_whole(name: str, state: str, runs: dict[str, Path]) -> None:
    found = verify(runs[name])
    assert found.ok, _said(found)
    assert (found.state, found.steps_whole) == (state, 6 if state == "done" else 5)
    assert all(check.ok for check in found.checks), [check.name for check in found.checks if check.ok is None]


def test_each_flipped_bit_in_a_file_that_is_listed_is_found(copied: Callable[[str], Path]) -> None:
    draw = random.Random(1)
    for _ in range(4):
        run = copied("done")
        names = [name for name in _files(run) if name != "manifest.json"]
        for name in names:
            content = bytearray((run / name).read_bytes())
            bit = draw.randrange(8 * len(content))
            content[bit // 8] ^= 1 << bit % 8
            (run / name).write_bytes(content)
        found = verify(run)
        assert {p.file for p in found.problems if "SHA-256" in p.text} >= set(names)


@pytest.mark.parametrize("state", ["done", "killed"])
def test_no_damage_is_too_much(state: str, copied: Callable[[str], Path]) -> None:
    """No exception whatever is done; and in a run that has ended, nothing is done unseen."""
    draw = random.Random(2)
    names = [n for n in _files(copied(state)) if not n.endswith(".arrow") or n.endswith("users.arrow")]
    for number, name in enumerate(names):
        run = copied(state)
        path = run / name
        content = path.read_bytes()
        damage = ("empty", "half", "delete", "directory", "noise")[number % 5]
        if damage in ("empty", "half"):
            path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
        elif damage == "noise":
            path.write_bytes(draw.randbytes(len(content)))
        else:
            path.unlink()
            if damage == "directory":
                path.mkdir()
        found = verify(run)
        assert not [p.text for p in found.problems if "cannot be checked" in p.text], (name, damage)
        assert not found.ok or state == "killed", (name, damage)
        assert found.recovery or found.ok


FIRST = "000001-000003.parquet"


def _drop(row: int) -> Change:
    return lambda table: pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def _with(column: str, row: int, value: Any) -> Change:
    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        at = table.schema.get_field_index(column)
        return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))

    return change


def _last_of_a_step(table: pa.Table) -> pa.Table:
    """Drop the last event of a step, one that made nothing: no number is missing."""
    step, created = table["step"].to_pylist(), table["created_id"].to_pylist()
    ends = [i for i in range(len(step)) if step[i] > 0 and (i + 1 == len(step) or step[i] != step[i + 1])]
    return _drop(next(i for i in ends if created[i] in (None, -1)))(table)


@pytest.mark.parametrize(
    ("file", "change", "wanted"),
    [
        (f"events/{FIRST}", _drop(9), "has after seq 8 the seq 10, not 9"),
        (f"events/{FIRST}", _last_of_a_step, ": events have actions"),
        (
            f"events/{FIRST}",
            lambda t: pa.concat_tables([t.slice(0, 9), t.slice(8)]),
            "has after seq 8 the seq 8, not 9",
        ),
        (f"events/{FIRST}", _with("agent_id", 9, 900), "is by agent 900, which does not exist: there are 41 users"),
        (f"events/{FIRST}", _with("probability", 9, 0.125), "step 1: its rows and those before give the digest"),
        (
            f"impressions/{FIRST}",
            _with("post_id", 7, lambda _: 41),
            "shows post 41, which was not there when that step",
        ),
        (
            f"impressions/{FIRST}",
            _with("post_id", 7, 9999),
            "step 1, agent 0, turn 0, position 7: shows post 9999; there are ",
        ),
        (f"impressions/{FIRST}", _drop(4), "breaks the order of positions"),
        (f"interviews/{FIRST}", lambda t: t.slice(1), "step 3: agent 1 was asked 1 times, 0 answers are there"),
        (f"llm_calls/{FIRST}", _with("tokens_in", 2, lambda n: n + 1), "tokens: input is"),
        (f"llm_calls/{FIRST}", _with("agent_id", 2, 900), "is of an agent that did not exist"),
        ("posts.parquet", _with("likes", 3, lambda n: n + 1), "row 3: likes is"),
        ("posts.parquet", _with("comments", 3, lambda n: n + 1), "row 3: comments is"),
        ("users.parquet", _with("followers", 3, lambda n: n + 1), "row 3: followers is"),
        ("users.parquet", _with("bio", 3, "another"), "row 3: bio is 'another', in the checkpoint"),
        ("follows.parquet", _drop(5), "following is"),
        ("metrics.parquet", _with("active", 2, 1), "metrics.parquet: step 3: events have active"),
        ("metrics.parquet", _drop(2), "has 5 rows for 6 steps; the first that is wrong is row 3"),
    ],
)
def test_a_fault_is_found_though_its_file_is_hashed_again(
    file: str, change: Change, wanted: str, copied: Callable[[str], Path]
) -> None:
    run = copied("done")
    _rewrite(run, file, change)
    assert wanted in _said(verify(run))


@pytest.mark.parametrize(
    ("table", "key", "wanted"),
    [
        ("coverage", "decisions", "coverage: decisions is"),
        ("coverage", "llm_invalid", "coverage: llm_invalid is"),
        ("tokens", "output", "tokens: output is"),
    ],
)
def test_a_count_that_is_off_by_one_is_found(table: str, key: str, wanted: str, copied: Callable[[str], Path]) -> None:
    run = copied("done")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest[table][key] += 1
    (run / "manifest.json").write_text(json.dumps(manifest))
    found = verify(run)
    assert wanted in _said(found)
    assert found.steps_whole == 6


def test_what_a_kill_leaves_unfinished_is_no_damage(copied: Callable[[str], Path]) -> None:
    run = copied("killed")
    for name in ("current/steps.jsonl", "journal.jsonl", *(f"current/{p.name}" for p in run.glob("current/*.arrows"))):
        with open(run / name, "ab") as file:
            file.write(b'{"step": 6, "agent')
    found = verify(run)
    assert found.ok, _said(found)
    notes = [note for check in found.checks for note in check.notes]
    assert sum("never happened" in note for note in notes) >= 3
    assert f"steps 1 to 5 are whole: `oasis resume {run}` goes on" in found.recovery


def test_a_run_that_goes_on_may_write_meanwhile(copied: Callable[[str], Path], runs: dict[str, Path]) -> None:
    run = copied("killed")
    (run / "process.json").unlink()  # whose process lives or not cannot be told
    block = "000004-000006.parquet"
    shutil.copy(runs["done"] / "events" / block, run / "events" / block)
    (run / "current" / "events-000004.arrows").unlink()
    found = verify(run)
    assert found.ok, _said(found)
    assert (found.state, found.steps_done) == ("running", 5)


def test_a_pipe_is_not_waited_for(copied: Callable[[str], Path]) -> None:
    run = copied("done")
    for name in ("posts.parquet", f"events/{FIRST}"):
        (run / name).unlink()
        os.mkfifo(run / name)
    assert "posts.parquet: is no file" in _said(verify(run))


def test_what_can_be_recovered_is_said(copied: Callable[[str], Path]) -> None:
    run = copied("done")
    (run / "events" / "000004-000006.parquet").unlink()
    found = verify(run)
    assert found.steps_whole == 3
    assert "events: no file holds steps 4 to 6" in _said(found)
    assert f"`oasis branch {run} --at-step 3` goes on from there" in _said(found)
    assert "calls of language models are whole" in _said(found)
    run = copied("killed")
    newest = sorted((run / "checkpoints").glob("[0-9]*/users.arrow"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert "the checkpoint of step 4 is damaged: resume and branch begin from the first step" in _said(verify(run))


def test_files_that_nobody_listed_are_found(copied: Callable[[str], Path]) -> None:
    run = copied("done")
    shutil.copy(run / "events" / FIRST, run / "events" / "000007-000009.parquet")
    (run / "notes.txt").write_text("mine")
    said = _said(verify(run))
    assert "events/000007-000009.parquet: ends with step 9, and 6 are done" in said
    assert "notes.txt: is there, though the manifest does not list it" in said


def test_the_command_says_it_with_its_exit_status(copied: Callable[[str], Path], tmp_path: Path) -> None:
    run = copied("done")
    result = CliRunner().invoke(main, ["verify", str(run)])
    assert (result.exit_code, "6 steps done: whole" in result.stdout) == (0, True)
    (run / "posts.parquet").unlink()
    result = CliRunner().invoke(main, ["verify", str(run), "--json"])
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["ok"], facts["steps_whole"]) == (1, False, 6)
    assert {"posts.parquet"} == {p["file"] for check in facts["checks"] for p in check["problems"]}
    (run / "manifest.json").write_text("{")
    assert CliRunner().invoke(main, ["verify", str(run)]).exit_code == 1
    (tmp_path / "empty").mkdir()
    for none in ("empty", "nowhere"):
        result = CliRunner().invoke(main, ["verify", str(tmp_path / none)])
        assert (result.exit_code, "Error:" in result.stderr) == (2, True)
        with pytest.raises(RunDirectoryError):
            verify(tmp_path / none)
