"""Choices by log-probability: what is asked, how it is drawn, and what happens where odds cannot be had."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run, replay, resume
from oasis.actions import Action, ActionBatch
from oasis.agents.llm import LLM
from oasis.agents.prompting.choosing import LETTERS, _runs
from oasis.errors import RunStoppedError
from oasis.inference import Client, MockTransport, Prompt, Reply
from oasis.inference.calls import SORT_KEYS
from oasis.inference_config import LLMConfig
from oasis.runs.verification import verify
from oasis.testing.answers import answer_from_schema, odds_of_letters
from oasis.testing.policy import first_agents, observations_of, policy_context, policy_world
from oasis.testing.servers import StubServer
from oasis.world.world import World

CHOICE = {"decoding": "choice"}


def model(prompt: Prompt, outside: float = 0.002) -> Reply:
    if not prompt.labels:
        return Reply(answer_from_schema(prompt.schema, prompt.messages[-1][1]))
    question = prompt.messages[-1][1]
    return Reply("A", logprobs=tuple(odds_of_letters(question, question[:200], outside)))


def decide(answer: Any, world: World | None = None, seed: int = 1, **parameters: Any) -> tuple[ActionBatch, Any, Any]:
    """Return actions, rows and prompts of one step."""
    world = world or policy_world()
    transport = MockTransport(answer)
    client = Client([transport], LLMConfig(model="m"))
    agents = parameters.pop("agents", first_agents(world))
    ctx = policy_context(world, seed, inference=client)
    policy = LLM.from_parameters({**CHOICE, **parameters})
    actions = asyncio.run(policy.decide(observations_of(world, agents), ctx)).actions
    return actions, client.take_records().to_pylist(), transport.prompts


def test_odds_are_recorded_with_what_they_are_of() -> None:
    actions, rows, _ = decide(model)
    odds = [r for r in rows if r["logprobs"] and r["purpose"] == "decide"]
    assert len({r["agent_id"] for r in odds}) == len(set(actions.agent_id.tolist()))
    for row in odds:
        assert len(row["options"]) == len(row["logprobs"]) == len(set(row["options"]))
        assert sum(math.exp(p) for p in row["logprobs"]) == pytest.approx(0.998, abs=1e-5)
    assert not np.isnan(actions.probability).any()
    assert (actions.probability > 0).all()
    assert (actions.probability <= 1).all()


def test_an_agent_is_asked_on_before_its_beginning_is_pushed_out_of_caches() -> None:
    """Of many agents those that were begun are seen through first; with which of them changes nothing."""
    world = policy_world(agents=400)
    agents = np.arange(300, dtype=np.int32)

    def farthest(concurrency: int) -> tuple[ActionBatch, int]:
        transport = MockTransport(model)
        client = Client([transport], LLMConfig(model="m", concurrency=concurrency))
        ctx = policy_context(world, 1, inference=client)
        actions = asyncio.run(LLM.from_parameters(CHOICE).decide(observations_of(world, agents), ctx)).actions
        asked: dict[str, list[int]] = {}
        for place, prompt in enumerate(transport.prompts):
            asked.setdefault(prompt.messages[1][1].partition("\nWhat do you do?")[0], []).append(place)
        gaps = [b - a for places in asked.values() for a, b in zip(places, places[1:], strict=False)]
        assert len(gaps) > 100
        return actions, max(gaps)

    few, near = farthest(8)
    many, far = farthest(1000)
    assert near <= 3 * 64 < 250 <= far
    for name in ("agent_id", "action", "target_id", "probability"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name))


def test_no_decision_takes_more_than_three_tokens_unless_it_writes() -> None:
    _, _, prompts = decide(model)
    assert {p.max_tokens for p in prompts if p.labels} == {1}
    assert all("content" in p.schema["properties"] for p in prompts if not p.labels)  # type: ignore[index]


def test_actions_are_drawn_as_often_as_their_odds_say() -> None:
    """One agent, many draws: shares of actions against the probabilities that were given."""
    counts: Counter[int] = Counter()
    agent = np.array([3], np.int32)
    said: dict[int, float] = {}
    for seed in range(400):
        actions, rows, _ = decide(model, seed=seed, agents=agent, calibrate=False)
        counts[int(actions.action[-1])] += 1
        first = next(r for r in rows if len(r["options"] or ()) > 2 and max(r["options"]) >= 4)
        mass = np.exp(first["logprobs"])
        said = dict(zip(first["options"], mass / mass.sum(), strict=True))
    for action, chance in said.items():
        assert abs(counts[action] / 400 - chance) < 4 * math.sqrt(chance * (1 - chance) / 400), Action(action).label


def liking_a(prompt: Prompt) -> Reply:
    """A model that likes the letter A nine times as much as any other, whatever stands for it."""
    if not prompt.labels:
        return model(prompt)
    weights = [9.0] + [1.0] * (len(prompt.labels) - 1)
    odds = [(label, math.log(w / sum(weights))) for label, w in zip(prompt.labels, weights, strict=True)]
    return Reply("A", logprobs=tuple(odds))


def test_a_liking_for_a_letter_favours_nothing() -> None:
    agents = np.array([3], np.int32)
    for calibrate in (True, False):
        counts = Counter(
            int(decide(liking_a, seed=seed, agents=agents, calibrate=calibrate)[0].action[-1]) for seed in range(300)
        )
        expected = 300 / len(counts)
        assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in counts.values()), counts
    actions, *_ = decide(liking_a, agents=agents, calibrate=True)
    assert actions.probability[0] <= 0.5  # the liking is divided out


def test_the_likeliest_is_taken_at_temperature_0() -> None:
    agents = np.array([3], np.int32)
    chosen = {int(decide(model, seed=s, agents=agents, temperature=0.0)[0].action[-1]) for s in range(5)}
    assert len(chosen) == 1


@pytest.mark.parametrize("why", ["outside", "no logprobs", "none of the letters"])
def test_who_cannot_be_drawn_for_is_asked_for_json(why: str) -> None:
    def answer(prompt: Prompt) -> Reply:
        if not prompt.labels:
            return model(prompt)
        if why == "outside":
            return model(prompt, outside=0.02)
        return Reply("Well", logprobs=None if why == "no logprobs" else (("Well", -0.1), ("I", -3.0)))

    actions, rows, _ = decide(answer)
    assert Action.NO_DECISION not in actions.action.tolist()
    assert np.isnan(actions.probability).all()
    asked = Counter(r["agent_id"] for r in rows if r["agent_id"] >= 0)
    assert set(asked.values()) == {2}  # the letters once, and JSON
    errors = {r["error"] for r in rows if r["status"] == "invalid"}
    assert (errors != set()) == (why == "no logprobs")


def test_max_outside_may_be_raised() -> None:
    actions, *_ = decide(lambda prompt: model(prompt, outside=0.3), max_outside=0.5)
    assert not np.isnan(actions.probability).any()


@pytest.mark.parametrize("count", [2, 20, 21, 39, 40, 400, 401])
def test_many_options_are_halved_into_runs(count: int) -> None:
    runs = _runs(count)
    assert [i for run in runs for i in run] == list(range(count))
    assert len(runs) <= len(LETTERS)
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_a_choice_among_very_many_lines_is_made_in_stages() -> None:
    world = policy_world(agents=60, posts=400)
    ctx_agents = np.array([3], np.int32)
    transport = MockTransport(model)
    client = Client([transport], LLMConfig(model="m"))
    ctx = policy_context(world, allowed=(Action.REPOST,), inference=client)
    policy = LLM.from_parameters(CHOICE)
    targets = set()
    for seed in range(30):
        ctx = policy_context(world, seed, (Action.REPOST,), "x", client)
        actions = asyncio.run(policy.decide(observations_of(world, ctx_agents, 50), ctx)).actions
        targets |= set(actions.target_id[actions.action == Action.REPOST].tolist())
    assert len(targets) > 3
    assert all(len(p.labels) <= 20 for p in transport.prompts)


def test_the_same_question_is_asked_once_and_drawn_from_by_each() -> None:
    _, rows, prompts = decide(model)
    letters = [p for p in prompts if p.labels and "N/A" in p.messages[-1][1]]
    assert len(letters) == len({p.messages for p in letters})
    assert sum(r["purpose"] == "calibrate" for r in rows) == len(letters)
    asked = [p.messages for p in prompts if p.labels]
    assert len(asked) == len(set(asked))


def scenario(url: str, **keys: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": 4, "seed": 5},
            "population": {"agents": 60, "mean_active": 0.5},
            "policies": [{"kind": "llm", "share": 0.6, "parameters": CHOICE}, {"kind": "choice"}],
            "llm": {"endpoints": [url], "model": "stub", "concurrency": 7},
            "output": {"report": False},
            **keys,
        }
    )


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_a_run_is_the_same_in_other_batches_and_replays_without_a_question(platform: str, tmp_path: Path) -> None:
    with StubServer(delay_s=0.01) as server:
        chosen = scenario(server.url, platform={"kind": platform})
        first = Simulation(chosen, tmp_path / "run").run_sync()
        second = Simulation(chosen, tmp_path / "again", batch_size=7).run_sync()
        asked = len(server.requests)
        assert first.state_hash == second.state_hash
    for name in ("run", "again"):
        found = verify(tmp_path / name)
        assert not found.problems, found.problems
    again = replay(tmp_path / "run", by_answers=True)
    assert again == first.state_hash
    assert asked == len(server.requests)
    events = open_run(tmp_path / "run").events.filter(pl.col("policy").cast(pl.String) == "llm").collect()
    assert events["probability"].is_not_null().mean() > 0.9


def test_a_run_that_was_killed_records_no_question_twice(tmp_path: Path) -> None:
    """Several batches ask the letters without content; each finds the answer in the journal."""
    with StubServer() as server:
        chosen = scenario(server.url, policies=[{"kind": "llm", "parameters": CHOICE}], budget={"max_calls": 200})
        free = chosen.with_overrides(["budget.max_calls=100000"])
        whole = Simulation(free, tmp_path / "whole", batch_size=7).run_sync()
        with pytest.raises(RunStoppedError):
            Simulation(chosen, tmp_path / "run", batch_size=7).run_sync()
        asked = len(server.requests)
        run = resume(tmp_path / "run", ["budget.max_calls=100000"]).run_sync()
        assert len(server.requests) > asked
    assert run.state_hash == whole.state_hash
    calls = open_run(tmp_path / "run").llm_calls.select(SORT_KEYS).collect()
    assert calls.is_unique().all()
    assert not verify(tmp_path / "run").problems
