"""Bad input: a clear message, exit status 2, no traceback, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from oasis.cli import main
from oasis.testing.runs import MadeUpRun

GOOD = {"simulation": "steps = 2", "population": "agents = 20"}


def _scenario(folder: Path, extra: str = "", **tables: str) -> Path:
    text = "\n".join(f"[{name}]\n{body}" for name, body in (GOOD | tables).items())
    path = folder / "case.toml"
    path.write_text(f"{text}\n{extra}", "utf-8")
    return path


def _csv(folder: Path, *lines: str) -> str:
    path = folder / "users.csv"
    path.write_text("\n".join(["user_id,username,following_agentid_list", *lines]) + "\n", "utf-8")
    return f'source = "x-csv"\npath = "{path.name}"'


def _fails(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stderr


CASES = {
    "unknown key": ({"recsys": "siz = 3"}, "", ["recsys.siz", "'size'"]),
    "unknown table": ({"recsis": "size = 3"}, "", ["recsis", "'recsys'"]),
    "unknown recommender": ({"recsys": 'kind = "hott"'}, "", ["'hott'", "did you mean 'hot'", "interest"]),
    "unknown recommender parameter": ({"recsys": "parameters = {in_network_shar = 1}"}, "", ["in_network_shar"]),
    "unknown platform": ({"platform": 'kind = "y"'}, "", ["'y'", "reddit"]),
    "unknown rule": ({"platform": "rules = {comments_per_pos = 1}"}, "", ["comments_per_pos", "comments_per_post"]),
    "unknown order of comments": ({"platform": 'rules = {comment_order = "best"}'}, "", ["comment_order", "'top'"]),
    "unknown baseline": ({"baseline": 'kind = "shuffled"'}, "", ["baseline.kind", "'shuffled-feed'"]),
    "baseline without rates": ({"baseline": 'kind = "activity-only"'}, "", ["rates_from", "got neither"]),
    "rates of another baseline": (
        {"baseline": 'kind = "no-interaction"\nrates = {repost = 1.0}'},
        "",
        ["for activity-only", "no-interaction"],
    ),
    "rate of no action": (
        {"baseline": 'kind = "activity-only"\nrates = {repots = 1.0}'},
        "",
        ["'repots'", "did you mean 'repost'"],
    ),
    "rates of no run": ({"baseline": 'kind = "activity-only"\nrates_from = "nowhere"'}, "", ["nowhere"]),
    "rates and coefficients": (
        {},
        '[[policies]]\nkind = "choice"\nparameters = {rates = {repost = 0.1}, first = 0.5}',
        ["rates take the place of first"],
    ),
    "unknown policy": ({}, '[[policies]]\nkind = "choise"', ["'choise'", "'choice'"]),
    "unknown activation": ({"activation": 'kind = "hurly"'}, "", ["'hurly'", "'hourly'"]),
    "unknown embedder": ({"recsys": 'embedder = "wordlama"'}, "", ["'wordlama'", "'wordllama'"]),
    "unknown source": ({"population": 'source = "csv"'}, "", ["'csv'", "x-csv"]),
    "NaN probability": ({"population": "mean_active = nan"}, "", ["mean_active", "nan"]),
    "probability above one": ({"population": "mean_active = 1.2"}, "", ["mean_active", "1.2"]),
    "negative share": ({}, '[[policies]]\nkind = "choice"\nshare = -0.1', ["policies.0.share", "-0.1"]),
    "NaN coefficient": (
        {},
        '[[policies]]\nkind = "choice"\nparameters = {coefficients = {repost = {intercept = nan}}}',
        ["intercept", "nan"],
    ),
    "unknown coefficient": (
        {},
        '[[policies]]\nkind = "choice"\nparameters = {coefficients = {repost = {intercep = 1}}}',
        ["intercep", "intercept"],
    ),
    "no agents": ({"population": "agents = 0"}, "", ["population.agents", "0"]),
    "agents without a policy": ({}, '[[policies]]\nkind = "choice"\nshare = 0.5', ["10 of 20 agents have no policy"]),
    "intervention on an unknown agent": (
        {},
        '[[interventions]]\nstep = 1\nkind = "ban"\nagents = 20',
        ["interventions.0.agents", "no agent 20", "0 to 19"],
    ),
    "intervention on an unknown column": (
        {},
        '[[interventions]]\nstep = 1\nkind = "ban"\nagents = {where = {grup = "a"}}',
        ["interventions.0.agents", "'grup'", "'group'"],
    ),
    "unknown intervention": ({}, '[[interventions]]\nstep = 1\nkind = "bann"', ["interventions.0.kind", "'ban'"]),
    "intervention without its argument": (
        {},
        '[[interventions]]\nstep = 1\nkind = "post"\nagents = 1',
        ["interventions.0", "needs content"],
    ),
    "intervention with a wrong argument": (
        {},
        '[[interventions]]\nstep = 1\nkind = "ban"\nagents = 1\ncontnt = "x"',
        ["interventions.0.contnt"],
    ),
    "text for a number": ({"simulation": 'steps = "3"'}, "", ["simulation.steps", "valid integer", "'3'"]),
    "boolean for a number": ({"population": "agents = true"}, "", ["population.agents", "True"]),
    "number for a boolean": ({"output": "report = 0"}, "", ["output.report", "boolean"]),
    "number for a table": ({"platform": "rules = 3"}, "", ["platform.rules: should be a table, got 3"]),
    "table for a list": ({}, '[policies]\nkind = "choice"', ["policies: should be a list"]),
    "number for a time": ({"simulation": "steps = 1\nstart = 3"}, "", ["simulation.start", "2024-01-01T00:00:00Z"]),
    "time beyond the calendar": (
        {"simulation": "steps = 9\nstart = 9999-12-31T23:59:00Z"},
        "",
        ["9 steps of 3 minutes", "years 1 to 9999"],
    ),
    "no end of time": ({"simulation": "steps = 9\nstep_minutes = 1e300"}, "", ["step_minutes"]),
    "name with a folder": ({"simulation": 'steps = 1\nname = "../x"'}, "", ["simulation.name", "'../x'"]),
    "name with a slash": ({"simulation": 'steps = 1\nname = "a/b"'}, "", ["simulation.name", "'/'"]),
    "name with a NUL": ({"simulation": 'steps = 1\nname = "a\\u0000b"'}, "", ["simulation.name", "'\\x00'"]),
    "no name": ({"simulation": 'steps = 1\nname = ""'}, "", ["simulation.name"]),
    "empty recommender": ({"recsys": 'kind = ""'}, "", ["no recommender named ''"]),
    "policy that is not there": ({}, '[[policies]]\nkind = "replay"', ["no policy named 'replay'"]),
    "parameter of the second policy": (
        {},
        '[[policies]]\nkind = "choice"\nshare = 0.5\n[[policies]]\nkind = "choice"\nparameters = {max_action = 2}',
        ["policies.1 (choice)", "'max_actions'"],
    ),
    "select and share": (
        {},
        '[[policies]]\nkind = "choice"\nshare = 0.5\nselect = [1]\n[[policies]]\nkind = "choice"',
        ["policies.0", "select or share, not both"],
    ),
    "shares above one": (
        {},
        '[[policies]]\nkind = "choice"\nshare = 0.8\n[[policies]]\nkind = "choice"\nshare = 0.8',
        ["policies", "add up to 1.6"],
    ),
    "unknown key of a range": (
        {},
        '[[policies]]\nkind = "choice"\nselect = {where = {followers = {mn = 3}}}',
        ["policies.0.select.where: followers: unknown key 'mn' (did you mean 'min'?)"],
    ),
    "no endpoint": ({}, '[[policies]]\nkind = "llm"', ["--llm URL --model NAME"]),
    "endpoint that is no URL": ({"llm": 'endpoints = ["localhost:8000"]'}, "", ["llm.endpoints", "localhost:8000"]),
    "missing population file": (
        {"population": 'source = "x-csv"\npath = "none.csv"'},
        "",
        ["none.csv", "no such file"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_scenario(name: str, tmp_path: Path) -> None:
    tables, extra, parts = CASES[name]
    message = _fails("run", _scenario(tmp_path, extra, **tables), "--out", tmp_path / "run")
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["case.toml"]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (["1,a,[]", "2,b"], ["users.csv, line 3", "2 cells"]),
        (["1,a,[]", "2,b,[5]"], ["users.csv, line 3", "agent 5"]),
        (["1,a,[]", "1,b,[]"], ["users.csv, line 3", "user_id '1'"]),
        ([], ["users.csv", "no users"]),
    ],
)
def test_a_wrong_population(lines: list[str], parts: list[str], tmp_path: Path) -> None:
    path = _scenario(tmp_path, population=_csv(tmp_path, *lines))
    message = _fails("run", path, "--out", tmp_path / "run")
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists()


def test_an_existing_run_directory_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("data")
    assert "is there already" in _fails("run", _scenario(tmp_path), "--out", tmp_path / "run")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["precious"]


def test_missing_and_malformed_scenarios(tmp_path: Path) -> None:
    assert "no such scenario file" in _fails("run", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[simulation\n")
    assert "line 1" in _fails("run", tmp_path / "bad.toml")
    assert "KEY=VALUE" in _fails("run", _scenario(tmp_path), "--set", "nonsense")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (".steps=3", "KEY=VALUE"),
        ("simulation..steps=3", "KEY=VALUE"),
        ("simulation.steps=3\nsimulation.seed=4", "one KEY=VALUE"),
        ("policies.0.kind=choice", "lists no policies"),
        ("simulation.steps.x=3", "simulation.steps is a value"),
    ],
)
def test_malformed_overrides(override: str, message: str, tmp_path: Path) -> None:
    assert message in _fails("run", _scenario(tmp_path), "--set", override, "--out", tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["case.toml"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 250, "new/folder/" + "x" * 300, "new/folder/" + "x" * 250])
def test_directories_that_cannot_be_made(name: str, tmp_path: Path) -> None:
    assert "cannot be made" in _fails("run", _scenario(tmp_path), "--out", tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["case.toml"]


def test_secrets_are_not_repeated(tmp_path: Path) -> None:
    assert "sk-secret" not in _fails("run", _scenario(tmp_path, llm='api_key_env = "sk-secret"'))
    scenario = _scenario(tmp_path, llm='endpoints = ["http://user:pa55@127.0.0.1:1"]\nmodel = "m"')
    assert "pa55" not in _fails("run", scenario)


def test_a_model_that_nobody_asks(tmp_path: Path) -> None:
    assert "--llm URL" in _fails("run", _scenario(tmp_path), "--model", "m", "--out", tmp_path / "run")


def test_runs_that_are_none(tmp_path: Path) -> None:
    for command in (
        ["inspect", tmp_path / "none"],
        ["export", tmp_path / "none", "--to", "csv", "--out", tmp_path / "out"],
        ["interview", tmp_path / "none", "--agent", "0", "Why?"],
    ):
        assert "none" in _fails(*command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["csv", "graphml", "sqlite"])
def test_exports_that_cannot_be_written(to: str, tmp_path: Path) -> None:
    run = MadeUpRun(tmp_path / "run", steps=1).finish(report=False)
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    for out in ("x" * 300, "x" * 250, "file/x", "file"):
        message = _fails("export", run, "--to", to, "--out", tmp_path / out)
        assert "cannot be made" in message or "is there already" in message
    assert sorted(tmp_path.iterdir()) == before


def test_populations_that_cannot_be_written(tmp_path: Path) -> None:
    message = _fails("population", "generate", "--agents", "5", "--out", tmp_path / ("x" * 300))
    assert "cannot be made" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("--scale", "1", "inf"), ("--option", "a", "--option", "a"), ("--option", " ")])
def test_questions_that_have_no_answer(arguments: tuple[str, ...], tmp_path: Path) -> None:
    _fails("interview", tmp_path, "--agent", "0", "Why?", *arguments)


def test_bad_usage(tmp_path: Path) -> None:
    _fails("runn")
    _fails("run", _scenario(tmp_path), "--no-such-option")
    _fails("run", _scenario(tmp_path), "--llm-share", "2")
    _fails("export", tmp_path, "--to", "excel", "--out", tmp_path / "out")
    _fails("population", "generate", "--agents", "0", "--out", tmp_path / "out")
    assert "assortativity" in _fails(
        "population", "generate", "--agents", "5", "--set", "asortativity=1", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


def test_runs_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    run = MadeUpRun(tmp_path / "run", steps=1).finish(report=False)
    with monkeypatch.context() as patch:
        patch.setattr("oasis.runs.reading.pq.read_metadata", denied)
        assert "cannot be read: permission denied" in _fails("inspect", run)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", denied)
        assert "cannot be read: Permission denied" in _fails("inspect", run)
