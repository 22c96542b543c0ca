"""Interventions: what each kind does from the scenario's file, what is refused before a run, whom selections take."""

from __future__ import annotations

import asyncio
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis import Scenario, Simulation
from oasis.actions import OUTSIDE_ACTIONS, USER_ACTIONS
from oasis.errors import ScenarioError
from oasis.plugins import available
from oasis.simulation import StepResult
from oasis.simulation.again import replay
from oasis.simulation.intervention_kinds import KINDS
from oasis.testing.invariants import check_invariants

AGENTS = 24
LATE = {"step": 2, "kind": "sign_up", "username": "late"}


def scenario(entries: list[dict[str, Any]], steps: int = 3, **recsys: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": steps, "seed": 3},
            "recsys": {"kind": "chronological", "embedder": "hashed-ngrams", **recsys},
            "population": {"agents": AGENTS, "mean_active": 0.3, "history": 1},
            "output": {"report": False, "sync": False},
            "interventions": entries,
        }
    )


def from_toml(text: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads(text)["interventions"]
    return entries


def outside(results: list[StepResult]) -> pl.DataFrame:
    """Return the events of agent -1."""
    events = pl.concat([pl.DataFrame(pl.from_arrow(result.events)) for result in results])
    return events.filter(pl.col("agent_id") == -1).with_columns(pl.col("action", "outcome").cast(pl.String))


def run(entries: list[dict[str, Any]], steps: int = 3) -> tuple[Simulation, pl.DataFrame]:
    simulation, results = Simulation(scenario(entries, steps)), []
    simulation.run_sync(results.append)
    check_invariants(simulation.world)
    return simulation, outside(results)


def steps_of(entry: dict[str, Any], steps: int = 6) -> list[int]:
    return run([entry], steps)[1]["step"].to_list()


EVERY_KIND = """
[[interventions]]
step = 1
kind = "sign_up"
username = "zoe"
bio = "rain"
stance = 0
activity = 1
[[interventions]]
step = 1
kind = "post"
author = 24
content = "from the new one"
topic = "weather"
veracity = false
community = "skies"
likes = 7
[[interventions]]
step = 1
kind = "create_post"
agents = [0, 1]
content = "all alike"
community = "skies"
[[interventions]]
step = 1
kind = "create_group"
agent = 2
content = "the group"
[[interventions]]
step = 2
kind = "join_group"
agents = [3, 4]
group = 0
[[interventions]]
step = 2
kind = "send_to_group"
agents = { ids = [3, 4, 5] }
group = 0
content = "hello"
[[interventions]]
step = 2
kind = "comment"
agent = 5
posts = { where = { topic = "weather" } }
content = "wet"
likes = 2
[[interventions]]
step = 3
kind = "seed_votes"
comments = { top = "likes", count = 1 }
dislikes = 1
[[interventions]]
step = 3
kind = "follow"
agents = [0, 1]
users = { where = { username = "zoe" } }
[[interventions]]
step = 3
kind = "mute"
agent = 0
user = 2
[[interventions]]
step = 3
kind = "label_post"
posts = { where = { topic = ["weather", "climate"], likes = { min = 7 } } }
label = "wrong"
[[interventions]]
step = 3
kind = "demote_post"
posts = { where = { topic = "weather" } }
weight = 0
[[interventions]]
step = 3
kind = "remove_post"
posts = { where = { author_id = [0, 1], step = 1 } }
[[interventions]]
step = 3
kind = "ban"
agent = 6
[[interventions]]
step = 3
kind = "unban"
agents = { where = { banned = true } }
[[interventions]]
step = 3
kind = "edit_profile"
agent = 7
stance = 0
[[interventions]]
step = 3
kind = "interview"
agents = [7, 8, 7]
question = "How?"
options = ["well", "badly"]
[[interventions]]
step = 1
kind = "add_product"
content = "a kite"
stock = 1
[[interventions]]
step = 3
kind = "purchase_product"
agents = [0, 1]
product = 0
[[interventions]]
step = 3
kind = "swap_recommender"
recommender = "random"
"""


def test_every_kind_from_toml() -> None:
    simulation, results = Simulation(scenario(from_toml(EVERY_KIND))), []
    simulation.run_sync(results.append)
    world, events = simulation.world, outside(results)
    check_invariants(world)
    got = events.group_by("action", "outcome", maintain_order=True).len().rows()
    assert got == [
        ("sign_up", "accepted", 1),
        ("post", "accepted", 1),
        ("create_post", "accepted", 2),
        ("create_group", "accepted", 1),
        ("add_product", "accepted", 1),
        ("join_group", "accepted", 2),
        ("send_to_group", "accepted", 2),
        ("send_to_group", "not_member", 1),
        ("comment", "accepted", 1),
        ("seed_votes", "accepted", 1),
        ("follow", "accepted", 2),
        ("mute", "accepted", 1),
        ("label_post", "accepted", 1),
        ("demote_post", "accepted", 1),
        ("remove_post", "accepted", 2),
        ("ban", "accepted", 1),
        ("edit_profile", "accepted", 1),
        ("interview", "accepted", 2),
        ("purchase_product", "accepted", 1),
        ("purchase_product", "sold_out", 1),
        ("swap_recommender", "accepted", 1),
    ]  # nobody was banned when step 3 began, so `unban` took nobody
    assert {*KINDS} == {action.label for action in (*USER_ACTIONS, *OUTSIDE_ACTIONS)}
    post = int(np.flatnonzero(world.posts["author"] == AGENTS)[0])
    assert [world.posts[name][post] for name in ("base_likes", "veracity", "weight")] == [7, 0, 0]
    texts = [world.texts.get(int(world.posts[name][post])) for name in ("topic", "label")]
    assert texts == ["weather", "wrong"]
    assert len(world.communities) == 1
    assert world.users["banned"].nonzero()[0].tolist() == [6]
    assert world.users["stance"][[7, AGENTS]].tolist() == [0.0, 0.0]
    assert world.follows.contains([0, 1], AGENTS).all()
    assert world.mutes.contains(0, 2).all()
    assert results[2].tables["interviews"]["agent_id"].to_pylist() == [7, 8]
    assert {row["source"] for row in results[2].impressions.to_pylist()} == {"random"}
    assert (AGENTS in results[0].active) is True  # an activity of 1, from the step in which it signed up


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"kind": "bann", "agent": 1}, "kind: unknown 'bann' .did you mean 'ban'"),
        ({"kind": "ban"}, "ban needs agents"),
        ({"kind": "ban", "agent": AGENTS}, f"agents: no agent {AGENTS}; allowed: 0 to {AGENTS - 1}"),
        ({"kind": "ban", "agent": -1}, "greater than or equal to 0"),
        ({"kind": "ban", "agent": 1.0}, "agents"),
        ({"kind": "ban", "agent": 2**40}, "less than 2147483648"),
        ({"kind": "ban", "agent": 1, "agents": [2]}, "give agent or agents, not both"),
        ({"kind": "ban", "agents": {"top": "folowers", "count": 1}}, "no column 'folowers' .did you mean 'followers'"),
        ({"kind": "ban", "agents": {"top": "username", "count": 1}}, "it must hold numbers"),
        ({"kind": "ban", "agents": {"top": "followers"}}, "top needs count"),
        ({"kind": "ban", "agents": {"share": 1.5}}, "less than or equal to 1"),
        ({"kind": "ban", "agents": {"where": {"followers": "many"}}}, "does not fit a column of"),
        ({"kind": "ban", "agent": 1, "step": 0}, "step"),
        ({"kind": "ban", "agent": 1, "every": 0}, "every"),
        ({"kind": "ban", "agent": 1, "until": 3}, "until needs every"),
        ({"kind": "ban", "agent": 1, "step": 3, "every": 1, "until": 2}, r"until \(2\) is before step \(3\)"),
        ({"kind": "ban", "agent": 1, "posts": [0]}, "posts: not for ban; allowed: agents, step, every, until"),
        ({"kind": "sign_up", "username": "a", "agents": [0]}, "agents: not for sign_up; allowed: activity, bio"),
        ({"kind": "sign_up", "username": "\u200e\u0000 "}, "username: must not be empty; nothing is left of"),
        ({"kind": "sign_up", "username": 5}, "username: should be a valid string"),
        ({"kind": "sign_up", "username": "a", "activity": 1.1}, "activity"),
        ({"kind": "sign_up", "username": "a", "activity": [0.5] * 23}, "activity"),
        ({"kind": "sign_up", "username": "a", "stance": 1e39}, "stance"),
        ({"kind": "post", "agent": 0}, "post needs content"),
        ({"kind": "post", "agent": 0, "text": "a"}, "unknown key for post .did you mean 'content'"),
        ({"kind": "post", "agent": 0, "content": "\u202e"}, "content: must not be empty"),
        ({"kind": "post", "agent": 0, "content": "a", "likes": -1}, "likes"),
        ({"kind": "post", "agent": 0, "content": "a", "likes": 10**10}, "likes"),
        ({"kind": "post", "agent": 0, "content": "a", "veracity": 2}, "veracity"),
        ({"kind": "post", "agent": 0, "content": "a", "community": -1}, "community: must be its number, from 0"),
        ({"kind": "post", "agent": 0, "content": "a", "community": " "}, "community: must not be empty"),
        ({"kind": "comment", "agent": 0, "post": 0, "content": "a", "parent": -3}, "parent: must be its number"),
        ({"kind": "comment", "agent": 0, "comment": 0, "content": "a"}, "comment needs posts"),
        ({"kind": "seed_votes", "post": 0}, "needs at least one of dislikes, likes"),
        ({"kind": "seed_votes", "post": 0, "likes": 0}, "needs at least one of dislikes, likes"),
        ({"kind": "seed_votes", "post": 0, "comment": 0, "likes": 1}, "needs posts or comments, not both"),
        ({"kind": "label_post", "post": 0, "label": ""}, "label: must not be empty"),
        ({"kind": "demote_post", "post": 0, "weight": 1.1}, "weight"),
        ({"kind": "edit_profile", "agent": 0}, "needs at least one of bio, group, name, persona, stance"),
        ({"kind": "edit_profile", "agent": 0, "username": "a"}, "unknown key"),
        ({"kind": "join_group", "agent": 0, "group": -1}, "group: must be its number, from 0"),
        ({"kind": "join_group", "agent": 0}, "join_group needs group"),
        ({"kind": "add_product", "content": "a", "stock": -2}, "stock"),
        ({"kind": "add_product", "content": "a", "seller": -1}, "seller: must be its number, from 0"),
        ({"kind": "interview", "agent": 0, "question": " "}, "question: must not be empty"),
        ({"kind": "interview", "agent": 0, "question": "a", "scale": [7, 1]}, "low below high"),
        ({"kind": "interview", "agent": 0, "question": "a", "options": ["b"]}, "options"),
        ({"kind": "interview", "agent": 0, "question": "a", "options": ["b", "b "]}, "each another and none empty"),
        ({"kind": "interview", "agent": 0, "question": "a", "options": ["b", ""]}, "each another and none empty"),
        ({"kind": "swap_recommender", "recommender": "hott"}, "no recommender named 'hott' .did you mean 'hot'"),
        ({"kind": "swap_recommender", "recommender": "hot", "parameters": {"a": 1}}, "parameters.a: unknown key"),
    ],
)
def test_refused_before_the_run(entry: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=message):
        Simulation(scenario([{"step": 1, **entry}]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        ([LATE, {"step": 2, "kind": "ban", "agent": AGENTS}], False),
        ([{"step": 2, "kind": "ban", "agent": AGENTS}, LATE], True),  # nobody has signed up yet
        ([{"step": 1, "kind": "ban", "agent": AGENTS}, LATE], True),
        ([{"step": 1, "every": 2, "kind": "ban", "agent": AGENTS}, LATE], False),  # the second time there is one
        ([LATE | {"every": 1}, {"step": 3, "kind": "ban", "agents": [AGENTS, AGENTS + 1]}], False),
        ([LATE | {"every": 1}, {"step": 3, "kind": "ban", "agent": AGENTS + 2}], True),
        ([LATE | {"step": 9}, {"step": 3, "kind": "ban", "agent": AGENTS}], True),  # after the last step
    ],
)
def test_agents_that_sign_up_later(entries: list[dict[str, Any]], refused: bool) -> None:
    if refused:
        with pytest.raises(ScenarioError, match="no agent"):
            Simulation(scenario(entries))
        return
    events = run(entries)[1].filter(pl.col("action") == "ban")
    assert "accepted" in events["outcome"].to_list()


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ({"step": 1}, [1]),
        ({"step": 6}, [6]),
        ({"step": 1, "every": 1}, [1, 2, 3, 4, 5, 6]),
        ({"step": 2, "every": 2}, [2, 4, 6]),
        ({"step": 2, "every": 3, "until": 4}, [2]),
        ({"step": 2, "every": 3, "until": 5}, [2, 5]),
    ],
)
def test_when(when: dict[str, int], wanted: list[int]) -> None:
    assert steps_of({"kind": "post", "author": 0, "content": "a", **when}) == wanted


def test_what_comes_too_late_is_warned_of() -> None:
    simulation = Simulation(scenario([{"step": 4, "kind": "ban", "agent": 0}]))
    assert simulation.warnings == ["interventions.0.step: 4 is after the last step (3), so it will not happen"]


def test_selections_take_what_they_say() -> None:
    chosen = {
        "ids": [5, 3, 5],
        "all": {},
        "where": {"where": {"followers": {"min": 4}, "policy": "choice"}},
        "top": {"top": "followers", "count": 3},
        "count": {"count": 4},
        "share": {"share": 0.5},
        "none": {"where": {"username": "nobody of that name"}},
    }
    entries = [{"step": 1, "kind": "post", "agents": s, "content": name} for name, s in chosen.items()]
    _, events = run(entries, steps=1)
    got = {n: events.filter(pl.col("content").str.contains(f'"{n}"'))["target_id"].to_list() for n in chosen}
    before = Simulation(scenario([])).world.users["followers"]
    assert got["ids"] == [3, 5]
    assert got["all"] == list(range(AGENTS))
    assert got["where"] == np.flatnonzero(before >= 4).tolist()
    assert len(got["top"]) == 3
    assert before[got["top"]].min() >= np.sort(before)[-3]
    assert len(got["count"]) == 4
    assert 5 <= len(got["share"]) <= 19
    assert got["none"] == []


def test_draws_of_a_selection_do_not_depend_on_its_place_time_or_text() -> None:
    def chosen(content: str, step: int, others: list[dict[str, Any]]) -> list[int]:
        entry = {"step": step, "kind": "post", "agents": {"count": 4}, "content": content}
        events = run([*others, entry])[1]
        return events.filter(pl.col("content").str.contains(content))["target_id"].to_list()

    plain = chosen("a1", 2, [])
    assert chosen("b2", 3, [{"step": 1, "kind": "ban", "agents": {"count": 4}}]) == plain
    first = {"step": 2, "kind": "post", "agents": {"count": 4}, "content": "first"}
    assert chosen("c3", 2, [first]) != plain  # two alike are two draws
    again = run([{"step": 1, "every": 1, "kind": "post", "agents": {"count": 4}, "content": "a"}])[1]
    assert again["target_id"].to_list() == plain * 3


async def _injecting(out: Path) -> Simulation:
    simulation = Simulation(scenario([]), out)
    async for result in simulation.steps():
        if result.step == 1:
            simulation.inject("sign_up", username="zoe")
            simulation.inject("post", author=AGENTS, content="I am new")
            simulation.inject("edit_profile", agents=np.array([1, 2]), stance=None, bio="")
            simulation.inject("ban", agent=3, step=3)
            for keys, message in (
                ({"kind": "ban", "agent": AGENTS + 1}, "no agent 25"),
                ({"kind": "ban", "agent": 1, "step": 1}, "step: 1 is over; the next step is 2"),
                ({"kind": "sign_up", "username": "a", "stance": float("nan")}, "finite"),
            ):
                with pytest.raises(ScenarioError, match=message):
                    simulation.inject(**keys)
    return simulation


def test_injected_ones_are_checked_and_repeated_by_a_replay(tmp_path: Path) -> None:
    simulation = asyncio.run(_injecting(tmp_path / "run"))
    world = simulation.world
    assert world.texts.get(int(world.users["username"][AGENTS])) == "zoe"
    assert (world.posts["author"] == AGENTS).any()
    assert np.isnan(world.users["stance"][[1, 2]]).all()
    assert (world.users["bio"][[1, 2]] == -1).all()
    assert world.users["banned"].nonzero()[0].tolist() == [3]
    assert replay(tmp_path / "run") == simulation.summary.state_hash


@pytest.mark.parametrize("kind", available("recommenders"))
def test_swaps_between_recommenders(kind: str) -> None:
    """Swapped to before the first step, a recommender shows what it shows from the beginning."""

    def shown(first: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        results: list[StepResult] = []
        Simulation(scenario(entries, 1, kind=first)).run_sync(results.append)
        rows: list[dict[str, Any]] = results[0].impressions.to_pylist()
        return rows

    wanted = shown(kind, [])
    for other in available("recommenders"):
        assert shown(other, [{"step": 1, "kind": "swap_recommender", "recommender": kind}]) == wanted


def test_a_swap_to_what_is_no_name() -> None:
    entries = [{"step": 1, "kind": "swap_recommender", "recommender": ["interest"]}]
    nothing = [{"kind": "scripted", "parameters": {"actions": [{"step": 1, "agent_id": 0, "action": "do_nothing"}]}}]
    values = scenario(entries).to_dict() | {"policies": nothing}  # nobody needs embeddings, but for the swap perhaps
    with pytest.raises(ScenarioError, match="recommender: should be a valid string"):
        Simulation(Scenario.from_dict(values))


def test_swaps_in_a_row() -> None:
    order = [name for pair in product(available("recommenders"), repeat=2) for name in pair]
    entries = [{"step": i + 1, "kind": "swap_recommender", "recommender": name} for i, name in enumerate(order)]
    _, events = run(entries, len(order))
    assert events["outcome"].to_list() == ["accepted"] * len(order)
