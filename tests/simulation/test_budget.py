"""A budget stops a run within the requests in flight, and a larger one lets it go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oasis import Scenario, Simulation, open_run
from oasis.errors import BudgetError, RunStoppedError, ScenarioError
from oasis.simulation.again import replay, resume
from oasis.testing.servers import StubServer

IN_FLIGHT = 4
PRICES = {"price_in": 2.0, "price_cached": 0.5, "price_out": 8.0}


def asking(url: str, **budget: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": 3, "seed": 6},
            "population": {"agents": 40, "mean_active": 0.5},
            "policies": [{"kind": "llm", "share": 0.6}, {"kind": "llm", "name": "others"}],
            "llm": {"endpoints": [url], "model": "stub", "concurrency": IN_FLIGHT},
            "interventions": [{"step": 2, "kind": "post", "author": 3, "content": "News", "likes": 9}],
            "output": {"report": False, "sync": False},
            "budget": budget,
        }
    )


@pytest.fixture(scope="module")
def server() -> Any:
    with StubServer(delay_s=0.01) as server:
        yield server


@pytest.fixture(scope="module")
def whole(server: StubServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the manifest of an undisturbed run, and how many requests it made."""
    before = len(server.requests)
    path = tmp_path_factory.mktemp("whole") / "run"
    Simulation(asking(server.url), path).run_sync()
    return open_run(path).manifest, len(server.requests) - before


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("limit", ["max_calls", "max_tokens", "max_cost"])
def test_a_budget_stops_a_run_within_what_is_in_flight(
    limit: str, share: float, server: StubServer, whole: Any, tmp_path: Path
) -> None:
    manifest, requests = whole
    tokens = manifest.tokens
    full: dict[str, Any] = {"max_calls": requests, "max_tokens": tokens.input + tokens.output}
    full["max_cost"] = asking(server.url, **PRICES).budget.cost(tokens.model_dump())
    most = share * full[limit] if limit == "max_cost" else int(share * full[limit])
    begun = len(server.requests)
    with pytest.raises(BudgetError, match=rf"stopped (in|after) step \d: budget\.{limit} .* resume with --set"):
        Simulation(asking(server.url, **PRICES, **{limit: most}), tmp_path / "run").run_sync()
    stopped, sent = open_run(tmp_path / "run").manifest, len(server.requests) - begun
    assert stopped.status == "stopped"
    used = {
        "max_calls": sent,
        "max_tokens": stopped.tokens.input + stopped.tokens.output,
        "max_cost": asking(server.url, **PRICES).budget.cost(stopped.tokens.model_dump()),
    }[limit]
    one = 0 if limit == "max_calls" else 2 * full[limit] / requests  # two mean answers
    assert most <= used <= most + IN_FLIGHT * one

    with pytest.raises(RunStoppedError):  # the answers that were had are not asked for again, nor is anything else
        resume(tmp_path / "run").run_sync()
    assert len(server.requests) - begun == sent
    resume(tmp_path / "run", [f"budget.{limit}=1000000000"]).run_sync()
    assert len(server.requests) - begun == requests
    ended = open_run(tmp_path / "run").manifest
    assert (ended.state_hash, ended.tokens) == (manifest.state_hash, manifest.tokens)
    assert replay(tmp_path / "run") == manifest.state_hash


def test_odds_that_were_had_are_not_asked_for_again(server: StubServer, tmp_path: Path) -> None:
    odds = [{"kind": "llm", "parameters": {"decoding": "choice"}}]

    def run(path: Path, **budget: Any) -> Simulation:
        return Simulation(Scenario.from_dict({**asking(server.url, **budget).to_dict(), "policies": odds}), path)

    begun = len(server.requests)
    whole = run(tmp_path / "whole").run_sync()
    requests = len(server.requests) - begun
    for most in (requests // 5, requests // 2):
        begun, path = len(server.requests), tmp_path / f"run{most}"
        with pytest.raises(BudgetError):
            run(path, max_calls=most).run_sync()
        assert len(server.requests) - begun == most
        resume(path, ["budget.max_calls=1000000"]).run_sync()
        assert len(server.requests) - begun == requests
        assert open_run(path).manifest.state_hash == whole.state_hash


def test_a_budget_that_is_just_enough_stops_nothing(server: StubServer, whole: Any, tmp_path: Path) -> None:
    summary = Simulation(asking(server.url, max_calls=whole[1]), tmp_path / "run").run_sync()
    assert summary.state_hash == whole[0].state_hash


def test_a_budget_of_nothing_asks_nothing(server: StubServer, tmp_path: Path) -> None:
    begun = len(server.requests)
    with pytest.raises(BudgetError, match="stopped after step 0"):
        Simulation(asking(server.url, max_tokens=0), tmp_path / "run").run_sync()
    assert len(server.requests) == begun


@pytest.mark.parametrize("budget", [{"max_cost": 1.0}, {"max_cost": 1.0, "price_in": 1.0}, {"price_cached": 1.0}])
def test_prices_are_given_together(budget: dict[str, float]) -> None:
    with pytest.raises(ScenarioError, match=r"budget.*needs (price_in and )?price_out too"):
        asking("http://127.0.0.1:1", **budget)


def test_cost_is_by_the_million() -> None:
    budget = asking("http://127.0.0.1:1", **PRICES).budget
    assert budget.cost({"input": 3e6, "cached": 1e6, "output": 1e6}) == 2 * 2.0 + 0.5 + 8.0
    assert asking("http://127.0.0.1:1", price_in=1.0, price_out=0.0).budget.cost(
        {"input": 3e6, "cached": 1e6, "output": 1e6}
    ) == pytest.approx(3.0)
    assert asking("http://127.0.0.1:1").budget.cost({"input": 1, "cached": 0, "output": 0}) is None
