"""The choice model: probabilities, frequencies, common random numbers, activity."""

import asyncio
import math

import numpy as np
import pytest

from oasis.actions import USER_ACTIONS, Action
from oasis.agents.choice import Choice
from oasis.agents.choice.model import _ACTIONS, FEATURES, ChoiceParameters, Model, defaults
from oasis.agents.choice.rates import REFERENCE_POSTS, expected_rates
from oasis.errors import ScenarioError
from oasis.interfaces import Feeds, Observations, RowFlag
from oasis.randomness import Lane, agent_keys, derive_keys
from oasis.testing.policy import observations_of, policy_context, policy_world
from oasis.world.interests import interest_vectors
from oasis.world.world import World

X = tuple(
    Action[name.upper()]
    for name in ("create_post", "repost", "quote_post", "like_post", "create_comment", "follow", "do_nothing")
)
LIVELY = {action: {"intercept": -1.0} for action in _ACTIONS}


def crowd(readers, posts, likes=0):
    """Return a world of `readers` agents alike, and `posts` posts by as many further authors."""
    world = World()
    n = readers + posts
    world.add_users(n, key=agent_keys(np.arange(n)), bio=world.texts.append([f"bio {i}" for i in range(n)]), policy=0)
    author = np.arange(readers, n)
    ids = np.arange(posts)
    world.posts.append(
        posts,
        key=derive_keys(world.users["key"][author], 1, Lane.AGENT, 0),
        author=author,
        kind=0,
        root=ids,
        step=1,
        text=world.texts.append([f"text {i}" for i in range(posts)]),
        base_likes=likes,
    )
    world.step = 1
    return world


def feeds_of(readers, lists):
    """Return observations in which reader i is shown ``lists[i]`` (an array of shape (readers, k))."""
    k = lists.shape[1]
    rows = readers * k
    feeds = Feeds(
        np.arange(readers + 1, dtype=np.int64) * k,
        lists.ravel().astype(np.int32),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.uint8),
    )
    offsets = np.zeros(rows + 1, np.int64)
    return Observations(
        np.arange(readers, dtype=np.int32), feeds, np.zeros(rows, np.uint8), offsets, np.empty(0, np.int32)
    )


def decide(policy, observations, ctx):
    return asyncio.run(policy.decide(observations, ctx)).actions


def test_probabilities_match_an_independent_computation():
    world = policy_world()
    world.posts["reports"][:] = np.arange(len(world.posts)) % 3  # as if: features read the column only
    policy = Choice.from_parameters(
        {"coefficients": {**LIVELY, "like_post": {"intercept": -1.0, "stance_distance": -0.7, "reports": 0.3}}}
    )
    ctx = policy_context(world, allowed=X)
    agents = np.arange(len(world.users), dtype=np.int32)
    seen = observations_of(world, agents)
    actions = decide(policy, seen, ctx)
    shown = {
        (int(a), int(p)): int(f)
        for a, p, f in zip(agents[seen.feeds.rows], seen.feeds.post_ids, seen.flags, strict=True)
    }
    options = ("like_post", "repost", "quote_post", "create_comment")
    checked = 0
    for agent, action, target, probability in zip(
        actions.agent_id.tolist(), actions.action.tolist(), actions.target_id.tolist(), actions.probability, strict=True
    ):
        if Action(action).label not in options:
            continue
        values = plain_features(world, ctx, agent, target, shown[agent, target])
        weights = {}
        for option in options:
            if not possible(option, shown[agent, target]):
                continue
            entries = {name: entry[0] for name, entry in defaults()["actions"][option].items()}
            entries |= policy.parameters.coefficients[option]
            weights[option] = math.exp(sum(value * values[name] for name, value in entries.items()))
        assert probability == pytest.approx(weights[Action(action).label] / (1 + sum(weights.values())), rel=1e-5)
        checked += 1
    assert checked > 20


def plain_features(world, ctx, agent, post, flags):
    p, u = world.posts, world.users
    author, likes = p["author"][post], p["likes"][post] + p["base_likes"][post]
    score = likes - p["dislikes"][post] - p["base_dislikes"][post]
    interest = interest_vectors(world, np.asarray([agent]))[0].astype(float)
    text = world.embeddings.vectors(p["text"][[post]])[0].astype(float)
    lengths = np.linalg.norm(interest) * np.linalg.norm(text)
    return {
        "intercept": 1,
        "interest": interest @ text / lengths if lengths else 0,
        "in_network": bool(flags & RowFlag.IN_NETWORK),
        "log_author_followers": math.log1p(u["followers"][author]),
        "log1p_likes": math.log1p(likes),
        "log1p_reposts": math.log1p(p["reposts"][post]),
        "log1p_score": math.copysign(math.log1p(abs(score)), score),
        "seen": bool(flags & RowFlag.SEEN),
        "age": math.log1p((ctx.base.step - p["step"][post]) * 0.05),
        "reports": math.log1p(p["reports"][post]),
        "stance_distance": abs(float(u["stance"][agent]) - float(u["stance"][author])),
    }


def possible(option, flags):
    if flags & RowFlag.OWN:
        return option == "create_comment"
    return not ((option == "like_post" and flags & RowFlag.LIKED) or (option == "repost" and flags & RowFlag.REPOSTED))


def test_frequencies_match_the_model():
    readers, k = 20_000, 4
    world = crowd(readers, k, likes=5)
    world.users["base_followers"][:] = 20
    rng = np.random.default_rng(1)
    lists = rng.permuted(np.tile(np.arange(k), (readers, 1)), axis=1)
    policy = Choice.from_parameters({"coefficients": {a: {"intercept": -2.5} for a in _ACTIONS}, "max_actions": 20})
    actions = decide(policy, feeds_of(readers, lists), policy_context(world, allowed=X))
    post = {
        "log_author_followers": math.log1p(20),
        "log1p_likes": math.log1p(5),
        "log1p_score": math.log1p(5),
        "age": math.log1p(0.05),
    }
    rates = expected_rates(Model.build("x", X, policy.parameters), post, k)
    assert set(rates) == set(X) - {Action.DO_NOTHING}
    for action, rate in rates.items():
        expected = rate / 1000 * readers * k
        got = int((actions.action == action).sum())
        assert expected > 100
        assert abs(got - expected) < 4 * math.sqrt(expected), (action.label, got, expected)


def test_the_mean_probability_is_the_frequency():
    """The recorded probabilities are calibrated: of occasions with p, a share p comes out (inverse weighting)."""
    readers, k = 20_000, 5
    world = crowd(readers, k)
    lists = np.tile(np.arange(k), (readers, 1))
    policy = Choice.from_parameters({"coefficients": {"like_post": {"intercept": -1.0}}, "max_actions": 20})
    actions = decide(policy, feeds_of(readers, lists), policy_context(world, allowed=(Action.LIKE_POST,)))
    liked = actions.action == Action.LIKE_POST
    examined = (1.0 / actions.probability[liked]).sum()  # unbiased for the number of examined posts
    expected = readers * sum(0.8**i for i in range(k))
    assert abs(examined / expected - 1) < 0.02
    idle = actions.action == Action.DO_NOTHING
    assert abs((1.0 / actions.probability[idle]).sum() / readers - 1) < 0.02


def test_nothing_is_the_product_over_occasions():
    world = crowd(1, 2)
    policy = Choice.from_parameters({"persistence": 1.0, "coefficients": {"like_post": {"age": 0.0}}})
    allowed = (Action.LIKE_POST, Action.CREATE_POST)
    for seed in range(50):
        actions = decide(policy, feeds_of(1, np.asarray([[0, 1]])), policy_context(world, seed, allowed))
        if actions.action[0] == Action.DO_NOTHING:
            like, write = math.exp(-4.9), math.exp(-3.48)
            assert actions.probability[0] == pytest.approx((1 / (1 + like)) ** 2 / (1 + write), rel=1e-6)
            return
    pytest.fail("never did nothing")


def test_a_further_post_changes_no_other_draw():
    readers, k = 3000, 6
    world = crowd(readers, k + 1)
    policy = Choice.from_parameters({"coefficients": LIVELY, "max_actions": 50})
    ctx = policy_context(world, allowed=X)
    lists = np.tile(np.arange(k), (readers, 1))
    short = decide(policy, feeds_of(readers, lists), ctx)
    longer = decide(policy, feeds_of(readers, np.c_[lists, np.full(readers, k)]), ctx)

    def on_old(actions):
        rows = np.flatnonzero(
            (actions.action != Action.DO_NOTHING)
            & ~((actions.target_kind == 1) & (actions.target_id == k))
            & ~((actions.target_kind == 3) & (actions.target_id == readers + k))
        )
        kept = actions.take(rows)
        texts = kept.content.to_pylist()
        return list(zip(kept.agent_id.tolist(), kept.action.tolist(), kept.target_id.tolist(), texts, strict=True))

    assert on_old(short) == on_old(longer)
    assert len(on_old(short)) > 3000
    # in front it moves the others down: what is still done was done before
    front = decide(policy, feeds_of(readers, np.c_[np.full(readers, k), lists]), ctx)
    posts = {(a, c, t) for a, c, t, _ in on_old(short) if c == Action.LIKE_POST}
    assert {(a, c, t) for a, c, t, _ in on_old(front) if c == Action.LIKE_POST} < posts


def test_a_further_agent_changes_no_other_draw():
    policy, lists = Choice.from_parameters({"coefficients": LIVELY}), np.tile(np.arange(3), (50, 1))
    one, two = crowd(50, 3), crowd(50, 3)
    two.add_users(1, key=agent_keys([999]), policy=0)
    a, b = (decide(policy, feeds_of(50, lists), policy_context(w, allowed=X)) for w in (one, two))
    assert np.array_equal(a.action, b.action)
    assert a.content.equals(b.content)


@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_activity_does_not_grow_with_the_feed(platform):
    model = Model.build(platform, X, ChoiceParameters())

    def per_activation(size):
        return sum(expected_rates(model, REFERENCE_POSTS[platform], size).values()) * size / 1000

    assert per_activation(10) < 1
    assert per_activation(20) < 1.11 * per_activation(10)
    assert per_activation(1000) < 1.13 * per_activation(10)


def test_activity_does_not_grow_with_the_feed_in_a_run():
    readers = 5000
    world = crowd(readers, 50)
    policy = Choice.from_parameters({"max_actions": 20})
    counts = []
    for k in (10, 50):
        lists = np.tile(np.arange(k), (readers, 1))
        actions = decide(policy, feeds_of(readers, lists), policy_context(world, allowed=X))
        counts.append(int((actions.action != Action.DO_NOTHING).sum()))
    assert counts[0] < counts[1] < 1.25 * counts[0]


def test_more_allowed_actions_do_not_multiply_activity():
    few = Model.build("x", X, ChoiceParameters())
    many = Model.build("x", USER_ACTIONS, ChoiceParameters())
    on_posts = [a for a in (*few.post.actions, *few.author.actions) if a != Action.DO_NOTHING]
    one, two = (expected_rates(model, REFERENCE_POSTS["x"]) for model in (few, many))
    for action in on_posts:
        assert one[action] * 0.99 < two[action] <= one[action]
    total = [sum(v for a, v in r.items() if a not in many.read.actions) for r in (one, two)]
    assert total[1] < 1.1 * total[0]


def test_own_and_done_things_are_not_done_again():
    world = policy_world()
    policy = Choice.from_parameters({"coefficients": {a: {"intercept": 2.0} for a in _ACTIONS}, "max_actions": 100})
    agents = np.arange(len(world.users), dtype=np.int32)
    actions = decide(policy, observations_of(world, agents), policy_context(world))
    agent, target, p, u = actions.agent_id, actions.target_id, world.posts, world.follows
    for action, wrong in (
        (Action.LIKE_POST, lambda a, t: (world.post_reactions.values(a, t) > 0) | (p["author"][t] == a)),
        (Action.DISLIKE_POST, lambda a, t: (world.post_reactions.values(a, t) < 0) | (p["author"][t] == a)),
        (Action.UNLIKE_POST, lambda a, t: world.post_reactions.values(a, t) <= 0),
        (Action.REPOST, lambda a, t: world.reposts.contains(a, p["root"][t]) | (p["author"][t] == a)),
        (Action.FOLLOW, lambda a, t: u.contains(a, t) | (a == t)),
        (Action.UNFOLLOW, lambda a, t: ~u.contains(a, t)),
        (Action.MUTE, lambda a, t: a == t),
        (Action.LIKE_COMMENT, lambda a, t: world.comments["author"][t] == a),
    ):
        rows = actions.action == action
        assert rows.any(), action
        assert not wrong(agent[rows], target[rows]).any(), action
    pairs = np.c_[agent, actions.target_kind, target][np.isin(actions.action, (13, 14, 15))]
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_at_most_max_actions():
    world = policy_world()
    agents = np.arange(len(world.users), dtype=np.int32)
    likely = {a: {"intercept": 3.0} for a in _ACTIONS}
    for limit in (1, 2, 5):
        policy = Choice.from_parameters({"coefficients": likely, "max_actions": limit})
        actions = decide(policy, observations_of(world, agents), policy_context(world))
        assert np.bincount(actions.agent_id).max() == limit


def test_what_is_found_is_acted_on():
    world = crowd(3000, 8)
    lists = np.tile(np.asarray([6, 7]), (3000, 1))
    policy = Choice.from_parameters({"coefficients": LIVELY, "max_actions": 20})
    actions = decide(policy, feeds_of(3000, lists), policy_context(world))
    found = (actions.target_kind == 1) & (actions.target_id < 5)
    assert found.sum() > 1000
    assert (actions.turn[found] == 1).all()
    reading = np.isin(actions.action, (17, 18, 19, 20))
    assert (actions.turn[reading] == 0).all()
    searching = actions.content.take(np.flatnonzero(np.isin(actions.action, (17, 18)))).to_pylist()
    assert all(searching)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 101.0, "2", True, None])
def test_bad_coefficients(value):
    with pytest.raises(ScenarioError, match=r"policies.parameters.coefficients.like_post.interest"):
        Choice.from_parameters({"coefficients": {"like_post": {"interest": value}}})


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"coefficients": {"like_pst": {"intercept": 1.0}}}, "unknown action 'like_pst' .did you mean 'like_post'"),
        ({"coefficients": {"create_group": {}}}, "unknown action 'create_group'"),
        ({"coefficients": {"like_post": {"intrest": 1.0}}}, "like_post.intrest .did you mean 'interest'"),
        ({"coefficients": {"like_post": 3}}, "coefficients.like_post"),
        ({"coefficients": 3}, "must be a table of actions"),
        ({"persistence": 1.5}, "policies.parameters.persistence: .*less than or equal to 1, got 1.5"),
        ({"reuse": math.nan}, "policies.parameters.reuse"),
        ({"max_actions": 0}, "policies.parameters.max_actions"),
        ({"max_action": 3}, "unknown key .did you mean 'max_actions'"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ScenarioError, match=message):
        Choice.from_parameters(parameters)


def test_every_default_names_its_source():
    data = defaults()
    tables = [*data["actions"].values(), *data["platforms"]["reddit"].values()]
    assert set(data["actions"]) == set(_ACTIONS)
    for table in tables:
        assert set(table) <= set(FEATURES)
        for value, source in table.values():
            assert isinstance(value, float)
            assert source


def test_zero_by_default():
    for action in defaults()["actions"].values():
        assert not {"reports", "labelled", "warned", "veracity", "stance_distance"} & set(action)
