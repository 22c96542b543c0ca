"""A real model decides: llama.cpp over HTTP and inside this process. ``pytest -m llm``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run, replay
from oasis.actions import Action
from oasis.agents.llm import LLM
from oasis.inference import Client, build_client, check_endpoint
from oasis.inference_config import LLMConfig
from oasis.interfaces import Question
from oasis.platforms.reddit import Reddit
from oasis.testing.llama import LlamaServer, why_no_llama
from oasis.testing.policy import observations_of, policy_context, policy_world

pytestmark = [
    pytest.mark.llm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(why_no_llama() is not None, reason=str(why_no_llama())),
]
AGENTS = np.arange(6, dtype=np.int32)


async def decide(client: Client) -> None:
    """One round of decisions: every agent decided, every answer inside its schema."""
    world = policy_world()
    reddit = Reddit.from_parameters(None, {})
    policy = LLM.from_parameters({"max_actions": 2, "max_turns": 2, "max_content": 80})
    ctx = policy_context(world, allowed=reddit.actions, platform="reddit", inference=client)
    actions = (await policy.decide(observations_of(world, AGENTS, 5), ctx)).actions
    records = client.take_records().to_pylist()
    assert set(actions.agent_id.tolist()) == set(AGENTS.tolist())
    assert Action.NO_DECISION not in actions.action.tolist()
    assert set(actions.action.tolist()) <= {*reddit.actions, Action.DO_NOTHING}
    for row in records:
        if row["status"] == "ok":
            assert set(json.loads(row["response"])) == {"actions"}
        assert row["tokens_in"] > 100
    answers = await policy.interview(AGENTS[:2], Question("q", "How happy are you?", scale=(1, 5)), ctx)
    assert all(1 <= a.value <= 5 for a in answers)


async def test_over_http() -> None:
    with LlamaServer() as server:
        report = await check_endpoint(server.url, api_key=server.api_key, timeout_s=60)
        assert report.ok, report.message
        config = LLMConfig(endpoints=[server.url], model=server.model, api_key_env=server.key_variable)
        client = build_client(config, seed=1)
        await decide(client)
        await client.close()
        refused = await check_endpoint(server.url, api_key="wrong", timeout_s=60)
        assert not refused.ok
        assert "401" in refused.message


async def test_inside_this_process() -> None:
    client = build_client(LLMConfig(backend="local"), seed=1)
    await decide(client)
    await client.close()


async def test_a_prompt_too_long_for_the_context_fails_at_once_in_the_models_words() -> None:
    from oasis.testing.inference import request

    client = build_client(LLMConfig(backend="local", context_tokens=256), seed=1)
    long = request(1)
    messages = (long.messages[0], ("user", "word " * 2000))
    done = await client.complete([type(long)(1, 1, 0, "decide", messages, long.check, long.schema)])
    await client.close()
    assert (done[0].status, done[0].attempts) == ("failed", 1)
    assert "exceeds the available context size" in (done[0].error or "")


def test_choices_by_log_probability_are_drawn_here_and_replay_exactly(tmp_path: Path) -> None:
    """Odds of a real model: they are probabilities, draws follow the seed, and a replay asks nothing."""
    tables = {
        "simulation": {"steps": 2, "seed": 3},
        "platform": {"kind": "reddit"},
        "recsys": {"kind": "hot", "size": 4},
        "population": {"agents": 6, "mean_active": 0.99},
        "policies": [{"kind": "llm", "parameters": {"decoding": "choice", "max_outside": 1.0, "max_content": 60}}],
        "llm": {"backend": "local", "max_tokens": 60},
        "output": {"report": False},
    }
    first = Simulation(Scenario.from_dict(tables), tmp_path / "run").run_sync()
    run = open_run(tmp_path / "run")
    odds = run.llm_calls.filter(pl.col("logprobs").is_not_null()).collect()
    assert odds.filter(pl.col("purpose").cast(pl.String) == "decide").height >= first.coverage["decisions"]
    for logprobs in odds["logprobs"]:
        assert 0 < sum(math.exp(p) for p in logprobs) <= 1 + 1e-5
    drawn = run.events.filter((pl.col("agent_id") >= 0) & pl.col("probability").is_not_null()).collect()
    assert drawn.height > 0
    assert drawn["probability"].is_between(0, 1, closed="right").all()
    assert replay(tmp_path / "run", by_answers=True) == first.state_hash
