"""``oasis inspect`` says what happened, whatever state the run is in."""

import json
import shutil

import polars as pl
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation
from oasis.cli.inspect import inspect
from oasis.errors import OasisError
from oasis.runs import open_run
from oasis.runs.process import PROCESS
from oasis.runs.summary import coverage, summarise
from oasis.runs.text_table import one_line, text_table
from oasis.testing.runs import MadeUpRun


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return MadeUpRun(tmp_path_factory.mktemp("inspect") / "run").finish(report=False)


def call(*arguments):
    result = CliRunner().invoke(inspect, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, OasisError)
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def test_counts_and_coverage(path):
    code, text = call(path)
    assert code == 0
    assert "made up: done, 6 of 6 steps" in text
    assert "12 registered, 12 active at least once" in text
    assert "72, 66 by choice, 6 by llm, 0 llm_failed, 0 llm_invalid" in text
    for row in open_run(path).events.group_by("action", "outcome").len().collect().iter_rows():
        assert any(line.split()[:3] == [row[0], row[1], str(row[2])] for line in text.splitlines()), row
    assert "user_" not in text
    assert "Real Name" not in text


def test_json_is_the_same_in_numbers(path):
    code, text = call(path, "--json", "--top", "2")
    values = json.loads(text)
    assert code == 0
    assert (values["state"], values["coverage"]["decisions"], len(values["cascades"])) == ("done", 72, 2)
    assert sum(row["count"] for row in values["actions"]) == 72
    assert values["tokens"] == {"input": 900, "cached": 300, "output": 40}


def test_coverage_counted_from_events_is_the_manifests(path):
    run = open_run(path)
    assert coverage(run) == run.manifest.coverage.model_dump()


def test_failed_decisions_are_counted_apart(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=1)
    events = made.tables(1)["events"].to_pylist()
    for agent, outcome in ((0, "llm_failed"), (1, "llm_invalid")):
        events[agent] |= {"action": "no_decision", "outcome": outcome}
    events.append(events[2] | {"seq": 12, "turn": 1})  # a second action of one activation
    outside = {"agent_id": -1, "policy": "outside", "action": "sign_up", "outcome": "accepted", "seq": 13}
    events.append(events[2] | outside)
    made.recorder.record_step(1, {"events": type(made.tables(2)["events"]).from_pylist(events)}, {})
    made.recorder.close()
    counted = coverage(open_run(made.path))
    assert counted == {
        "registered": 13,
        "active": 12,
        "decisions": 12,
        "decided_by": {"choice": 10},
        "llm_failed": 1,
        "llm_invalid": 1,
    }


def test_a_dead_process_is_named(path, tmp_path):
    made = MadeUpRun(tmp_path / "run").record(5)
    assert "made up: running, 5 of 6 steps" in call(made.path)[1]
    note = json.loads((made.path / PROCESS).read_text())
    (made.path / PROCESS).write_text(json.dumps(note | {"started": "1"}))
    code, text = call(made.path)
    assert code == 0
    assert "KILLED: its process died" in text
    assert "5 of 6 steps" in text
    assert "60, 55 by choice, 5 by llm" in text
    assert json.loads(call(made.path, "--json")[1])["state"] == "killed"
    made.recorder.close()


def test_the_feed_an_agent_saw_and_what_it_did(path):
    code, text = call(path, "--agent", 3, "--step", 2, "--json")
    seen = json.loads(text)
    run = open_run(path)
    shown = run.impressions.filter((pl.col("agent_id") == 3) & (pl.col("step") == 2)).collect()
    assert code == 0
    assert [row["post_id"] for row in seen["feed"]] == shown["post_id"].to_list()
    assert [row["source"] for row in seen["feed"]] == ["followed", "popular"]
    assert all(row["content"] for row in seen["feed"])
    (action,) = seen["actions"]
    assert action["outcome"] == "accepted"
    assert "username" not in seen["agent"]
    code, text = call(path, "--agent", 3, "--step", 2)
    assert "what it was shown" in text
    assert "what it then did" in text


def test_group_messages_that_were_heard(tmp_path):
    rows = [
        {"step": 1, "agent_id": 0, "action": "create_group", "content": "friends"},
        {"step": 2, "agent_id": 0, "action": "send_to_group", "target_id": 0, "content": "hello @all"},
        {"step": 3, "agent_id": 0, "action": "listen_from_group", "target_id": 0},
    ]
    values = {
        "simulation": {"steps": 3},
        "population": {"agents": 3, "mean_active": 1.0, "history": 1},
        "recsys": {"kind": "random"},
        "platform": {"actions": ["create_group", "send_to_group", "listen_from_group"]},
        "policies": [{"kind": "scripted", "parameters": {"actions": rows}}],
        "interventions": [{"step": 3, "kind": "send_to_group", "agents": [0], "group": 0, "content": 'from "outside"'}],
        "output": {"report": False},
    }
    Simulation(Scenario.from_dict(values), tmp_path / "run").run_sync()
    feed = json.loads(call(tmp_path / "run", "--agent", 0, "--step", 3, "--json")[1])["feed"]
    heard = [(row["message_id"], row["author_id"], row["content"]) for row in feed if row["source"] == "group"]
    assert heard == [(0, 0, "hello @…"), (1, 0, 'from "outside"')]
    assert all(row["message_id"] is None for row in feed if row["source"] != "group")
    assert "hello" in call(tmp_path / "run", "--agent", 0, "--step", 3)[1]
    assert "message id" not in call(tmp_path / "run", "--agent", 0, "--step", 2)[1]


def test_who_acted_when(path):
    events = open_run(path).events.filter(pl.col("agent_id") >= 0).collect()
    shown = open_run(path).impressions.collect()
    for arguments, here in (
        (("--step", 2), pl.col("step") == 2),
        (("--agent", 3), pl.col("agent_id") == 3),
    ):
        code, text = call(path, *arguments, "--json")
        acted = json.loads(text)["activations"]
        wanted = events.filter(here).select("step", "agent_id").unique().sort("step", "agent_id")
        assert code == 0
        assert [(row["step"], row["agent_id"]) for row in acted] == wanted.rows()
        assert sum(row["shown"] for row in acted) == shown.filter(here).height
        done = events.filter(here).height
        assert sum(row["actions"].count(",") + 1 for row in acted) == done
        assert "shown" in call(path, *arguments)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--agent", 99, "--step", 1), "agents 0 to 11"),
        (("--agent", 1, "--step", 7), "steps 1 to 6"),
        (("--agent", 1, "--step", 0), "steps 1 to 6"),
        (("--agent", 12), "agents 0 to 11"),
        (("--step", 7), "steps 1 to 6"),
        (("--cascade", 1, "--step", 1), "not both"),
        (("--cascade", 1, "--agent", 1, "--step", 1), "not both"),
        (("--real", "x.csv"), "--real needs --cascade"),
        (("--cascade", 9999), "no post 9999"),
    ],
)
def test_bad_questions(path, arguments, message):
    code, text = call(path, *arguments)
    assert code == 2
    assert message in text


def test_an_agent_that_was_not_active_is_told_when_it_was(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=3)
    for step in (1, 2, 3):
        rows = made.tables(step)["events"]
        made.recorder.record_step(step, {"events": rows.slice(0, 4) if step == 2 else rows}, {})
    made.recorder.close()
    code, text = call(made.path, "--agent", 7, "--step", 2)
    assert code == 2
    assert "agent 7 was not active at step 2; it was at 1, 3" in text


def test_a_cascade_beside_a_real_one(path, tmp_path):
    real = tmp_path / "real.csv"
    real.write_text("minute,scale,depth,max_breadth\n0,1,0,0\n3,7,1,6\n")
    root = summarise(open_run(path)).cascades["root_id"][0]
    code, text = call(path, "--cascade", root, "--real", real)
    assert code == 0
    assert "real scale" in text
    rows = json.loads(call(path, "--cascade", root, "--real", real, "--json")[1])["steps"]
    assert [r["real_scale"] for r in rows[:3]] == [1, 7, None]


@pytest.mark.parametrize("name", ["events/000001-000004.parquet", "posts.parquet", "users.parquet", "metrics.parquet"])
def test_a_damaged_run_is_named(path, tmp_path, name):
    shutil.copytree(path, tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_bytes(file.read_bytes()[:-20])
    code, text = call(tmp_path / "run")
    assert code == 2
    assert f"{name}: damaged" in text
    file.unlink()
    code, text = call(tmp_path / "run")
    assert code == 2
    assert "missing" in text


def test_no_run(tmp_path):
    assert call(tmp_path / "nowhere")[0] == 2
    assert call(tmp_path)[0] == 2


def test_texts_cannot_steer_a_terminal():
    assert one_line("a\x1b[31m\nb\tc\u202ed\x00") == "a[31m b cd"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"
    frame = pl.DataFrame({"a_b": [1234, None], "text": ["one\ntwo", "\x1b]0;x"], "ok": [True, False], "r": [0.5, 1e7]})
    assert text_table(frame).splitlines() == [
        "  a b  text     ok            r",
        "1,234  one two  yes         0.5",
        "    -  ]0;x     no   10,000,000",
    ]
