"""What comes from outside is told from what agents write, and may be all that is shown."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from oasis import Scenario, Simulation
from oasis.platforms.seeded import Seeded
from oasis.platforms.x import X
from oasis.simulation import StepResult

BASE = {
    "simulation": {"steps": 8, "seed": 4},
    "recsys": {"kind": "chronological", "size": 6},
    "population": {"agents": 40, "mean_active": 0.6, "history": 2},
    "platform": {"kind": "reddit", "rules": {}},
    "policies": [
        {
            "kind": "choice",
            "parameters": {
                "coefficients": {
                    "create_post": {"intercept": 1.0},
                    "create_comment": {"intercept": 1.0},
                    "like_comment": {"intercept": 0.0},
                    "search_posts": {"intercept": 0.0},
                },
                "reuse": 0.0,
            },
        }
    ],
    "interventions": [
        {"step": 2, "kind": "post", "agents": [1, 1, 3], "content": "News"},
        {"step": 2, "kind": "post", "author": 1, "content": "More news"},
        {
            "step": 3,
            "kind": "comment",
            "agents": [1, 2],
            "posts": {"where": {"step": 2, "author_id": [1, 3]}},
            "content": "Said from outside",
        },
        {"step": 3, "kind": "repost", "agents": [5], "posts": [2]},
        {"step": 5, "kind": "post", "author": 1, "content": "Later news"},
    ],
}


def _run(**rules: object) -> tuple[Simulation, list[StepResult]]:
    simulation = Simulation(Scenario.from_dict({**BASE, "platform": {"kind": "reddit", "rules": rules}}))
    steps: list[StepResult] = []
    simulation.run_sync(steps.append)
    return simulation, steps


def _from_outside(steps: list[StepResult], kinds: tuple[str, ...]) -> set[int]:
    rows = [row for step in steps for row in step.events.to_pylist() if row["agent_id"] == -1]
    return {row["created_id"] for row in rows if row["action"] in kinds and row["created_id"] is not None}


@pytest.mark.parametrize("stepwise", [True, False])
def test_marks_are_what_the_events_say(stepwise: bool) -> None:
    seeded, simulation = Seeded(), Simulation(Scenario.from_dict(BASE))
    steps: list[StepResult] = []

    def look(step: StepResult) -> None:
        steps.append(step)
        if stepwise:  # marks of what is new are added to those that are known
            seeded.posts(simulation.world)
            seeded.comments(simulation.world)

    simulation.run_sync(look)
    world = simulation.world
    assert (np.diff(world.posts["step"]) >= 0).all()
    history = set(np.flatnonzero(world.posts["step"] == 0).tolist())
    posts = history | _from_outside(steps, ("post", "repost"))
    assert len(posts) > len(history) + 3
    assert set(np.flatnonzero(seeded.posts(world)).tolist()) == posts
    comments = _from_outside(steps, ("comment",))
    assert len(world.comments) > len(comments) >= 6
    assert set(np.flatnonzero(seeded.comments(world)).tolist()) == comments


def test_a_world_put_back_is_looked_at_again() -> None:
    seeded = Seeded()
    (first, _), (second, _) = _run(), _run(show_written=False)
    one, other = first.world, second.world
    seeded.posts(one)
    table = one.posts.to_arrow()
    one.posts.load(other.posts.to_arrow())
    one.comments.load(other.comments.to_arrow())
    assert seeded.posts(one).tolist() == Seeded().posts(other).tolist()
    one.posts.load(table.slice(0, 5))
    assert seeded.posts(one).all()


def test_nothing_that_agents_write_is_shown() -> None:
    simulation, steps = _run(show_written=False)
    shown, table = [row for step in steps for row in step.impressions.to_pylist()], Seeded()
    assert {row["source"] for row in shown} >= {"explore", "search"}
    assert table.posts(simulation.world)[[row["post_id"] for row in shown]].all()
    likes = [row for step in steps for row in step.events.to_pylist() if row["action"] == "like_comment"]
    assert likes
    assert table.comments(simulation.world)[[row["target_id"] for row in likes]].all()
    assert not table.comments(simulation.world).all()  # they do write
    other, others = _run()
    seen = [row["post_id"] for step in others for row in step.impressions.to_pylist()]
    assert not table.posts(other.world)[seen].all()


def test_the_first_step_shares_all_draws() -> None:
    (_, plain), (_, alone) = _run(), _run(show_written=False)
    assert plain[0].events.equals(alone[0].events)


def test_platforms_travel() -> None:
    assert pickle.loads(pickle.dumps(X())).rules == X().rules
