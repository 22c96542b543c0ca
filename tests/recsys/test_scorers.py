"""Published formulas on cases worked out by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from oasis.clock import Clock
from oasis.interfaces import StepContext
from oasis.plugins import load
from oasis.randomness import Draws, agent_keys
from oasis.recsys import scorers
from oasis.world.world import World


@pytest.mark.parametrize(
    ("ups", "downs", "seconds", "score"),
    [
        (0, 0, 1134028003, 0.0),
        (1, 0, 1134028003, 0.0),
        (10, 0, 1134028003, 1.0),
        (0, 10, 1134028003, -1.0),
        (1000, 0, 1134028003, 3.0),
        (110, 10, 1134028003 + 45000, 3.0),
        (5, 105, 1134028003 + 90000, 0.0),
        (0, 0, 1134028003 + 45000 * 4, 4.0),
        (0, 0, 1134028003 - 22500, -0.5),
    ],
)
def test_hot_by_hand(ups: int, downs: int, seconds: int, score: float) -> None:
    got = scorers.hot(np.array([ups]), np.array([downs]), np.array([float(seconds)]))
    assert got.tolist() == [score]


def test_hot_orders_a_world_as_worked_out_by_hand() -> None:
    """12.5 hours outweigh ten times the votes; base votes count; a downvoted post sinks below an equal old one."""
    world = World()
    world.add_users(2, key=agent_keys(np.arange(2)))
    epoch = datetime.fromtimestamp(1134028003, UTC)
    clock = Clock(epoch, 750.0)  # one step is 45,000 seconds: one unit of score
    world.posts.append(
        6, key=np.arange(6), author=1, root=np.arange(6), step=[0, 0, 1, 1, 2, 3],
        likes=[100, 4, 1, 0, 0, 0], base_likes=[0, 6, 0, 0, 0, 0], base_dislikes=[0, 0, 0, 100, 0, 10],
    )  # fmt: skip
    #  scores: 2, 1 (ten votes), 1 (one vote, a step later), 1 - 2 = -1, 2, 3 - 1 = 2
    assert clock.time(3) - clock.time(2) == timedelta(seconds=45000)
    recommender = load("recommenders", "hot").from_parameters({})
    orders = set()
    for seed in range(150):
        ctx = StepContext(4, clock, Draws(seed), lambda a, p: np.ones(len(p), np.bool_), personal=False)
        recommender.prepare(world, ctx)
        feeds = recommender.recommend(world, ctx, np.array([0], np.int32), 6)
        assert feeds.scores.tolist() == [2, 2, 2, 1, 1, -1]
        assert set(feeds.post_ids[:3].tolist()) == {0, 4, 5}
        assert set(feeds.post_ids[3:5].tolist()) == {1, 2}
        assert feeds.post_ids[5] == 3
        orders.add(tuple(feeds.post_ids.tolist()))
    assert len(orders) == 12, "ties are drawn anew each seed: 3! * 2! orders"
    for weight, scores in ((0.0, [3, 2, 1, 1, 0, 0]), (0.5, [2.5, 2, 1, 1, 0.5, 0])):
        recommender = load("recommenders", "hot").from_parameters({"score_weight": weight})
        recommender.prepare(world, ctx)
        assert recommender.recommend(world, ctx, np.array([0], np.int32), 6).scores.tolist() == scores


def test_recency_and_fame() -> None:
    ages = np.array([0, 71, 171, 172, 500])
    wanted = [math.log(2.718), math.log((271.8 - 71) / 100), math.log((271.8 - 171) / 100), 0.0, 0.0]
    assert scorers.recency(ages).tolist() == wanted
    followers = np.array([0, 10, 998, 999_999, 999_999_999])
    assert scorers.fame(followers).tolist() == [
        max(1.0, math.log(f + 1.0) / math.log(1000.0)) for f in followers.tolist()
    ]
    assert scorers.fame(followers)[3:] == pytest.approx([2.0, 3.0])


def test_demotion_lowers_every_score() -> None:
    scores, weight = np.array([2.0, -2.0, 0.0]), np.array([0.5, 0.5, 0.5])
    assert scorers.demoted(scores, weight).tolist() == [1.0, -4.0, 0.0]


def test_engagement() -> None:
    assert scorers.engagement(np.array([1]), np.array([2]), np.array([3])).tolist() == [8.0]


def test_fame_of_many_is_fame() -> None:
    followers = np.r_[np.arange(50), 3, 3, 999, 1000, np.zeros(2000, np.int64)]
    assert np.array_equal(scorers.fame_of_many(followers), scorers.fame(followers))
    assert np.array_equal(scorers.fame_of_many(followers[:3] + 10**6), scorers.fame(followers[:3] + 10**6))
