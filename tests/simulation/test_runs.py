"""Whole runs: the same whatever the batch size or the order of replies, and recorded as they happened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.errors import RunStoppedError
from oasis.interfaces import Question
from oasis.simulation import StepResult
from oasis.testing.invariants import check_invariants
from oasis.testing.servers import StubServer
from oasis.world.store import digest_table

RECOMMENDERS = ["random", "chronological", "hot", "interest", "collaborative", "trending"]
EVENTFUL: list[dict[str, Any]] = [
    {"step": 1, "kind": "post", "author": 3, "content": "Breaking news", "topic": "news", "likes": 9},
    {"step": 2, "kind": "seed_votes", "posts": {"where": {"topic": "news"}}, "likes": 40},
    {"step": 2, "kind": "sign_up", "username": "late", "activity": 1.0, "bio": "new here"},
    {"step": 3, "kind": "follow", "agents": {"where": {"group": ["music", "sport"]}}, "users": 3},
    {"step": 3, "kind": "ban", "agents": {"top": "followers", "count": 2}},
    {"step": 3, "kind": "interview", "agents": [1, 2], "question": "How are you?", "scale": [1, 7]},
    {"step": 4, "kind": "label_post", "posts": {"top": "likes", "count": 1}, "label": "disputed"},
    {"step": 4, "kind": "remove_post", "posts": 5},
    {"step": 4, "kind": "swap_recommender", "recommender": "random"},
    {"step": 5, "kind": "like_post", "agents": {"share": 0.2}, "posts": 0},
]


def scenario(**tables: Any) -> Scenario:
    base: dict[str, Any] = {
        "simulation": {"steps": 6, "seed": 4},
        "population": {"agents": 150, "mean_active": 0.3, "history": 2},
        "output": {"report": False, "sync": False},
    }
    return Scenario.from_dict(base | tables)


def contents(path: Path) -> dict[str, bytes]:
    """Return a digest of everything in a run that must not depend on how it was executed."""
    run = open_run(path)
    timings = pl.selectors.starts_with("seconds_")
    calls = run.llm_calls.drop("latency_ms", "endpoint", "attempt").filter(pl.col("status") == "ok")
    frames = {name: run.table(name) for name in ("events", "impressions", "interviews", "users", "posts")}
    frames |= {"comments": run.comments, "follows": run.follows, "metrics": run.metrics.drop(timings), "calls": calls}
    return {name: digest_table(frame.collect().to_arrow()) for name, frame in frames.items()}


@pytest.mark.parametrize("platform", ["x", "reddit"])
@pytest.mark.parametrize("recommender", RECOMMENDERS)
def test_batches_change_nothing(platform: str, recommender: str, tmp_path: Path) -> None:
    case = scenario(platform={"kind": platform}, recsys={"kind": recommender}, interventions=EVENTFUL)
    hashes = set()
    for size in (7, 10_000):
        simulation = Simulation(case, tmp_path / str(size), batch_size=size)
        hashes.add(simulation.run_sync().state_hash)
        check_invariants(simulation.world)
    assert len(hashes) == 1
    assert contents(tmp_path / "7") == contents(tmp_path / "10000")


def test_seeds_differ() -> None:
    hashes = {Simulation(scenario(simulation={"steps": 2, "seed": s})).run_sync().state_hash for s in (1, 2)}
    assert len(hashes) == 2


def test_replies_in_another_order_change_nothing(tmp_path: Path) -> None:
    hashes = []
    for seed, size in ((1, 5), (2, 1000)):
        with StubServer(delay_s=0.02 * seed) as server:
            case = scenario(
                policies=[{"kind": "llm", "share": 0.3}, {"kind": "choice"}],
                llm={"endpoints": [server.url], "model": "stub"},
                platform={"kind": "reddit"},
            )
            hashes.append(Simulation(case, tmp_path / str(seed), batch_size=size).run_sync().state_hash)
    assert hashes[0] == hashes[1]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert open_run(tmp_path / "1").llm_calls.collect().height > 20


def test_what_is_recorded_is_what_happened(tmp_path: Path) -> None:
    simulation = Simulation(scenario(interventions=EVENTFUL), tmp_path / "run")
    results: list[StepResult] = []
    summary = simulation.run_sync(results.append)
    run = open_run(tmp_path / "run")
    manifest = run.manifest
    assert (manifest.status, manifest.steps_done, manifest.state_hash) == ("done", 6, summary.state_hash)
    activations = sum(len(r.active) for r in results)
    coverage = manifest.coverage
    assert coverage.decisions == activations
    assert activations == sum(coverage.decided_by.values()) + coverage.llm_failed + coverage.llm_invalid
    assert coverage.registered == 151
    events = run.events.collect()
    by_agents = events.filter(pl.col("agent_id") >= 0)
    assert by_agents.select("step", "agent_id").unique().height == activations
    assert by_agents.group_by("step", "agent_id").len()["len"].max() <= 3
    assert events.filter(pl.col("action") == "sign_up")["outcome"].to_list() == ["accepted"]
    assert run.impressions.collect().height == sum(r.impressions.num_rows for r in results)
    assert run.metrics.collect()["active"].to_list() == [len(r.active) for r in results]
    assert run.interviews.collect()["agent_id"].to_list() == [1, 2]
    posts, users = run.posts.collect(), run.users.collect()
    assert posts.filter(pl.col("topic") == "news")["likes"].max() >= 49
    assert users["banned"].sum() == 2
    assert users.filter(pl.col("username") == "late")["policy"].to_list() == ["choice"]
    banned = users.filter("banned")["agent_id"]
    assert by_agents.filter((pl.col("step") > 3) & pl.col("agent_id").is_in(banned.to_list())).is_empty()


def test_nobody_is_shown_what_is_removed_or_a_root_twice(tmp_path: Path) -> None:
    simulation = Simulation(scenario(interventions=EVENTFUL, recsys={"kind": "interest"}), tmp_path / "run")
    simulation.run_sync()
    run = open_run(tmp_path / "run")
    posts = run.posts.select("post_id", "root_id", "author_id").collect()
    shown = run.impressions.collect().join(posts, on="post_id")
    assert shown.filter((pl.col("step") >= 4) & (pl.col("root_id") == 5)).is_empty()
    feeds = shown.filter(pl.col("turn") == 0)
    assert feeds.group_by("step", "agent_id", "root_id").len()["len"].max() == 1
    assert feeds.filter(pl.col("agent_id") == pl.col("author_id")).is_empty()


def test_interviews_leave_no_trace() -> None:
    plain = Simulation(scenario(simulation={"steps": 3})).run_sync().state_hash

    async def interrogated() -> str:
        simulation = Simulation(scenario(simulation={"steps": 3}))
        async for _ in simulation.steps():
            await simulation.interview(range(20), Question("q", "Why?", options=("a", "b")))
        return simulation.summary.state_hash

    assert asyncio.run(interrogated()) == plain


def test_actions_can_be_injected_between_steps(tmp_path: Path) -> None:
    async def run() -> Simulation:
        simulation = Simulation(scenario(), tmp_path / "run")
        async for result in simulation.steps():
            if result.step == 2:
                simulation.inject("post", author=7, content="injected", likes=5)
        return simulation

    simulation = asyncio.run(run())
    posts = open_run(tmp_path / "run").posts.filter(pl.col("content") == "injected").collect()
    assert posts.select("author_id", "step").rows() == [(7, 3)]
    assert open_run(tmp_path / "run").manifest.injected[0]["step"] == 3
    assert simulation.summary.status == "done"


def test_leaving_early_stops_the_run_in_order(tmp_path: Path) -> None:
    async def leave() -> None:
        steps = Simulation(scenario(), tmp_path / "run").steps()
        async for _ in steps:
            break
        await steps.aclose()

    asyncio.run(leave())
    run = open_run(tmp_path / "run")
    assert (run.manifest.status, run.manifest.steps_done) == ("stopped", 1)
    assert run.events.collect()["step"].unique().to_list() == [1]


def test_a_requested_stop_finishes_the_step(tmp_path: Path) -> None:
    simulation = Simulation(scenario(), tmp_path / "run")

    def stop(result: StepResult) -> None:
        if result.step == 2:
            simulation.request_stop()

    with pytest.raises(RunStoppedError, match="on request after step 2"):
        simulation.run_sync(stop)
    assert open_run(tmp_path / "run").manifest.steps_done == 2


def test_output_keeps_what_it_is_told_to(tmp_path: Path) -> None:
    heights = {}
    for kept in ("all", "sample", "none"):
        case = scenario(output={"impressions": kept, "sample_share": 0.3, "report": kept == "all"})
        summary = Simulation(case, tmp_path / kept).run_sync()
        heights[kept] = open_run(tmp_path / kept).impressions.collect()
        assert summary.state_hash == open_run(tmp_path / kept).manifest.state_hash
    assert heights["none"].is_empty()
    everything, sample = heights["all"], heights["sample"]
    sampled = sample["agent_id"].unique().to_list()
    assert 0 < len(sampled) < everything["agent_id"].n_unique()
    assert everything.filter(pl.col("agent_id").is_in(sampled)).equals(sample)


def test_prompts_are_kept_of_the_same_sample(tmp_path: Path) -> None:
    with StubServer() as server:
        llm = {"endpoints": [server.url], "model": "stub"}
        output = {"impressions": "sample", "prompts": "sample", "sample_share": 0.3, "report": False}
        case = scenario(policies=[{"kind": "llm"}], llm=llm, output=output, simulation={"steps": 2})
        Simulation(case, tmp_path / "run").run_sync()
    run = open_run(tmp_path / "run")
    with_prompt = run.llm_calls.filter(pl.col("prompt").is_not_null()).select("agent_id").collect()
    asked = run.llm_calls.select("agent_id").collect()["agent_id"]
    sampled = run.impressions.select("agent_id").collect()["agent_id"]
    assert 0 < with_prompt["agent_id"].n_unique() < asked.n_unique()
    assert set(with_prompt["agent_id"]) == set(sampled)


def test_policies_take_their_shares() -> None:
    case = scenario(
        policies=[
            {"kind": "scripted", "select": {"top": "followers", "count": 10}, "parameters": {"actions": []}},
            {"kind": "choice", "name": "half", "share": 0.5},
            {"kind": "choice"},
        ]
    )
    simulation = Simulation(case)
    assert simulation.parts.policy_names == ["scripted", "half", "choice"]
    assert np.bincount(simulation.world.users["policy"]).tolist() == [10, 75, 65]
    top = np.sort(simulation.world.users["followers"])[-10:]
    scripted = simulation.world.users["followers"][simulation.world.users["policy"] == 0]
    assert np.sort(scripted).tolist() == top.tolist()
