"""Baselines leave out what they say, share all other draws, and are runs like any other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from oasis import Scenario, Simulation, branch, open_run, replay, resume
from oasis.agents.choice.rated import rated_utilities
from oasis.errors import RunStoppedError, ScenarioError
from oasis.population import load_population
from oasis.population.shuffle import shuffled_personas
from oasis.randomness import Draws, agent_keys
from oasis.runs.rates import action_rates
from oasis.simulation import StepResult
from oasis.world.schemas import KIND_QUOTE
from oasis.world.world import World

KINDS = ["activity-only", "no-interaction", "shuffled-feed", "shuffled-persona"]
RATES = {"like_post": 0.5, "repost": 0.2, "create_comment": 0.3, "create_post": 0.1, "follow": 0.1, "mute": 0.05}
ACTIONS = ["create_post", "repost", "quote_post", "like_post", "create_comment", "follow", "mute", "refresh"]


def scenario(kind: str | None = None, platform: str = "x", **tables: Any) -> Scenario:
    base: dict[str, Any] = {
        "simulation": {"steps": 8, "seed": 5},
        "platform": {"kind": platform, "actions": ACTIONS},
        "recsys": {"embedder": "hashed-ngrams", "size": 6},
        "population": {"agents": 60, "mean_active": 0.4, "history": 2, "mean_follows": 8},
        "interventions": [
            {"step": 2, "kind": "post", "author": 3, "content": "News", "likes": 9},
            {"step": 5, "kind": "swap_recommender", "recommender": "chronological"},
        ],
        "output": {"report": False, "sync": False, "steps_per_block": 3, "checkpoint_steps": 2},
    }
    if kind is not None:
        base["baseline"] = {"kind": kind, **({"rates": RATES} if kind == "activity-only" else {})}
    return Scenario.from_dict(base | tables)


def ran(of: Scenario, **keys: Any) -> tuple[Simulation, list[StepResult]]:
    steps: list[StepResult] = []
    simulation = Simulation(of, **keys)
    simulation.run_sync(steps.append)
    return simulation, steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_is_a_run_like_any_other(kind: str, tmp_path: Path) -> None:
    """Replayed, branched off, resumed and computed in other batches it is the same; it is in the manifest."""
    whole = Simulation(scenario(kind), tmp_path / "run").run_sync().state_hash
    assert open_run(tmp_path / "run").manifest.scenario["baseline"]["kind"] == kind
    assert replay(tmp_path / "run") == whole
    assert branch(tmp_path / "run", 5, tmp_path / "branch").run_sync().state_hash == whole
    stopped = Simulation(scenario(kind), tmp_path / "stopped", batch_size=7)
    with pytest.raises(RunStoppedError):
        stopped.run_sync(lambda step: stopped.request_stop() if step.step == 6 else None)
    assert open_run(tmp_path / "stopped").manifest.status == "stopped"
    assert resume(tmp_path / "stopped").run_sync().state_hash == whole
    assert Simulation(scenario()).run_sync().state_hash != whole


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_agents_act(kind: str) -> None:
    plain, other = ran(scenario())[1], ran(scenario(kind))[1]
    assert all(np.array_equal(a.active, b.active) for a, b in zip(plain, other, strict=True))


def test_a_branch_may_begin_a_baseline_but_for_personas(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    for kind in ("shuffled-feed", "no-interaction"):
        simulation = branch(tmp_path / "run", 4, tmp_path / kind, [f"baseline.kind={kind}"])
        assert simulation.run_sync().state_hash != open_run(tmp_path / "run").manifest.state_hash
        assert replay(tmp_path / kind) == open_run(tmp_path / kind).manifest.state_hash
    with pytest.raises(ScenarioError, match="agents are there already"):
        branch(tmp_path / "run", 4, tmp_path / "no", ["baseline.kind=shuffled-persona"])


def feeds(step: StepResult) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {int(agent): [] for agent in step.active}
    for row in step.impressions.filter(pa.compute.equal(step.impressions["turn"], 0)).to_pylist():
        found[row["agent_id"]].append(row["post_id"])
    return found


def test_feeds_change_hands() -> None:
    """In the first step nothing else differs yet, so what each agent is shown is what another one was."""
    plain, shuffled = feeds(ran(scenario())[1][0]), feeds(ran(scenario("shuffled-feed"))[1][0])
    givers = []
    for agent, feed in shuffled.items():
        givers += [g for g, theirs in plain.items() if set(feed) <= set(theirs) and len(feed) >= len(theirs) - 1]
        assert plain[agent] != feed
    assert sorted(set(givers)) == sorted(plain)
    assert sum(map(len, shuffled.values())) > 0.9 * sum(map(len, plain.values()))


def test_shuffled_feeds_lack_what_an_agent_wrote_muted_or_acted_on() -> None:
    simulation = Simulation(scenario("shuffled-feed", policies=[{"kind": "choice", "parameters": {"rates": RATES}}]))
    world, seen = simulation.world, []

    def look(step: StepResult) -> None:
        seen.append(_wrong(before, step))
        before.update(_deeds(world))

    before = _deeds(world)
    simulation.run_sync(look)
    shown, wrong = np.sum(seen, axis=0)
    assert shown > 500
    assert wrong == 0
    assert len(before["acted"]) > 100
    assert len(before["muted"]) > 5


def _deeds(world: World) -> dict[str, Any]:
    posts, comments = world.posts, world.comments
    quotes = np.flatnonzero(posts["kind"] == KIND_QUOTE)
    acted = {(int(a), int(posts["root"][p])) for a, p in zip(posts["author"][quotes], quotes, strict=True)}
    acted |= {(int(a), int(posts["root"][p])) for a, p in zip(comments["author"][:], comments["post"][:], strict=True)}
    for relation in (world.post_reactions, world.reposts):
        a, b, _ = relation.items()
        acted |= set(zip(a.tolist(), b.tolist(), strict=True))
    muter, muted, _ = world.mutes.items()
    return {
        "acted": acted,
        "muted": set(zip(muter.tolist(), muted.tolist(), strict=True)),
        "author": posts["author"].tolist(),
        "root": posts["root"].tolist(),
    }


def _wrong(before: dict[str, Any], step: StepResult) -> tuple[int, int]:
    shown = wrong = 0
    for agent, feed in feeds(step).items():
        for post in feed:
            if post >= len(before["root"]):
                continue  # of an intervention of this step
            root = before["root"][post]
            authors = {before["author"][post], before["author"][root]}
            shown += 1
            wrong += (agent, root) in before["acted"] or agent in authors
            wrong += any((agent, author) in before["muted"] for author in authors)
    return shown, wrong


def test_a_list_for_all_cannot_be_shuffled() -> None:
    plain, shuffled = (Simulation(scenario(kind, "reddit")).run_sync() for kind in (None, "shuffled-feed"))
    assert plain.state_hash == shuffled.state_hash


def test_personas_change_hands() -> None:
    population = load_population("generate", agents=50, seed=2)
    shuffled = shuffled_personas(population, Draws(2))
    assert sorted(population.bio.to_pylist()) == sorted(shuffled.bio.to_pylist())
    before, after = (
        list(
            zip(p.bio.to_pylist(), p.attributes["interests"].to_pylist(), p.attributes["age"].to_pylist(), strict=True)
        )
        for p in (population, shuffled)
    )
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert all(one in before for one in after), "what one has stays together"
    for name in ("username", "group", "follower", "followee", "activity", "keys"):
        same, kept = getattr(population, name), getattr(shuffled, name)
        assert same.equals(kept) if isinstance(same, pa.Array) else np.array_equal(same, kept)
    assert population.attributes["utc_offset"].equals(shuffled.attributes["utc_offset"])
    assert shuffled.posts is population.posts


def test_nothing_written_is_shown() -> None:
    simulation, steps = ran(scenario("no-interaction"))
    outside = {row["created_id"] for step in steps for row in step.events.to_pylist() if row["agent_id"] == -1}
    seeded = set(np.flatnonzero(simulation.world.posts["step"] == 0).tolist()) | outside
    shown = {row["post_id"] for step in steps for row in step.impressions.to_pylist()}
    assert shown <= seeded
    assert shown & outside - {None}
    assert len(simulation.world.posts) > len(seeded)


def test_rates_come_from_a_run_and_stay_without_it(tmp_path: Path) -> None:
    script = tmp_path / "script.csv"
    script.write_text("step,agent_id,action,content\n1,7,create_post,Hello\n")
    policies = [
        {"kind": "scripted", "select": [7], "parameters": {"path": str(script)}},
        {"kind": "choice", "name": "people", "parameters": {"reuse": 0.0}},
    ]
    Simulation(scenario(policies=policies), tmp_path / "reference").run_sync()
    given = scenario(policies=policies, baseline={"kind": "activity-only", "rates_from": str(tmp_path / "reference")})
    simulation = Simulation(given, tmp_path / "run")
    rates = action_rates(open_run(tmp_path / "reference"), ["scripted"])
    kept = {"kind": "activity-only", "rates": rates}
    shutil.rmtree(tmp_path / "reference")
    whole = simulation.run_sync().state_hash
    manifest = open_run(tmp_path / "run").manifest
    assert manifest.scenario["baseline"] == kept
    assert set(manifest.coverage.decided_by) == {"scripted", "people"}
    assert replay(tmp_path / "run") == whole
    assert open_run(tmp_path / "run").events.filter(pl.col("policy") == "scripted").collect()["action"].to_list() == [
        *open_run(tmp_path / "run").events.filter(pl.col("agent_id") == 7).collect()["action"]
    ]


def test_rates_are_of_activations(tmp_path: Path) -> None:
    Simulation(scenario(), tmp_path / "run").run_sync()
    events = open_run(tmp_path / "run").events.filter(pl.col("agent_id") >= 0).collect()
    activations = len(set(zip(events["step"], events["agent_id"], strict=True)))
    rates = action_rates(open_run(tmp_path / "run"))
    likes = events.filter((pl.col("action") == "like_post") & (pl.col("outcome") == "accepted")).height
    assert rates["like_post"] == likes / activations > 0
    assert "do_nothing" not in rates


def test_agents_act_by_rates_evenly_over_their_feeds() -> None:
    """Numbers per activation within four standard errors, and as often at the end of a feed as at its beginning."""
    rates = {"like_post": 0.6, "create_comment": 0.3, "create_post": 0.2, "refresh": 0.1}
    of = scenario(
        baseline={"kind": "activity-only", "rates": rates},
        population={"agents": 400, "mean_active": 0.5, "history": 6},
        recsys={"kind": "random", "size": 8},
        interventions=[],
    )
    steps = ran(of)[1]
    active = sum(len(step.active) for step in steps)
    events = pl.concat([pl.DataFrame(pl.from_arrow(step.events)) for step in steps])
    for action, rate in rates.items():
        count = events.filter((pl.col("action") == action) & (pl.col("outcome") == "accepted")).height
        assert abs(count - rate * active) < 4 * np.sqrt(rate * active), action
    places = []
    for step in steps:
        at = feeds(step)
        for row in step.events.to_pylist():
            if row["action"] == "like_post":
                places.append(at[row["agent_id"]].index(row["target_id"]))
    counts = np.bincount(places, minlength=8)
    expected = len(places) / 8
    assert ((counts - expected) ** 2 / expected).sum() < 29.9  # the 1 - 1e-4 quantile of chi-square with 7 df


def test_rates_make_odds() -> None:
    agents = np.asarray([9, 9, 4], np.uint64)
    available = np.asarray([[1, 1, 1], [1, 1, 0], [1, 1, 1]], np.bool_)
    found = np.exp(rated_utilities(np.asarray([0.0, 0.4, 0.1]), available, agents))
    assert np.allclose(found, [[0.7, 0.2, 0.1], [0.8, 0.2, 0.0], [0.5, 0.4, 0.1]])
    greedy = np.exp(rated_utilities(np.asarray([0.0, 3.0, 1.0]), available[2:], agents[2:]))
    assert np.allclose(greedy, [[0.001, 0.74925, 0.24975]])


def test_a_circle_moves_one_when_one_more_stands_in_it() -> None:
    draws, keys = Draws(3), agent_keys(np.arange(40))
    after = draws.next_in_circle("s", 1, keys)
    assert sorted(after) == list(range(40))
    assert (after != np.arange(40)).all()
    fewer = draws.next_in_circle("s", 1, keys[:-1])
    assert np.count_nonzero(after[:-1] != fewer) == 1
    assert draws.next_in_circle("s", 1, keys[:1]).tolist() == [0]
    assert draws.next_in_circle("s", 1, keys[:0]).tolist() == []
