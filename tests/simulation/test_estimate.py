"""What a run is estimated to ask for, against what it then asks for."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation, open_run
from oasis.cli import main
from oasis.inference import Client, MockTransport, Prompt, Reply
from oasis.inference.likely import BUSY, QUIET, TYPICAL, LikelyClient, likely_answer
from oasis.inference.tokens import encode, encode_prompts
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceRequest
from oasis.scenario_model import with_model
from oasis.simulation import rehearsal
from oasis.simulation.estimate import Estimate, estimate
from oasis.testing.answers import answer_from_schema
from oasis.testing.servers import StubServer

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("OASIS_DATA", ROOT.parent / "shared" / "data"))


def made_up(platform: str = "x", **tables: Any) -> Scenario:
    base: dict[str, Any] = {
        "simulation": {"steps": 4, "seed": 2},
        "platform": {"kind": platform},
        "population": {"agents": 60, "mean_active": 0.4},
        "policies": [{"kind": "llm"}],
    }
    return Scenario.from_dict(base | tables)


def uniform(prompt: Prompt) -> str:
    """Answer with any of the possible actions."""
    return answer_from_schema(prompt.schema, json.dumps(prompt.messages))


def mostly_nothing(prompt: Prompt) -> str:
    rare = random.Random(json.dumps(prompt.messages)).random() < 0.1
    return uniform(prompt) if rare else '{"actions":[{"action":"do_nothing"}]}'


def asked(scenario: Scenario, answer: Any) -> tuple[int, int, int]:
    """Run a scenario; return calls and tokens in and out, as a server with the estimate's tokenizer counts them."""

    def handler(prompt: Prompt) -> Reply:
        text = answer(prompt)
        return Reply(text, len(encode_prompts([prompt.messages])[0]), 0, len(encode([text])[0]), "stop")

    client = Client([MockTransport(handler)], LLMConfig(model="mock"))
    Simulation(scenario, inference=client).run_sync()
    return client.usage.asked, client.usage.tokens_in, client.usage.tokens_out


def close(found: Estimate, actual: tuple[int, int, int], within: float = 0.15) -> None:
    expected = (found.calls.expected, found.tokens_in.expected, found.tokens_out.expected)
    assert expected == pytest.approx(actual, rel=within)


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_made_up_populations_cost_what_was_estimated(platform: str) -> None:
    scenario = made_up(platform)
    found = estimate(scenario)
    assert found.whole
    for answer in (uniform, mostly_nothing):
        calls, tokens_in, tokens_out = asked(scenario, answer)
        assert calls == found.decisions
        # on Reddit one in twenty answers of a uniform model mutes somebody, so feeds are shorter
        assert tokens_in == pytest.approx(found.tokens_in.expected, rel=0.15 if platform == "x" else 0.25)
        assert found.tokens_in.low <= tokens_in <= found.tokens_in.high
        assert found.tokens_out.low <= tokens_out <= found.tokens_out.high


@pytest.mark.parametrize("name", ["reddit_personas", "x_cascade"])
def test_real_populations_cost_what_was_estimated(name: str) -> None:
    path = DATA / {"reddit_personas": "reddit/user_data_36.json", "x_cascade": "x/False_Business_0.csv"}[name]
    if not path.exists():
        pytest.skip(f"no {path}; set OASIS_DATA")
    loaded = Scenario.load(ROOT / f"examples/{name}.toml", [f"population.path={path}"])
    scenario = with_model(loaded, "http://127.0.0.1:1", "mock", None)
    found = estimate(scenario)
    close(found, asked(scenario, uniform))
    calls, tokens_in, tokens_out = asked(scenario, mostly_nothing)
    assert (calls, tokens_in) == pytest.approx((found.calls.expected, found.tokens_in.expected), rel=0.2)
    assert found.tokens_in.low <= tokens_in <= found.tokens_in.high
    assert found.tokens_out.low <= tokens_out <= found.tokens_out.high


@pytest.mark.parametrize("agents", [40, 400], ids=["its beginning", "a panel"])
def test_a_part_stands_for_the_whole(agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_DECISIONS", 600)
    scenario = made_up(
        simulation={"steps": 60 if agents == 40 else 24, "seed": 2}, population={"agents": agents, "mean_active": 0.3}
    )
    found = estimate(scenario)
    assert not found.whole
    assert (found.rehearsed_agents < found.agents) == (agents == 400)
    client = LikelyClient(TYPICAL, 99)
    Simulation(scenario, inference=client).run_sync()
    tokens_in = sum(map(len, encode_prompts([request.messages for request, _ in client.asked])))
    close(found, (len(client.asked), tokens_in, sum(map(len, encode([text for _, text in client.asked])))), 0.1)


def test_what_many_ask_alike_is_counted_as_cached() -> None:
    found = estimate(made_up("reddit"))
    assert 0 < found.tokens_cached.expected < found.tokens_in.expected
    assert found.tokens_cached.low == 0


def test_a_rehearsal_leaves_nothing_behind_for_the_next() -> None:
    swap = {"step": 2, "kind": "swap_recommender", "recommender": "chronological"}
    signed_up = {"step": 1, "kind": "sign_up", "username": "new", "bio": "I am new here."}
    scenario = made_up(interventions=[swap, signed_up])
    assert estimate(scenario) == estimate(scenario)


def test_interviews_are_counted() -> None:
    without = estimate(made_up())
    interview = {"step": 1, "every": 2, "kind": "interview", "agents": {"count": 55}, "question": "Why?"}
    found = estimate(made_up(interventions=[interview]))
    assert found.calls.expected == without.calls.expected + 2 * 55
    assert found.decisions == without.decisions
    assert found.tokens_in.expected > without.tokens_in.expected


def test_only_agents_of_the_model_are_counted() -> None:
    scenario = made_up(policies=[{"kind": "llm", "share": 0.25}, {"kind": "choice"}])
    found = estimate(scenario)
    assert found.agents == 15
    close(found, asked(scenario, uniform), 0.2)


@pytest.mark.parametrize("habit", [QUIET, TYPICAL, BUSY], ids=lambda habit: habit.name)
def test_answers_are_ones_that_the_check_takes(habit: Any) -> None:
    client = LikelyClient(habit, 3)
    summary = Simulation(made_up("reddit"), inference=client).run_sync()
    assert len(client.asked) == summary.coverage["decisions"]
    assert summary.coverage["llm_invalid"] == summary.coverage["llm_failed"] == 0


@pytest.mark.parametrize("habit", [QUIET, BUSY], ids=lambda habit: habit.name)
def test_odds_are_given_by_habit(habit: Any) -> None:
    scenario = made_up("reddit", policies=[{"kind": "llm", "parameters": {"decoding": "choice"}}])
    client = LikelyClient(habit, 3)
    done: list[str] = []
    summary = Simulation(scenario, inference=client).run_sync(
        lambda result: done.extend(result.events["action"].to_pylist())
    )
    assert summary.coverage["llm_invalid"] == summary.coverage["llm_failed"] == 0
    idle = done.count("do_nothing") / summary.coverage["decisions"]
    assert idle > 0.8 if habit is QUIET else idle < 0.5


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_decisions_by_odds_cost_what_was_estimated(platform: str) -> None:
    scenario = made_up(platform, policies=[{"kind": "llm", "parameters": {"decoding": "choice"}}])
    found = estimate(scenario)

    async def count() -> tuple[int, int]:
        client = LikelyClient(TYPICAL, 99)
        await Simulation(scenario, inference=client).run()
        return len(client.asked), sum(map(len, encode_prompts([request.messages for request, _ in client.asked])))

    assert asyncio.run(count()) == pytest.approx((found.calls.expected, found.tokens_in.expected), rel=0.1)
    with StubServer() as server:
        changed = scenario.with_changes(llm={"endpoints": [server.url], "model": "stub"})
        Simulation(changed).run_sync()
        assert found.calls.low <= len(server.requests) <= found.calls.high


def test_an_answer_depends_on_the_question_alone() -> None:
    def question(agent: int) -> InferenceRequest:
        return InferenceRequest(1, agent, 0, "decide", (("user", "?"),), lambda text: text)

    answers = [likely_answer(question(agent), TYPICAL) for agent in (1, 2, 1)]
    assert answers[0] == answers[2] != answers[1]


def _file(folder: Path, text: str = '[[policies]]\nkind = "llm"\n') -> str:
    path = folder / "case.toml"
    path.write_text(f"[simulation]\nsteps = 2\n[population]\nagents = 20\nmean_active = 0.5\n{text}", "utf-8")
    return str(path)


def _estimate(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["estimate", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_the_command_prints_calls_tokens_and_money(tmp_path: Path) -> None:
    said = _estimate(_file(tmp_path), "--price-in", "1", "--price-cached", "0.5", "--price-out", "4")
    for word in ("calls", "tokens in", "cached", "tokens out", "cost", "Expected: "):
        assert word in said
    found = json.loads(_estimate(_file(tmp_path), "--price-in", "1", "--price-out", "4", "--json"))
    tokens_in, tokens_out = found["tokens_in"]["expected"], found["tokens_out"]["expected"]
    assert found["cost"]["expected"] == pytest.approx((tokens_in + 4 * tokens_out) / 1e6)
    assert found["cost"]["low"] <= found["cost"]["expected"] <= found["cost"]["high"]
    assert found["gpu_hours"] is None


def test_the_command_knows_gpus_and_budgets(tmp_path: Path) -> None:
    found = json.loads(_estimate(_file(tmp_path), "--gpu-tokens-per-s", "1000", "--json"))
    computed = found["tokens_in"]["expected"] - found["tokens_cached"]["expected"] + found["tokens_out"]["expected"]
    assert found["gpu_hours"]["expected"] == pytest.approx(computed / 1000 / 3600)
    assert "budget.max_calls (3) will stop" in _estimate(_file(tmp_path), "--set", "budget.max_calls=3")


def test_what_was_estimated_stands_beside_what_came(tmp_path: Path) -> None:
    path, out = _file(tmp_path), tmp_path / "run"
    with StubServer() as server:
        asked = ["run", path, "--out", str(out), "--llm", server.url, "--model", "stub", "--quiet"]
        result = CliRunner().invoke(main, [*asked, "--estimate"])
        assert result.exit_code == 0, result.output
        manifest = open_run(out).manifest
        assert manifest.predicted is not None
        assert manifest.predicted["calls"]["expected"] == len(server.requests) > 0
        assert f"estimated   {manifest.predicted['tokens_in']['expected']:,.0f} (" in result.output
        assert "estimated before it" in (out / "report.html").read_text("utf-8")
        again = CliRunner().invoke(main, [*asked, "--estimate"])
        assert again.exit_code == 2, again.output  # the directory is there already
        asked[3] = str(tmp_path / "plain")
        assert "estimated  " not in CliRunner().invoke(main, asked).output
    assert open_run(tmp_path / "plain").manifest.predicted is None


def test_a_run_that_asks_no_model_costs_nothing(tmp_path: Path) -> None:
    path = _file(tmp_path, "")
    assert "it costs nothing" in _estimate(path)
    assert json.loads(_estimate(path, "--json"))["tokens_in"]["high"] == 0
    assert "calls" in _estimate(path, "--llm", "http://127.0.0.1:1", "--llm-share", "0.5")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--price-in", "1"], "price_in needs price_out too"),
        (["--price-in", "-1"], "-1"),
        (["--price-in", "1", "--price-out", "1", "--gpu-tokens-per-s", "5"], "either prices or --gpu-tokens-per-s"),
        (["--gpu-tokens-per-s", "0"], "0"),
        (["--llm-share", "0.5"], "--llm-share"),
        (["--set", "budget.max_cost=1"], "max_cost needs price_in and price_out too"),
        (["--set", "recsys.siz=3"], "did you mean 'size'"),
    ],
)
def test_bad_usage_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in _estimate(_file(tmp_path), *arguments, status=2)
