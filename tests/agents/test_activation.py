"""Hourly activation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.agents.activation import Hourly
from oasis.clock import Clock
from oasis.errors import ScenarioError
from oasis.interfaces import StepContext
from oasis.randomness import Draws, agent_keys
from oasis.world.world import World


def world_of(activity, first=0):
    world = World()
    n = len(activity)
    world.add_users(n, key=agent_keys(np.arange(first, first + n)), activity=np.asarray(activity, np.float32))
    return world


def context(step, seed=1):
    return StepContext(step, Clock(), Draws(seed), lambda agents, posts: np.ones(len(agents), np.bool_))


def test_probability_is_that_of_the_utc_hour():
    activity = np.zeros((20_000, 24))
    activity[:, 0], activity[:, 1] = 0.05, 0.4
    world = world_of(activity)
    assert abs(len(Hourly().active(world, context(1))) - 1000) < 4 * np.sqrt(20_000 * 0.05 * 0.95)
    assert abs(len(Hourly().active(world, context(20))) - 8000) < 4 * np.sqrt(20_000 * 0.4 * 0.6)
    assert len(Hourly().active(world, context(40))) == 0


def test_zero_never_and_one_always():
    world = world_of(np.repeat([[0.0], [1.0]], 24, axis=1).repeat(500, axis=0))
    for step in range(1, 20):
        assert np.array_equal(Hourly().active(world, context(step)), np.arange(500, 1000))


@given(step=st.integers(1, 2000), seed=st.integers(0, 5))
def test_sorted_ids_without_the_banned(step, seed):
    world = world_of(np.full((200, 24), 0.5))
    world.users["banned"][::3] = True
    active = Hourly().active(world, context(step, seed))
    assert active.dtype == np.int32
    assert (np.diff(active) > 0).all()
    assert (active % 3 != 0).all()


def test_further_agents_change_nobody():
    one = Hourly().active(world_of(np.full((300, 24), 0.3)), context(5))
    two = Hourly().active(world_of(np.full((500, 24), 0.3)), context(5))
    assert np.array_equal(one, two[two < 300])
    shifted = Hourly().active(world_of(np.full((299, 24), 0.3), first=1), context(5))
    assert np.array_equal(one[one > 0] - 1, shifted)


def test_steps_and_seeds_differ():
    world = world_of(np.full((300, 24), 0.3))
    runs = [Hourly().active(world, context(step, seed)).tolist() for step, seed in ((5, 1), (6, 1), (5, 2))]
    assert runs[0] != runs[1]
    assert runs[0] != runs[2]


def test_parameters_are_refused():
    with pytest.raises(ScenarioError, match="mean"):
        Hourly.from_parameters({"mean": 0.1})


def test_nobody():
    assert len(Hourly().active(World(), context(1))) == 0
