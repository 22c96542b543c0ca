"""Stances of choice agents move by named rules: closed forms on small graphs, and what counts as seen."""

import asyncio

import numpy as np
import pytest

from oasis.actions import Action
from oasis.agents.choice import Choice
from oasis.agents.choice.model import _ACTIONS
from oasis.agents.choice.opinion import Anchors
from oasis.agents.choice.stance_rules import OpinionParameters
from oasis.errors import ScenarioError
from oasis.interfaces import Feeds, Observations
from oasis.randomness import agent_keys
from oasis.testing.policy import PolicyTests, WordEmbedder, observations_of, policy_context, policy_world
from oasis.world.world import World

SILENT = {action: {"intercept": -100.0} for action in _ACTIONS}
LOOKS_UP = {action: {"intercept": 0.0} for action in _ACTIONS}


def choice(**opinion):
    return Choice.from_parameters({"coefficients": SILENT, "persistence": 1.0, "opinion": opinion})


class TestFriedkinJohnsen(PolicyTests):
    def make(self):
        opinion = {"rule": "friedkin-johnsen"}
        return Choice.from_parameters({"coefficients": LOOKS_UP, "persistence": 0.95, "opinion": opinion})


class TestDeffuant(PolicyTests):
    def make(self):
        return Choice.from_parameters({"opinion": {"rule": "deffuant"}})


def people(stances):
    """Return a world of agents with these stances, agent i having written post i."""
    n, world = len(stances), World()
    world.add_users(n, key=agent_keys(np.arange(n)), stance=stances, username=world.texts.append(["a"] * n), policy=0)
    at = np.arange(n)
    world.posts.append(n, key=agent_keys(at + 1000), author=at, root=at, text=world.texts.append(["hello"] * n))
    world.attach_embedder(WordEmbedder())
    return world


def showing(posts_of):
    """Return observations in which agent i is shown the posts ``posts_of[i]``."""
    posts = np.concatenate([np.asarray(p, np.int32) for p in posts_of])
    offsets = np.r_[0, np.cumsum([len(p) for p in posts_of])].astype(np.int64)
    blank = np.zeros(len(posts), np.uint8)
    feeds = Feeds(offsets, posts, blank.astype(np.float32), blank)
    nothing = np.zeros(len(posts) + 1, np.int64)
    return Observations(np.arange(len(posts_of), dtype=np.int32), feeds, blank, nothing, np.empty(0, np.int32))


def advance(policy, world, observations, steps=1):
    """Do what the engine does with stances and anchors, and return the stances."""
    for _ in range(steps):
        decisions = asyncio.run(policy.decide(observations, policy_context(world)))
        given = decisions.updates.get("anchors")
        decisions.updates = {} if given is None else {"anchors": [given]}
        policy.committed(world, decisions, None)
        world.users["stance"][decisions.stances.agent_ids] = decisions.stances.values
        world.step += 1
    return world.users["stance"]


def test_two_agents_by_friedkin_johnsen():
    policy, world = choice(rule="friedkin-johnsen", susceptibility=0.25), people([-1.0, 1.0])
    feeds = showing([[1], [0]])
    assert advance(policy, world, feeds).tolist() == [-0.5, 0.5]
    assert advance(policy, world, feeds).tolist() == [-0.625, 0.625]  # 0.25 * 0.5 - 0.75: the anchor is what was first
    assert advance(policy, world, feeds, 60) == pytest.approx([-0.6, 0.6])  # x = -s x - (1 - s)


def test_self_weight():
    policy = choice(rule="friedkin-johnsen", susceptibility=1.0, self_weight=0.75)
    assert advance(policy, people([-1.0, 1.0]), showing([[1], [0]])).tolist() == [-0.5, 0.5]


def test_susceptibility_at_its_ends():
    feeds = showing([[1, 2, 3], [0], [0], [0]])
    start = [0.5, -0.75, 0.25, 0.125]
    assert advance(choice(rule="friedkin-johnsen", susceptibility=0.0), people(start), feeds, 5).tolist() == start
    star = advance(choice(rule="friedkin-johnsen", susceptibility=1.0), people(start), feeds)
    assert star == pytest.approx([-0.125, 0.5, 0.5, 0.5])  # the mean of what each saw


@pytest.mark.parametrize("w", [0.0, 0.3])
def test_friedkin_johnsen_converges_to_its_fixed_point(w):
    """``(I - s W)^-1 (1 - s) x(0)``, W with w on its diagonal: everybody sees everybody, and on a graph."""
    x, s = np.array([-0.9, -0.2, 0.1, 0.4, 1.0]), 0.7
    everybody = [[j for j in range(5) if j != i] for i in range(5)]
    for graph in (everybody, [[1, 2], [0], [0, 1, 4], [2], [3, 0, 2, 1]]):
        weights = w * np.eye(5)
        for i, neighbours in enumerate(graph):
            weights[i, neighbours] = (1 - w) / len(neighbours)
        wanted = np.linalg.solve(np.eye(5) - s * weights, (1 - s) * x)
        policy = choice(rule="friedkin-johnsen", susceptibility=s, self_weight=w)
        assert advance(policy, people(x), showing(graph), 80) == pytest.approx(wanted, abs=2e-6)


def test_deffuant_takes_what_is_near_in_the_order_shown():
    start = [0.0, 0.5, -0.375, 0.25]
    policy = choice(rule="deffuant", confidence=0.5, convergence=0.5)
    feeds = showing([[1, 3, 2], [0], [3], []])
    # 0.5 is not nearer than 0.5; 0.25 is: 0.125; then -0.375 lies 0.5 away
    assert advance(policy, people(start), feeds).tolist() == [0.125, 0.5, -0.375, 0.25]
    feeds = showing([[2, 3, 1], [], [], []])
    assert advance(policy, people(start), feeds).tolist() == [0.265625, 0.5, -0.375, 0.25]  # by -0.1875 and 0.03125


def clusters(stances, gap=0.05):
    """Return how many groups there are, more than a gap apart, that hold over 2% of all."""
    ordered = np.sort(stances)
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > gap) + 1)
    return sum(len(group) > 0.02 * len(stances) for group in groups)


@pytest.mark.parametrize(("d", "allowed"), [(0.5, {1}), (0.2, {2, 3}), (0.1, {4, 5})])
def test_deffuant_ends_in_half_as_many_clusters_as_d_fits(d, allowed):
    """About ``1 / (2 d)`` for opinions from 0 to 1 (Deffuant et al. 2000, section 2); d is doubled for stances."""
    rule, rng = OpinionParameters(rule="deffuant", confidence=2 * d, convergence=0.5), np.random.default_rng(3)
    x = np.linspace(-1.0, 1.0, 1000)
    for _ in range(400):
        x = rule.moved(np.arange(1001), x[rng.integers(0, 1000, 1000)], x, x)
    assert clusters(x) in allowed


def test_own_posts_and_unknown_stances_do_not_count():
    policy, world = choice(rule="friedkin-johnsen", susceptibility=1.0), people([0.5, np.nan, -0.25, 0.75])
    after = advance(policy, world, showing([[0, 1, 2], [0, 3], [1, 2], [3]]))
    assert after[0] == -0.25
    assert np.isnan(after[1])
    assert after[2:].tolist() == [-0.25, 0.75]


def test_a_repost_carries_the_stance_of_whom_it_repeats_and_a_quote_that_of_its_writer():
    policy, world = choice(rule="friedkin-johnsen", susceptibility=1.0), people([0.0, -0.5, 0.5])
    keys = agent_keys([2000, 2001])
    world.posts.append(2, key=keys, author=1, kind=[1, 2], root=2, parent=2, text=world.texts.append(["", "no"]))
    assert advance(policy, world, showing([[3], [], []]))[0] == 0.5
    assert advance(policy, world, showing([[4], [], []]))[0] == -0.5


def test_what_was_looked_up_counts_after_the_feed():
    looking = {"search_posts": {"intercept": 100.0}}
    parameters = {"coefficients": SILENT | looking, "persistence": 1.0}
    policy = Choice.from_parameters(parameters | {"opinion": {"rule": "friedkin-johnsen", "susceptibility": 1.0}})
    world = people([0.0, 0.25, -0.75])  # the context finds all three posts: what is in the feed counts once
    assert advance(policy, world, showing([[1], [], []])).tolist() == [-0.25, -0.375, 0.125]


def test_only_what_is_examined_is_seen():
    opinion = {"rule": "friedkin-johnsen", "susceptibility": 1.0}
    policy = Choice.from_parameters({"coefficients": SILENT, "persistence": 0.0, "opinion": opinion})
    assert advance(policy, people([0.0, 0.5, -1.0]), showing([[1, 2], [], []]))[0] == 0.5


def test_a_stance_is_that_of_the_frozen_world_whatever_else_happens():
    policy = choice(rule="friedkin-johnsen", susceptibility=1.0)
    world, feeds = people([-1.0, 0.0, 1.0]), showing([[1], [2], [0]])
    decided = asyncio.run(policy.decide(feeds, policy_context(world)))
    assert decided.stances.values.tolist() == [0.0, 1.0, -1.0]
    assert world.users["stance"].tolist() == [-1.0, 0.0, 1.0]


def test_an_anchor_outlives_a_stance_given_from_outside():
    policy, world = choice(rule="friedkin-johnsen", susceptibility=0.5), people([0.5, 0.5])
    feeds = showing([[1], []])
    advance(policy, world, feeds)
    world.users["stance"][:] = -1.0
    assert advance(policy, world, feeds)[0] == -0.25


def test_without_a_rule_stances_stay():
    world = policy_world()
    agents = np.arange(30, dtype=np.int32)
    decisions = asyncio.run(Choice().decide(observations_of(world, agents), policy_context(world)))
    assert decisions.stances is None
    assert not decisions.updates
    assert Choice().tables() == {}
    assert choice(rule="deffuant").tables() == {}


def test_a_rule_changes_no_action():
    world = policy_world()
    observations, ctx = observations_of(world, np.arange(30, dtype=np.int32)), policy_context(world)
    plain, moved = (
        asyncio.run(Choice.from_parameters({"coefficients": LOOKS_UP, **given}).decide(observations, ctx)).actions
        for given in ({}, {"opinion": {"rule": "deffuant"}})
    )
    assert np.array_equal(plain.action, moved.action)
    assert np.array_equal(plain.target_id, moved.target_id)
    assert (plain.action == Action.SEARCH_POSTS).any()


def test_anchors_are_the_same_however_they_came():
    one, other = Anchors(), Anchors()
    for agent in (7, 2, 40):
        one.keep(np.array([agent], np.int32), np.array([agent / 64], np.float32))
    other.keep(np.array([2, 7, 40], np.int32), np.array([2, 7, 40], np.float32) / np.float32(64))
    assert one.to_arrow().equals(other.to_arrow())
    other.load(one.to_arrow())
    assert one.to_arrow().equals(other.to_arrow())
    np.testing.assert_array_equal(other.of(np.array([40, 41, 7, 0], np.int32)), [0.625, np.nan, 7 / 64, np.nan])
    other.load(Anchors().to_arrow())
    assert other.to_arrow().num_rows == 0


def test_feeds_may_be_split_anyhow():
    world = people(np.linspace(-1, 1, 40))
    rng = np.random.default_rng(1)
    whole = showing([rng.integers(0, 40, rng.integers(0, 9)) for _ in range(40)])
    policy = choice(rule="friedkin-johnsen")
    ctx = policy_context(world)
    together = asyncio.run(policy.decide(whole, ctx)).stances
    parts = [asyncio.run(policy.decide(whole.take(rows), ctx)).stances for rows in np.array_split(np.arange(40), 7)]
    assert np.array_equal(together.values, np.concatenate([part.values for part in parts]))


@pytest.mark.parametrize(
    ("opinion", "said"),
    [
        ({}, "opinion.rule: is missing"),
        ({"rule": "degroot"}, "opinion.rule: should be 'friedkin-johnsen' or 'deffuant', got 'degroot'"),
        ({"rule": ["deffuant"]}, "opinion.rule: should be 'friedkin-johnsen' or 'deffuant'"),
        ({"rule": "deffuant", "susceptibility": 0.5}, "unknown key 'susceptibility' of deffuant; allowed: rule, conf"),
        ({"rule": "friedkin-johnsen", "suceptibility": 0.5}, "did you mean 'susceptibility'"),
        (
            {"rule": "friedkin-johnsen", "susceptibility": 1.5},
            "opinion.susceptibility: should be less than or equal to 1",
        ),
        ({"rule": "deffuant", "confidence": float("nan")}, "opinion.confidence: should be"),
        ("deffuant", "opinion: should be a table"),
    ],
)
def test_wrong_parameters_are_explained(opinion, said):
    with pytest.raises(ScenarioError) as error:
        Choice.from_parameters({"opinion": opinion})
    assert said in str(error.value)


def test_whole_numbers_are_numbers():
    assert choice(rule="friedkin-johnsen", susceptibility=1).parameters.opinion.susceptibility == 1.0
