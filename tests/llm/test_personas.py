"""The Reddit scenario with real personas, each decided for by a real model behind a real server: the first 12 by
llama.cpp, all 36 by any that ``OASIS_TEST_ENDPOINT`` and ``OASIS_TEST_MODEL`` name (a vLLM, say)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.testing.llama import LlamaServer, why_no_llama

pytestmark = [pytest.mark.llm, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("OASIS_DATA", ROOT.parent / "shared" / "data"))


def personas(folder: Path, count: int) -> Path:
    """Return a file of the first of 36 public personas, or of as many made-up ones where these are absent."""
    real = DATA / "reddit/user_data_36.json"
    found = [
        {"username": f"reader_{i}", "bio": f"I read about {topic}.", "persona": f"A {age}-year-old who likes {topic}."}
        for i, (age, topic) in enumerate((20 + n, ("music", "travel", "chess")[n % 3]) for n in range(36))
    ]
    if real.exists():
        found = json.loads(real.read_text("utf-8"))
    path = folder / "personas.json"
    path.write_text(json.dumps(found[:count]), "utf-8")
    return path


@pytest.mark.skipif(why_no_llama() is not None, reason=str(why_no_llama()))
def test_personas_decide_by_llama_cpp(tmp_path: Path) -> None:
    with LlamaServer() as server:
        decide(tmp_path, 12, server.url, server.model, [f'llm.api_key_env="{server.key_variable}"'])


@pytest.mark.skipif("OASIS_TEST_ENDPOINT" not in os.environ, reason="no OASIS_TEST_ENDPOINT")
def test_all_personas_decide_by_the_given_server(tmp_path: Path) -> None:
    decide(tmp_path, 36, os.environ["OASIS_TEST_ENDPOINT"], os.environ["OASIS_TEST_MODEL"], [])


def decide(tmp_path: Path, count: int, url: str, model: str, overrides: list[str]) -> None:
    """Run one step and look at every decision."""
    scenario = Scenario.load(
        ROOT / "examples/reddit_personas.toml",
        [
            "simulation.steps=1",
            f'llm.endpoints=["{url}"]',
            f'llm.model="{model}"',
            *overrides,
            # short answers, one each: a small model on one thread
            "policies.0.parameters.max_turns=1",
            "policies.0.parameters.max_actions=1",
            "policies.0.parameters.max_content=100",
            f'population.path="{personas(tmp_path, count)}"',
        ],
    )
    summary = Simulation(scenario, tmp_path / "run").run_sync()
    assert summary.coverage["decided_by"] == {"llm": count}
    assert summary.coverage["llm_failed"] == summary.coverage["llm_invalid"] == 0
    run = open_run(tmp_path / "run")
    answers = run.llm_calls.filter(pl.col("status") == "ok").collect()
    assert answers["agent_id"].n_unique() == count
    for answer in answers["response"]:
        assert set(json.loads(answer)) == {"actions"}
    events = run.events.filter(pl.col("agent_id") >= 0).collect()
    assert events["agent_id"].n_unique() == count
    assert events.filter(pl.col("outcome") == "not_found").is_empty()  # no invented ids
    assert summary.tokens["input"] > count * 100
