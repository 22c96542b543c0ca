"""A real vLLM: what it says it can, decisions by JSON and by the odds of letters, its cache, and what it refuses."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run, replay
from oasis.errors import NoEndpointError
from oasis.inference import build_client, check_endpoint
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceRequest
from oasis.testing.inference import request

URL = os.environ.get("OASIS_TEST_VLLM", "")
pytestmark = [
    pytest.mark.llm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not URL,
        reason="OASIS_TEST_VLLM is not set; start a vLLM with --enable-prefix-caching --enable-prompt-tokens-details"
        " (docs/llm.md says how, also without a GPU) and give its URL, e.g. OASIS_TEST_VLLM=http://127.0.0.1:8000/v1",
    ),
]
ROOT = Path(__file__).parents[2]
AGENTS = 24


@pytest.fixture(scope="module")
def model() -> str:
    return asyncio.run(check_endpoint(URL, timeout_s=60.0)).models[0]


def scenario(model: str, **parameters: object) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": 2},
            "platform": {"kind": "reddit"},
            "recsys": {"kind": "hot", "size": 5},
            "population": {"agents": AGENTS, "mean_active": 0.999},
            "policies": [{"kind": "llm", "parameters": {"max_actions": 1, "max_content": 100, **parameters}}],
            "llm": {"endpoints": [URL], "model": model, "timeout_s": 300.0},
        }
    )


def test_the_doctor_finds_all_that_decisions_need(model: str) -> None:
    report = asyncio.run(check_endpoint(URL, model, timeout_s=60.0))
    assert report.ok, report.message
    assert {f.what: f.ok for f in report.findings} == {
        "token counts": True, "decoding = choice": True, "metrics": True
    }, report.findings  # fmt: skip


def test_json_under_a_schema_is_always_valid(model: str, tmp_path: Path) -> None:
    summary = Simulation(scenario(model), tmp_path / "run").run_sync()
    assert summary.coverage["decided_by"]["llm"] == summary.coverage["decisions"] > AGENTS
    assert summary.coverage["llm_failed"] == summary.coverage["llm_invalid"] == 0
    events = open_run(tmp_path / "run").events.filter(pl.col("agent_id") >= 0).collect()
    assert events.filter(pl.col("outcome") == "not_found").is_empty()  # no invented lines


def test_choices_are_drawn_from_the_odds_of_letters(model: str, tmp_path: Path) -> None:
    made = scenario(model, decoding="choice", max_outside=1.0)
    simulation = Simulation(made, tmp_path / "run")
    summary = simulation.run_sync()
    run = open_run(tmp_path / "run")
    assert summary.coverage["decided_by"]["llm"] == summary.coverage["decisions"] > AGENTS
    calls = run.llm_calls.collect().with_columns(pl.col("purpose").cast(pl.String))
    odds = calls.filter(pl.col("logprobs").is_not_null())
    masses = odds["logprobs"].list.eval(pl.element().exp()).list.sum()
    assert 0 < masses.min() <= masses.max() < 1.0001
    assert (odds["options"].list.len() == odds["logprobs"].list.len()).all()
    paid = odds.filter(~pl.col("reused").fill_null(False))
    assert (paid["tokens_out"] == 1).all()
    letters = calls.filter(pl.col("purpose") == "calibrate")
    assert letters.filter(pl.col("step") == 1).height == letters.filter(pl.col("step") == 1)["options"].n_unique()
    chances = run.events.filter((pl.col("agent_id") >= 0) & (pl.col("action") != "no_decision")).collect()[
        "probability"
    ]
    assert chances.is_between(0, 1, closed="right").all()

    (load,) = run.manifest.server_load
    assert load.prompt_tokens is not None
    assert load.cached_tokens is not None
    assert load.prompt_tokens >= summary.tokens["input"]  # others may ask it too
    assert 0 < summary.tokens["cached"] <= load.cached_tokens
    assert [one.endpoint for one in simulation.server_load] == [URL]

    assert replay(tmp_path / "run") == summary.state_hash
    assert replay(tmp_path / "run", by_answers=True) == summary.state_hash


async def _ask(model: str, *questions: InferenceRequest) -> list[tuple[str, str | None]]:
    client = build_client(LLMConfig(endpoints=[URL], model=model, timeout_s=120.0, attempts=2), seed=1)
    try:
        return [(done.status, done.error) for done in await client.complete(questions)]
    finally:
        await client.close()


async def test_too_long_a_prompt_fails_alone_and_at_once(model: str) -> None:
    long = replace(request(0), messages=(("user", "word " * 200_000),))
    (refused, error), (answered, _) = await _ask(model, long, request(1))
    assert (refused, answered) == ("failed", "ok")
    assert error is not None
    assert error.startswith("refused: HTTP 400")


async def test_an_unknown_model_ends_at_once() -> None:
    with pytest.raises(NoEndpointError, match="404"):
        await _ask("no-such-model", request(0))
