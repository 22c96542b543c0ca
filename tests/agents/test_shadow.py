"""A language model asked in the shadow of a run: its answers are set beside the choice model, and nothing is done."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation
from oasis.actions import TEXT_ACTIONS, Action, ActionBatch
from oasis.agents.choice import Choice
from oasis.agents.choice.calibration import calibration_error, calibration_table, error_by_chance
from oasis.agents.choice.likelihood import log_likelihoods
from oasis.agents.choice.model import ChoiceParameters
from oasis.agents.llm import LLM
from oasis.agents.prompting.options import Options
from oasis.agents.shadow import model_asked
from oasis.agents.shadow.answers import Answers, Foretold
from oasis.agents.shadow.files import asked_table, occasions_table
from oasis.agents.shadow.resampling import interval, resampled
from oasis.agents.shadow.scoring import score, surprise
from oasis.agents.shadow.shadow import Shadow, shadow_run
from oasis.cli.main import main
from oasis.errors import BudgetError, FailureLimitError, InputError, NoEndpointError
from oasis.inference import Client, MockTransport, Prompt
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, Decisions, InferenceRequest, Observations, PolicyContext
from oasis.randomness import Draws
from oasis.testing.inference import schema_client
from oasis.testing.servers import StubServer

PLANTED: dict[str, Any] = {
    "first": 0.9,
    "persistence": 0.85,
    "max_actions": 30,
    "coefficients": {
        "like_post": {"intercept": -1.5, "interest": 1.0},
        "repost": {"intercept": -3.0, "in_network": 1.0},
        "create_comment": {"intercept": -3.5},
        "follow": {"intercept": -3.0},
    },
}
ACTIONS = ["like_post", "repost", "create_comment", "follow", "create_post", "do_nothing"]


def make(path: Path, policies: list[dict[str, Any]], agents: int = 120, steps: int = 6, **further: Any) -> Path:
    values = {
        "simulation": {"steps": steps, "seed": 3},
        "platform": {"kind": "x", "actions": ACTIONS},
        "population": {"agents": agents, "mean_active": 0.4},
        "policies": policies,
        "output": {"report": False, "sync": False},
        **further,
    }
    Simulation(Scenario.from_dict(values), path, inference=schema_client()).run_sync()
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("planted") / "run", [{"kind": "choice", "parameters": PLANTED}])


def answering(answer: Callable[[Prompt], str], **config: Any) -> Client:
    return Client([MockTransport(answer)], LLMConfig(model="mock", **config))


def always_likes(prompt: Prompt) -> str:
    for choice in ({"action": "like_post", "n": 1}, {"action": "do_nothing"}):
        if f'"{choice["action"]}"' in json.dumps(prompt.schema):
            return json.dumps({"actions": [choice]})
    raise AssertionError("nothing can be done")


def ask(run: Path, share: float = 1.0, **further: Any) -> Shadow:
    return asyncio.run(shadow_run(run, share, **further))


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder)} {path.stat().st_mtime_ns}".encode() + path.read_bytes())
    return whole.hexdigest()


class _Imitator:
    """A client whose model answers what `decided` says, in the words of the question."""

    def __init__(self) -> None:
        self.decided: dict[tuple[int, int], ActionBatch] = {}
        self._client = schema_client()
        self.take_records, self.close = self._client.take_records, self._client.close

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        done = []
        for request in requests:
            options: Options = request.check.__self__  # type: ignore[attr-defined]
            rows = self.decided[request.step, request.agent_id]
            text = json.dumps({"actions": [_item(options, rows, row) for row in range(len(rows))]})
            done.append(Completion(request, "ok", value=request.check(text), text=text))
        return done


def _item(options: Options, rows: ActionBatch, row: int) -> dict[str, Any]:
    action, target = Action(rows.action[row]), int(rows.target_id[row])
    item: dict[str, Any] = {"action": action.label}
    if options.numbers[action]:
        item["n"] = next(n for n in options.numbers[action] if options.choice(action, n).target == target)
    if action in TEXT_ACTIONS:
        item["content"] = "Well said."
    return item


def imitating(client: _Imitator, parameters: dict[str, Any]) -> type[LLM]:
    """Return a policy whose model decides by draws of its own from the choice model, through prompts and answers."""

    class Imitating(LLM):
        async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
            own = replace(ctx, base=replace(ctx.base, draws=Draws(99)))
            actions = (await Choice(ChoiceParameters.model_validate(parameters)).decide(observations, own)).actions
            for agent in observations.agent_ids.tolist():
                client.decided[ctx.base.step, agent] = actions.take(actions.agent_id == agent)
            return await super().decide(observations, ctx)

    return Imitating


def test_a_model_that_decides_as_the_choice_model_is_foretold_as_well_as_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _Imitator()
    monkeypatch.setattr(model_asked, "LLM", imitating(client, PLANTED))
    llm = {"kind": "llm", "share": 0.0, "parameters": {"max_actions": 10}}
    path = make(tmp_path / "run", [llm, {"kind": "choice", "parameters": PLANTED}], agents=300, steps=8)
    found = ask(path, inference=client)
    assert found.counts["answered"] == found.counts["activations"] > 500
    assert found.counts["scored"] == found.counts["actions"] > 300
    losses = {row["score"]: row for row in found.scores.losses.to_dicts()}
    excess = losses["above_entropy"]
    assert excess["low"] < 0 < excess["high"]
    assert losses["entropy"]["value"] == pytest.approx(losses["log_loss"]["value"], rel=0.1)
    assert losses["above_constant"]["high"] < 0
    error = found.scores.calibration_error
    assert error["value"] is not None
    assert error["by_chance"] is not None
    assert error["value"] < 3 * error["by_chance"]
    shares = found.scores.shares.drop_nulls("above_expected")
    inside = (pl.col("above_expected_low") < 0) & (pl.col("above_expected_high") > 0)
    assert set(shares["action"]) == set(ACTIONS) - {"do_nothing"}
    assert shares.select(inside.mean()).item() >= 0.8
    assert shares.select(((pl.col("low") < 0) & (pl.col("high") > 0)).mean()).item() >= 0.8


def test_a_model_that_always_likes_is_told_apart(tmp_path: Path) -> None:
    found = ask(make(tmp_path / "run", [{"kind": "choice"}]), inference=answering(always_likes))
    shares = {row["action"]: row for row in found.scores.shares.to_dicts()}
    likes = shares["like_post"]
    assert likes["asked"] == pytest.approx(1.0, abs=0.05)
    assert likes["difference"] == pytest.approx(likes["asked"] - likes["recorded"])
    assert 0 < likes["low"] < likes["difference"] < likes["high"]
    assert shares["do_nothing"]["high"] < 0
    for action in ("repost", "follow", "create_comment", "create_post"):
        assert shares[action]["asked"] == 0
        assert shares[action]["above_expected"] == -shares[action]["expected"] < 0
    losses = {row["score"]: row for row in found.scores.losses.to_dicts()}
    assert losses["above_entropy"]["low"] > 0
    assert found.scores.calibration_error["low"] > 3 * found.scores.calibration_error["by_chance"]  # type: ignore[operator]
    table = occasions_table(found.answers)
    likes = table.filter(pl.col("asked") != "do_nothing")
    assert set(likes["asked"]) == {"like_post"}
    assert len(likes) == found.counts["scored"]
    assert losses["log_loss"]["value"] == pytest.approx(table["log_loss"].mean())
    assert losses["entropy"]["value"] == pytest.approx(table["entropy"].mean())


def test_what_was_recorded_is_what_the_run_did(run: Path) -> None:
    """Every action of a policy that looks nothing up is the choice of an occasion, with a probability above 0."""
    found = ask(run, inference=answering(always_likes))
    recorded = found.answers.actions("recorded").filter(pl.col("action") != Action.DO_NOTHING)
    occasions = found.answers.occasions()
    assert sum(int((each.recorded > 0).sum()) for each in occasions.values()) == len(recorded)
    for each in occasions.values():
        assert each.chances.sum(axis=1) == pytest.approx(1.0)
        assert (np.take_along_axis(each.chances, each.recorded[:, None], axis=1) > 0).all()
        assert (each.chances[:, 0] < 1).all()


def test_the_run_stays_byte_for_byte_as_it_was(run: Path, tmp_path: Path) -> None:
    before = digest(run)
    with StubServer() as server:
        words = ["shadow", str(run), "--llm", server.url, "--model", "stub", "--share", "0.3"]
        said = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "found")])
        assert said.exit_code == 0, said.output
        assert digest(run) == before
        assert "log loss per occasion" in said.stdout
        folder = tmp_path / "found"
        names = {"asked.parquet", "llm_calls.parquet", "occasions.parquet", "shadow.png", "summary.json"}
        assert {path.name for path in folder.iterdir()} == names
        summary = json.loads((folder / "summary.json").read_text())
        printed = CliRunner().invoke(main, [*words, "--json"])
        assert json.loads(printed.stdout).items() <= summary.items()
        asked = pl.read_parquet(folder / "asked.parquet")
        assert len(asked) == summary["counts"]["asked"]
        assert asked["outcome"].unique().to_list() == ["answered"]
        assert asked["asked_actions"].list.len().min() == 1
        assert pl.read_parquet(folder / "llm_calls.parquet")["prompt"].null_count() == 0
        again = CliRunner().invoke(main, [*words, "--out", str(folder)])
        assert (again.exit_code, "is there already" in again.stderr) == (2, True)
        inside = CliRunner().invoke(main, [*words, "--out", str(run / "shadow")])
        assert (inside.exit_code, "lies in the run" in inside.stderr) == (2, True)
        assert digest(run) == before


def test_whom_it_asks_is_a_matter_of_the_seed_alone(run: Path) -> None:
    def found(share: float, seed: int, batch_size: int) -> Shadow:
        client = answering(always_likes)
        return ask(run, share, seed=seed, inference=client, batch_size=batch_size)

    whole, parts = found(0.3, 5, 8192), found(0.3, 5, 7)
    assert asked_table(whole.answers).equals(asked_table(parts.answers))
    assert occasions_table(whole.answers).equals(occasions_table(parts.answers))
    assert whole.summary() == parts.summary()
    assert not asked_table(found(0.3, 6, 8192).answers).equals(asked_table(whole.answers))
    activations = whole.counts["activations"]
    assert abs(whole.counts["asked"] / activations - 0.3) < 4 * np.sqrt(0.3 * 0.7 / activations)
    every = found(1.0, 5, 8192)
    assert every.counts["asked"] == activations
    asked = {tuple(row) for row in asked_table(every.answers).select("step", "agent_id").iter_rows()}
    assert {tuple(row) for row in asked_table(whole.answers).select("step", "agent_id").iter_rows()} < asked


def test_agents_are_asked_with_what_they_saw_and_did(run: Path) -> None:
    """Prompts are those of an ``llm`` policy: the feed, and the deeds that the run recorded up to then."""
    transport = MockTransport(always_likes)
    client = Client([transport], LLMConfig(model="mock"))
    found = ask(run, inference=client)
    first = found.answers.in_order()[0].step
    assert len(transport.prompts) == found.counts["asked"]
    later = [prompt.messages[1][1] for prompt in transport.prompts[-50:]]
    recorded = found.answers.actions("recorded").filter(pl.col("step") > first)
    assert (recorded["action"] == Action.LIKE_POST).any()
    assert any("\nliked user_" in text for text in later)
    assert not any("YOU REMEMBER" in prompt.messages[1][1] for prompt in transport.prompts[:5])


def test_failures_are_counted_and_bound(run: Path) -> None:
    def model(prompt: Prompt) -> str:
        return "nonsense" if sum(map(ord, prompt.messages[-1][1])) % 10 == 0 else always_likes(prompt)

    llm = {"failure_limit": 1.0}
    found = ask(run, inference=answering(model, attempts=1), llm=llm)
    assert found.counts["llm_invalid"] > 5
    assert found.counts["answered"] + found.counts["llm_invalid"] == found.counts["asked"]
    table = asked_table(found.answers)
    assert table.filter(outcome="llm_invalid")["asked_actions"].null_count() == found.counts["llm_invalid"]
    with pytest.raises(FailureLimitError, match="nothing was kept"):
        ask(run, inference=answering(model, attempts=1), llm={"failure_limit": 0.01})


def test_a_server_that_fails_leaves_nothing(run: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "found", digest(run)
    with StubServer(share=1.0, faults=["500"]) as server:
        words = ["shadow", str(run), "--llm", server.url, "--model", "stub", "--out", str(out), "--share", "0.1"]
        said = CliRunner().invoke(main, [*words, "--set", "llm.attempts=2"])
    assert said.exit_code == 1
    assert said.stderr.startswith("Error: ")
    assert not list(tmp_path.iterdir())
    assert digest(run) == before


def test_nobody_listens(run: Path) -> None:
    llm = {"endpoints": ["http://127.0.0.1:9/v1"], "model": "m"}
    with pytest.raises(NoEndpointError, match="no inference endpoint is alive"):
        ask(run, 0.1, llm=llm)


def test_a_budget_bounds_what_is_asked(run: Path) -> None:
    with (
        StubServer() as server,
        pytest.raises(BudgetError, match=r"budget.max_calls \(5\) is used up.*nothing was kept"),
    ):
        ask(run, 1.0, llm={"endpoints": [server.url], "model": "stub"}, overrides=["budget.max_calls=5"])
    assert len(server.requests) <= 5


def test_what_cannot_be_shadowed_is_said(run: Path, tmp_path: Path) -> None:
    client = answering(always_likes)
    only = make(tmp_path / "llm", [{"kind": "llm"}], agents=20, steps=2)
    with pytest.raises(InputError, match=r"no agent is decided for by a choice policy \(there are llm\)"):
        ask(only, inference=client)
    two = [{"kind": "choice", "name": "a", "share": 0.5}, {"kind": "choice", "name": "b"}]
    several = make(tmp_path / "two", two, agents=30, steps=2)
    with pytest.raises(InputError, match=r"several choice policies: name one with --decided-by \(a, b\)"):
        ask(several, inference=client)
    assert 0 < ask(several, policy="b", inference=client).counts["activations"] < 40
    with pytest.raises(InputError, match="has no choice policy 'llm'; there are a, b"):
        ask(several, policy="llm", inference=client)
    rates = [{"kind": "choice", "parameters": {"rates": {"like_post": 0.5}}}]
    with pytest.raises(InputError, match="decides by given rates"):
        ask(make(tmp_path / "rates", rates, agents=20, steps=2), inference=client)
    with pytest.raises(InputError, match="was drawn; give a larger --share"):
        ask(several, 1e-6, policy="a", inference=client)
    with pytest.raises(InputError, match="give --llm URL --model NAME"):
        ask(run)
    for override, message in (
        ("simulation.steps=3", "allowed are llm.KEY, budget.KEY and policy.KEY"),
        ("policy.max_turns=3", "leave it out"),
        ("policy.nonsense=3", "unknown key"),
    ):
        with pytest.raises(InputError, match=message):
            ask(run, inference=client, overrides=[override])
    said = CliRunner().invoke(main, ["shadow", str(run), "--share", "0"])
    assert said.exit_code == 2


def test_an_interrupt_ends_it_in_order(run: Path, tmp_path: Path) -> None:
    with StubServer(delay_s=30.0) as server:
        words = ["shadow", str(run), "--llm", server.url, "--model", "stub", "--out", str(tmp_path / "found")]
        code = "from oasis.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--share", "1"], stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 60
        while not server.requests and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.strip() == "Error: stopped on request; nothing was kept; the run is as it was"
    assert not list(tmp_path.iterdir())


def shadowed(run: Path, out: Path, server: StubServer, *words: str) -> Any:
    common = ["shadow", str(run), "--llm", server.url, "--model", "stub", "--share", "0.4", "--quiet"]
    return CliRunner().invoke(main, [*common, "--out", str(out), *words])


def prompts(server: StubServer) -> list[str]:
    return sorted(json.dumps(body["messages"]) for body in server.requests)


def tables(out: Path) -> list[Any]:
    calls = pl.read_parquet(out / "llm_calls.parquet").drop("latency_ms")
    summary = json.loads((out / "summary.json").read_text())
    return [
        summary,
        calls.rows(),
        *(pl.read_parquet(out / name).rows() for name in ("asked.parquet", "occasions.parquet")),
    ]


@pytest.fixture(scope="module")
def undisturbed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return tables and prompts of a shadow that nothing ended."""
    out = tmp_path_factory.mktemp("undisturbed") / "found"
    with StubServer() as server:
        assert shadowed(run, out, server).exit_code == 0
        assert not out.with_name("found.begun").exists()
        return tables(out), prompts(server)


def same(found: list[Any], other: list[Any]) -> bool:
    """Compare tables, but for the server's address in calls."""
    calls = [[[v for v in row if not str(v).startswith("http")] for row in part[1]] for part in (found, other)]
    return calls[0] == calls[1] and [found[0], *found[2:]] == [other[0], *other[2:]]


def test_a_budget_that_is_used_up_loses_no_answer(run: Path, undisturbed: Any, tmp_path: Path) -> None:
    out, found = tmp_path / "found", undisturbed
    limit = len(found[1]) // 2
    with StubServer() as server:
        said = shadowed(run, out, server, "--set", f"budget.max_calls={limit}")
        assert said.exit_code == 1
        assert f"{limit} answers are kept in {out}.begun: the same command goes on from them" in said.stderr
        assert not out.exists()
        for words, other in ((["--seed", "5"], "seed"), (["--set", "llm.temperature=0.5"], "llm")):
            said = shadowed(run, out, server, *words)
            assert said.exit_code == 2
            assert f"asked for with another {other}; go on with the same" in said.stderr
        assert len(server.requests) == limit
        assert shadowed(run, out, server).exit_code == 0
        assert prompts(server) == found[1]  # nothing twice, nothing left out
    assert same(tables(out), found[0])
    assert [path.name for path in tmp_path.iterdir()] == ["found"]


def test_a_kill_loses_no_answer(run: Path, undisturbed: Any, tmp_path: Path) -> None:
    out, found = tmp_path / "found", undisturbed
    limit = len(found[1]) // 3
    words = ["shadow", str(run), "--model", "stub", "--share", "0.4", "--out", str(out), "--set", "llm.concurrency=4"]
    process: subprocess.Popen[bytes] | None = None
    came: list[int] = []

    def script(body: dict[str, Any], nth: int) -> None:
        came.append(nth)
        if len(came) == limit and process is not None:
            os.kill(process.pid, signal.SIGKILL)

    with StubServer(script=script, delay_s=0.01) as server:
        code = "from oasis.cli import main; main()"
        process = subprocess.Popen([sys.executable, "-c", code, *words, "--llm", server.url])
        assert process.wait(60) == -signal.SIGKILL
    with (tmp_path / "found.begun" / "journal.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "agent_')  # torn
    with StubServer() as server:
        assert shadowed(run, out, server).exit_code == 0
        asked = prompts(server)
    assert len(found[1]) - limit <= len(asked) <= len(found[1]) - limit + 8
    assert same(tables(out), found[0])


def test_log_loss_is_that_of_the_fit() -> None:
    """-log of e P(k) and of 1 - e + e P(0), and the entropy of these by hand."""
    given = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    examined = np.array([0.5, 0.9])
    chances = given * examined[:, None]
    chances[:, 0] += 1 - examined
    taken, zeros = np.array([0, 1]), np.zeros(2, np.int64)
    found = Foretold((Action.DO_NOTHING, Action.LIKE_POST, Action.REPOST), zeros, zeros, zeros, chances, taken, taken)
    loss, entropy = surprise(found)
    assert loss == pytest.approx(-log_likelihoods(given, taken, examined))
    assert entropy[0] == pytest.approx(-(0.8 * np.log(0.8) + 0.15 * np.log(0.15) + 0.05 * np.log(0.05)))


def test_intervals_over_agents_are_those_of_a_mean() -> None:
    """The percentile interval of a mean is about its normal one, and draws depend on nothing but the seed."""
    values = np.random.default_rng(1).normal(3.0, 2.0, (400, 1))
    means = resampled(values, Draws(1)) / 400
    low, high = interval(means)
    half = 1.96 * values.std() / np.sqrt(400)
    assert low[0] == pytest.approx(values.mean() - half, abs=0.03)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.03)
    assert resampled(values, Draws(1), 10) == pytest.approx(means[:10] * 400)
    assert resampled(np.ones((7, 2)), Draws(1), 5) == pytest.approx(np.full((5, 2), 7.0))
    some = interval(np.array([[1.0, np.nan, 4.0], [np.nan, np.nan, 4.0], [2.0, np.nan, 4.0]]))
    assert (some[0][0], some[1][0]) == (1.0, 2.0)
    assert np.isnan([some[0][1:], some[1][1:]]).all()


def test_what_calibration_errs_by_chance() -> None:
    draw = np.random.default_rng(2)
    expected = draw.uniform(0.01, 0.4, 5000)
    errors = [calibration_error(calibration_table(expected, draw.uniform(size=5000) < expected)) for _ in range(200)]
    assert error_by_chance(expected) == pytest.approx(np.mean(errors), rel=0.06)
    table = calibration_table(np.array([0.1, 0.1, 0.9]), np.array([0.0, 1.0, 1.0]))
    assert table["occasions"].to_list() == [1, 1, 1]
    assert calibration_error(table) == pytest.approx((0.1 + 0.9 + 0.1) / 3)


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="nobody answered"):
        score(Answers(), Draws(0))
