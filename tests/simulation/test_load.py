"""Servers' metrics are shown while a run goes on and kept at its end; no run waits, fails or differs for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from oasis import resume
from oasis.cli.progress import RunProgress, load_figures
from oasis.interfaces import ServerMetrics
from oasis.runs import open_run
from oasis.runs.manifest import Load, Manifest
from oasis.runs.summary import server_lines
from oasis.scenario import Scenario
from oasis.simulation import Simulation, load
from oasis.simulation.load import LoadWatch, ServerLoad
from oasis.testing.servers import StubServer

METRICS = """vllm:prefix_cache_queries_total{{engine="0"}} {queries}
vllm:prefix_cache_hits_total{{engine="0"}} {hits}
vllm:num_requests_running{{engine="0"}} {running}
vllm:num_requests_waiting{{engine="0"}} {waiting}
"""


def after(*readings: tuple[int | None, ...]) -> ServerLoad:
    """Return the load after readings of a server."""
    total, last = ServerLoad("e"), None
    for reading in readings:
        now = ServerMetrics("e", *reading)
        total, last = total.after(last, now), now
    return total


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([(1000, 900, 5, 7)], (0, 0, 5, 7, 5, 7)),  # what was before is others'
        ([(1000, 900, 5, 0), (1300, 1100, 2, 1)], (300, 200, 2, 1, 5, 1)),
        # restarted twice; the second time its hits have passed the old ones already
        ([(1000, 900, 5, 0), (1300, 1100, 2, 1), (40, 10, 1, 1), (30, 20, 0, 0)], (370, 230, 0, 0, 5, 1)),
        ([(None, None, 1, 2), (None, None, 0, 3)], (None, None, 0, 3, 1, 3)),
    ],
)
def test_counters_count_from_the_first_reading_and_survive_a_restart(
    readings: list[tuple[int | None, ...]], expected: tuple[int | None, ...]
) -> None:
    assert after(*readings) == ServerLoad("e", *expected)


def test_what_is_shown() -> None:
    loads = [ServerLoad("a", 300, 200, 2, 1), ServerLoad("b", 100, 0, 3, 0), ServerLoad("c")]
    assert load_figures(loads) == "· cache hits 50% · 5 running, 1 waiting"
    assert load_figures([ServerLoad("c", None, None, 1, 0)]) == "· 1 running, 0 waiting"
    assert load_figures([ServerLoad("c", 0, 0)]) == load_figures([]) == ""
    progress = RunProgress(3, quiet=True)
    progress.watch(lambda: loads)
    assert progress.loads == loads


def scenario(server: StubServer, **simulation: int) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": 2, **simulation},
            "population": {"agents": 12, "mean_active": 0.5},
            "policies": [{"kind": "llm"}],
            "llm": {"endpoints": [server.url], "model": "stub"},
            "output": {"report": False, "sync": False},
        }
    )


def counting(server: StubServer) -> Callable[[], str]:
    """Return a page of metrics whose counters follow the requests; 100 tokens each, two thirds of them cached."""

    def page() -> str:
        asked = len(server.requests)
        return METRICS.format(queries=5000 + 100 * asked, hits=4000 + 66 * asked, running=3, waiting=1)

    return page


def test_a_run_keeps_the_load_of_its_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "EVERY_S", 0.02)
    with StubServer() as server:
        server.pages = {"/metrics": counting(server)}
        made = scenario(server)
        simulation = Simulation(made, tmp_path / "run")
        shown = []
        simulation.run_sync(lambda result: shown.append(simulation.server_load))
        first = len(server.requests)
        # On with it: counts are of all executions.
        (kept,) = Manifest.read(tmp_path / "run").server_load
        assert (kept.endpoint, kept.prompt_tokens, kept.most_running) == (server.url, 100 * first, 3)
        assert kept.cached_tokens == 66 * first
        assert [len(loads) for loads in shown] == [1, 1]
        stopped = Simulation(made, tmp_path / "stopped")

        async def stop_after_a_step() -> None:
            async for _ in stopped.steps():
                await asyncio.sleep(0.1)
                break

        asyncio.run(stop_after_a_step())
        before = len(server.requests)
        (kept,) = Manifest.read(tmp_path / "stopped").server_load
        assert kept.prompt_tokens == 100 * (before - first)
        resume(tmp_path / "stopped").run_sync()
        (kept,) = Manifest.read(tmp_path / "stopped").server_load
        assert kept.prompt_tokens == 100 * (len(server.requests) - first)
    run = open_run(tmp_path / "run")
    assert run.manifest.state_hash == open_run(tmp_path / "stopped").manifest.state_hash
    (line,) = server_lines(run.manifest)
    assert line == (
        f"{server.url}: 66.0% of {100 * first:,} prompt tokens were in its prefix cache, "
        "at most 3 requests seen in work, 1 waiting"
    )


@pytest.mark.parametrize("page", ["<hang>", "<huge>", "<cut_body>", "<500>", "vllm:num_requests_running x\n"])
def test_metrics_that_fail_change_nothing(tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "EVERY_S", 0.02)
    with StubServer(pages={"/metrics": page}, hang_s=30, huge_bytes=8 * 2**20) as server, StubServer() as usual:
        simulation = Simulation(scenario(server), tmp_path / "run")
        summary = simulation.run_sync()
        assert (summary.status, simulation.server_load) == ("done", [])
        assert summary.state_hash == Simulation(scenario(usual), tmp_path / "other").run_sync().state_hash
    assert Manifest.read(tmp_path / "run").server_load == []


async def test_a_client_of_ones_own_may_fail_or_have_none() -> None:
    class Failing:
        async def metrics(self) -> list[ServerMetrics]:
            raise RuntimeError("no metrics today")

    for inference in (None, Failing(), object()):
        watch = LoadWatch(inference)  # type: ignore[arg-type]
        watch.begin([Load(endpoint="e", prompt_tokens=3)])
        await asyncio.sleep(0.01)
        await watch.settle()
        watch.give_up()
        assert watch.loads == []
        assert watch.kept() == [Load(endpoint="e", prompt_tokens=3)]
