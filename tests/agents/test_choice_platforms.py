"""Choice agents on the real platforms: what they ask for is accepted, and the world stays whole."""

import asyncio

import numpy as np
import pytest

from oasis.actions import USER_ACTIONS, Action, Outcome
from oasis.agents.choice import Choice
from oasis.agents.choice.model import _ACTIONS
from oasis.interfaces import PolicyContext
from oasis.plugins import load
from oasis.simulation.commit import commit
from oasis.simulation.reading import Reader
from oasis.testing.invariants import check_invariants
from oasis.testing.policy import WordEmbedder
from oasis.testing.worlds import small_world, step_context

LIVELY = {action: {"intercept": -1.5} for action in _ACTIONS}


@pytest.mark.parametrize("allowed", [None, USER_ACTIONS], ids=["default", "all"])
@pytest.mark.parametrize("name", ["x", "reddit"])
def test_choices_are_accepted(name, allowed):
    platform = load("platforms", name).from_parameters(allowed, {})
    recommender = load("recommenders", "random").from_parameters({})
    policy = Choice.from_parameters({"coefficients": LIVELY})
    world = small_world(120, 240, step=2)
    world.attach_embedder(WordEmbedder())
    agents = np.arange(120, dtype=np.int32)
    seen, outcomes = set(), []
    for step in range(3, 7):
        ctx = step_context(world, platform, step=step)
        recommender.prepare(world, ctx)
        shown = platform.observe(world, agents, recommender.recommend(world, ctx, agents, 10), ctx)
        reader = Reader(world, platform, recommender, ctx, 10)
        context = PolicyContext(ctx, world, 0, platform.actions, reader.ask, None, name)
        actions = asyncio.run(policy.decide(shown, context)).actions
        batch, applied, _ = commit(world, platform, actions, ctx)
        world.step = step
        seen |= {Action(code) for code in batch.action.tolist()}
        outcomes += applied.outcome.tolist()
        check_invariants(world)
    assert seen - {Action.DO_NOTHING} <= set(platform.actions)
    assert len(seen) >= min(len(platform.actions), 14) - 1
    # the one thing that may be refused: a comment by somebody whom the agent muted a moment before
    assert set(outcomes) <= {Outcome.ACCEPTED, Outcome.REMOVED}
    assert np.mean(np.asarray(outcomes) == Outcome.ACCEPTED) > 0.98
