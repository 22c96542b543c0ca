"""With thousands of tied posts every author has the same chance to be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oasis.plugins import load
from oasis.randomness import Lane, agent_keys, derive_keys
from oasis.recsys.embedders import HashedNgramEmbedder
from oasis.testing.recommender import feed_context
from oasis.world.world import World

AUTHORS, STEPS, K, GROUPS = 2000, 150, 10, 40


@pytest.fixture(scope="module")
def tied() -> World:
    """Return a world of one post per author, all alike; agent 0 reads and follows half of the rest."""
    world = World()
    world.attach_embedder(HashedNgramEmbedder())
    text = world.texts.append(["all the same"])[0]
    world.add_users(AUTHORS + 1, key=agent_keys(np.arange(AUTHORS + 1)), bio=text)
    author = np.arange(1, AUTHORS + 1)
    keys = derive_keys(world.users["key"][author], 0, Lane.HISTORY, np.zeros(AUTHORS, np.int64))
    world.posts.append(AUTHORS, key=keys, author=author, root=np.arange(AUTHORS), text=text)
    followed = np.arange(2, AUTHORS + 1, 2, dtype=np.int32)
    world.follows.set_edges(AUTHORS + 1, np.zeros(len(followed), np.int32), followed)
    return world


def spread(world: World, name: str, personal: bool, parameters: dict[str, Any]) -> tuple[float, int]:
    """Return the chi-square distance of impressions per group of authors from equal ones, and the impressions."""
    recommender = load("recommenders", name).from_parameters(parameters)
    shown = np.zeros(AUTHORS + 1, np.int64)
    for seed in range(STEPS):
        ctx = feed_context(world, seed=seed, personal=personal)
        recommender.prepare(world, ctx)
        feeds = recommender.recommend(world, ctx, np.array([0], np.int32), K)
        shown += np.bincount(world.posts["author"][feeds.post_ids], minlength=AUTHORS + 1)
    assert shown.sum() == STEPS * K
    groups = shown[1:].reshape(GROUPS, 2, -1).sum(axis=(1, 2))  # early and late accounts, followed or not
    expected = STEPS * K / GROUPS
    return float(((groups - expected) ** 2 / expected).sum()), int(shown.sum())


@pytest.mark.parametrize("personal", [True, False])
@pytest.mark.parametrize("name", ["random", "hot", "chronological", "interest", "collaborative", "trending"])
def test_every_author_has_the_same_chance(tied: World, name: str, personal: bool) -> None:
    distance, _ = spread(tied, name, personal, {})
    assert distance < 78.0, "39 degrees of freedom: beyond the 0.9998 quantile"


def test_many_agents_of_one_step_spread_evenly(tied: World) -> None:
    """`random` draws for each agent: within one step, too, all posts have the same chance."""
    ctx = feed_context(tied)
    recommender = load("recommenders", "random").from_parameters({})
    recommender.prepare(tied, ctx)
    feeds = recommender.recommend(tied, ctx, np.arange(AUTHORS, dtype=np.int32), K)
    shown = np.bincount(feeds.post_ids, minlength=AUTHORS)
    expected = len(feeds.post_ids) / AUTHORS
    distance = ((shown - expected) ** 2 / expected).sum()
    assert abs(distance - AUTHORS) < 5 * np.sqrt(2 * AUTHORS)


def test_a_falling_back_on_ids_would_be_caught(tied: World) -> None:
    """The check can fail: an order by id shows only the first authors."""
    groups = np.zeros(GROUPS)
    groups[0] = STEPS * K
    expected = STEPS * K / GROUPS
    assert ((groups - expected) ** 2 / expected).sum() > 78.0


def test_an_extra_post_changes_few_drawn_feeds(tied: World) -> None:
    """One more post leaves nearly all of `random` as it was: tries name places, not row numbers."""
    recommender = load("recommenders", "random").from_parameters({})
    agents = np.arange(AUTHORS, dtype=np.int32)
    ctx = feed_context(tied)
    recommender.prepare(tied, ctx)
    before = recommender.recommend(tied, ctx, agents, K)
    tied.posts["hidden"][17] = True
    try:
        recommender.prepare(tied, ctx)
        after = recommender.recommend(tied, ctx, agents, K)
    finally:
        tied.posts["hidden"][17] = False
    same = (before.post_ids.reshape(-1, K) == after.post_ids.reshape(-1, K)).all(axis=1)
    assert same.mean() > 0.9
