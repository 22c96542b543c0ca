"""One order for everybody: prefixes of it, and what they cost when nearly all scores are equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from oasis.clock import Clock
from oasis.interfaces import Source, StepContext
from oasis.plugins import load
from oasis.randomness import Draws, agent_keys
from oasis.recsys.frame import PostFrame
from oasis.recsys.sources import Everyone
from oasis.world.world import World

BETTER = 100


def _world(posts: int) -> World:
    """Return a world in which all posts are equal but every third of the first 300, and have a version each."""
    world = World()
    world.add_users(2, key=agent_keys(np.arange(2)))
    likes = np.where(np.arange(posts) % 3 == 0, 5, 0) * (np.arange(posts) < 3 * BETTER)
    roots = np.tile(np.arange(posts), 2)
    world.posts.append(2 * posts, key=np.arange(2 * posts) + 7, author=1, root=roots, likes=np.tile(likes, 2))
    return world


def _asked(posts: int) -> int:
    """Return how many posts the platform was asked about for the list of all."""
    asked = 0

    def visible(_: npt.NDArray[np.int32], ids: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        nonlocal asked
        asked += len(ids)
        return np.ones(len(ids), np.bool_)

    world = _world(posts)
    ctx = StepContext(1, Clock(), Draws(3), visible, personal=False)
    recommender = load("recommenders", "hot").from_parameters({})
    recommender.prepare(world, ctx)
    feeds = recommender.recommend(world, ctx, np.array([0], np.int32), BETTER + 20)
    assert len(feeds.post_ids) == BETTER + 20
    return asked


def test_equal_scores_cost_no_more_than_others() -> None:
    few, many = _asked(2_000), _asked(200_000)
    assert 0 < many <= 2 * few


@pytest.mark.parametrize("length", [1, 99, 100, 101, 200, 201, 517, 3_999, 4_000, 9_999])
def test_a_prefix_is_the_begin_of_the_whole_order(length: int) -> None:
    world = _world(2_000)
    frame = PostFrame(world, StepContext(1, Clock(), Draws(3), lambda a, p: np.ones(len(p), np.bool_), personal=False))
    everyone = Everyone(lambda f: (np.arange(4_000), np.tile(f.world.posts["likes"][:2_000], 2) * 1.0), Source.POPULAR)
    everyone.prepare(frame)
    whole, scores = everyone.top(4_000)
    posts, part = everyone.top(length)
    assert min(length, 4_000) <= len(posts) <= length + 1  # a root's versions stay together
    np.testing.assert_array_equal(posts, whole[: len(posts)])
    np.testing.assert_array_equal(part, scores[: len(posts)])
