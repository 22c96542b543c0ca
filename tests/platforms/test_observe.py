"""What agents see of their feeds, against naive Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.actions import USER_ACTIONS, Action, ActionBatch
from oasis.interfaces import Feeds, RowFlag, StepContext
from oasis.kernels import pairs
from oasis.kernels import platform as kernels
from oasis.platforms.observe import shown_comments
from oasis.platforms.reddit import Reddit
from oasis.platforms.rules import Rules
from oasis.platforms.x import X
from oasis.randomness import Draws
from oasis.testing.platform import random_feeds
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

A = Action
AGENTS = 15


def busy_world() -> World:
    """Return a world with mutes, a banned author, a removed post, reports, reposts and votes on comments."""
    world = small_world(AGENTS, 40, 8, comments=160, step=3)
    platform = X(USER_ACTIONS)
    ctx = step_context(world, platform)
    draws, keys = Draws(2), world.users["key"]
    wanted = [A.MUTE, A.REPORT_POST, A.REPOST, A.LIKE_COMMENT, A.DISLIKE_COMMENT, A.LIKE_COMMENT, A.DISLIKE_POST]
    lengths = [AGENTS, 40, 40, 160, 160, 160, 40]
    for number in range(14):
        target = draws.integers("t", number, lengths[number % 7], keys)
        platform.apply(world, ActionBatch.build(np.arange(AGENTS), int(wanted[number % 7]), target_id=target), ctx)
    outside = ActionBatch.build([-1, -1], [A.BAN, A.REMOVE_POST], target_id=[4, 0])
    platform.apply_outside(world, outside, ctx)
    world.seen.push(np.repeat(np.arange(AGENTS, dtype=np.int32), 3), world.posts["root"][np.arange(3 * AGENTS) % 40])
    world.step += 1
    return world


def naive_comments(
    world: World, agent: int, root: int, most: int, ctx: StepContext, order: str = "top", allowed: Any = None
) -> list[int]:
    """Return the comments under a post that an agent is shown, by looking at all comments there are."""
    table = world.comments
    newest = [c for c in range(len(table) - 1, -1, -1) if table["post"][c] == root]
    newest = [c for c in newest if allowed is None or allowed[c]][:: -1 if order == "old" else 1][:16]
    tie = {c: ctx.draws.bits("comments shown", ctx.step, table["key"][[c]])[0] for c in newest}
    shown = [
        c
        for c in newest
        if not world.mutes.contains(agent, table["author"][c])[0] and not world.users["banned"][table["author"][c]]
    ]
    score = {c: int(table["likes"][c] + table["base_likes"][c]) - int(table["dislikes"][c]) for c in shown}
    first = {"top": lambda c: -score[c], "new": lambda c: -table["step"][c], "old": lambda c: table["step"][c]}[order]
    return sorted(shown, key=lambda c: (first(c), tie[c]))[:most]


@pytest.mark.parametrize("order", ["top", "new", "old"])
@pytest.mark.parametrize("some", [True, False])
def test_order_of_comments(order: str, some: bool) -> None:
    world = busy_world()
    last = np.flatnonzero(world.comments["post"] == world.comments["post"][0])
    world.comments["base_likes"][last] = np.arange(len(last)) % 3
    allowed = world.comments["author"] % 2 == 0 if some else None
    rules = Rules(comments_per_post=4, comment_order=order)  # type: ignore[arg-type]
    ctx = step_context(world, X())
    roots = np.repeat(np.flatnonzero(world.posts["kind"] == 0), AGENTS).astype(np.int32)
    agents = np.resize(np.arange(AGENTS, dtype=np.int32), len(roots))
    offsets, ids = shown_comments(world, agents, roots, rules, ctx, allowed)
    assert np.diff(offsets).max() == 4
    for i, (agent, root) in enumerate(zip(agents.tolist(), roots.tolist(), strict=True)):
        wanted = naive_comments(world, agent, root, 4, ctx, order, allowed)
        assert ids[offsets[i] : offsets[i + 1]].tolist() == wanted


def test_the_order_by_age_does_not_know_votes() -> None:
    world, agents, root = busy_world(), np.zeros(1, np.int32), world_root(busy_world())
    before = {order: _under(world, agents, root, order) for order in ("top", "new", "old")}
    world.comments["base_likes"][before["top"][-1]] += 50
    after = {order: _under(world, agents, root, order) for order in before}
    assert [order for order in before if before[order] != after[order]] == ["top"]


def world_root(world: World) -> np.ndarray:
    """Return the post with most comments."""
    return np.asarray([np.bincount(world.comments["post"]).argmax()], np.int32)


def _under(world: World, agents: np.ndarray, root: np.ndarray, order: str) -> list[int]:
    rules = Rules(comments_per_post=16, comment_order=order)  # type: ignore[arg-type]
    return shown_comments(world, agents, root, rules, step_context(world, X()))[1].tolist()


@pytest.mark.parametrize("most", [0, 1, 3, 16])
@pytest.mark.parametrize("muting", [True, False])
def test_flags_and_comments(most: int, muting: bool) -> None:
    world = busy_world() if muting else small_world(AGENTS, 40, 8, comments=160)
    platform = X(None, Rules(comments_per_post=most, report_warning_threshold=1))
    ctx = step_context(world, platform)
    agents = np.arange(AGENTS, dtype=np.int32)
    seen = platform.observe(world, agents, random_feeds(world, AGENTS, 12, Draws(6)), ctx)
    posts, remembered = world.posts, world.posts["root"][world.seen.get(agents)]
    remembered[world.seen.get(agents) < 0] = -1
    assert len(seen.flags) > 50
    for i, (row, post) in enumerate(zip(seen.feeds.rows, seen.feeds.post_ids, strict=True)):
        agent, root = int(agents[row]), int(posts["root"][post])
        vote = world.post_reactions.values(agent, root)[0]
        wanted = RowFlag(0)
        for flag, true in (
            (RowFlag.OWN, agent in (posts["author"][post], posts["author"][root])),
            (RowFlag.LIKED, vote == 1),
            (RowFlag.DISLIKED, vote == -1),
            (RowFlag.REPOSTED, world.reposts.contains(agent, root)[0]),
            (RowFlag.SEEN, root in remembered[agent]),
            (RowFlag.IN_NETWORK, world.follows.contains(agent, posts["author"][post])[0]),
            (RowFlag.WARNED, posts["reports"][root] > 1),
        ):
            wanted |= flag if true else RowFlag(0)
        assert RowFlag(int(seen.flags[i])) == wanted
        under = seen.comment_ids[seen.comment_offsets[i] : seen.comment_offsets[i + 1]].tolist()
        assert under == naive_comments(world, agent, root, most, ctx)
    if muting:
        assert all(((seen.flags & flag) > 0).any() for flag in RowFlag)


def test_the_best_version_of_a_root_is_kept() -> None:
    world, platform = small_world(3, 0), X(USER_ACTIONS)
    ctx = step_context(world, platform)
    platform.apply(world, ActionBatch.build([0], int(A.CREATE_POST), content=["root"]), ctx)
    ctx = step_context(world, platform)
    platform.apply(world, ActionBatch.build([1, 2], int(A.REPOST), target_id=0), ctx)
    for scores, kept in (([1, 2, 3], 2), ([1, 3, 2], 1), ([2, 2, 2], 0), ([1, 2, 2], 1)):
        for order in ([0, 1, 2], [2, 1, 0]):
            posts = np.array(order, np.int32)
            ranked = np.array(scores, np.float32)[order]
            feeds = Feeds(np.array([0, 3]), posts, ranked, np.zeros(3, np.uint8))
            seen = platform.observe(world, np.array([0], np.int32), feeds, step_context(world, platform))
            assert seen.feeds.post_ids.tolist() == [kept]
    platform.apply(world, ActionBatch.build([0], int(A.MUTE), target_id=2), step_context(world, platform))
    feeds = Feeds(np.array([0, 3]), np.arange(3, dtype=np.int32), np.arange(3, dtype=np.float32), np.zeros(3, np.uint8))
    seen = platform.observe(world, np.array([0], np.int32), feeds, step_context(world, platform))
    assert seen.feeds.post_ids.tolist() == [1]


def test_posts_hidden_by_reports_are_not_shown() -> None:
    world = small_world(AGENTS, 40, 8)
    hiding, showing = (Reddit(None, Rules(report_hide_threshold=t)) for t in (2, 0))
    X(USER_ACTIONS).apply(
        world,
        ActionBatch.build(np.arange(3), int(A.REPORT_POST), target_id=0),
        step_context(world, X()),
    )
    agents, post = np.arange(AGENTS, dtype=np.int32), np.zeros(AGENTS, np.int32)
    assert not hiding.visible(world, agents, post).any()
    assert showing.visible(world, agents, post).all()


feeds_of_roots = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 2)), max_size=8), max_size=5
)


@settings(max_examples=80, deadline=None)
@given(feeds_of_roots)
def test_kernels_equal_numpy(feeds: list[list[tuple[int, int, int]]]) -> None:
    offsets = np.cumsum([0, *map(len, feeds)])
    flat = np.array([entry for feed in feeds for entry in feed], np.int32).reshape(-1, 3)
    roots, posts, scores = flat[:, 0].copy(), flat[:, 1].copy(), flat[:, 2].astype(np.float32)
    best, seen = np.empty(len(roots), np.bool_), np.empty(len(roots), np.bool_)
    kernels.best_version(offsets, roots, posts, scores, best)
    assert np.array_equal(best, kernels.best_version_numpy(offsets, roots, posts, scores))
    remembered = np.resize(np.array([-1, 3, 1], np.int32), (len(feeds), 2))
    root = np.array([0, 0, 2, 4], np.int32)
    kernels.seen_before(offsets, roots, remembered, root, seen)
    assert np.array_equal(seen, kernels.seen_before_numpy(offsets, roots, remembered, root))


@pytest.mark.parametrize("most", [1, 2, 4])
def test_picking_comments_equals_numpy(most: int) -> None:
    rng = np.random.default_rng(most)
    ranked = rng.integers(0, 40, (30, 5)).astype(np.int32)
    ranked[np.arange(5) >= rng.integers(0, 6, 30)[:, None]] = -1
    author, banned = rng.integers(0, 8, 40).astype(np.int32), rng.random(8) < 0.2
    place, agents = rng.integers(0, 30, 300), rng.integers(0, 8, 300).astype(np.int32)
    keys = np.unique(rng.integers(0, 8, 12) << 32 | rng.integers(0, 8, 12))
    slots = np.full(64, pairs.EMPTY, np.int64)
    pairs.add(slots, np.zeros(64, np.int32), keys, np.ones(len(keys), np.int32), np.empty(len(keys), np.bool_))
    picked, taken = np.empty((300, most), np.int32), np.empty(300, np.int64)
    kernels.pick_comments(place, agents, ranked, author, banned, slots, picked, taken)
    plain_picked, plain_taken = kernels.pick_comments_numpy(place, agents, ranked, author, banned, keys, most)
    assert len(np.unique(taken)) == most + 1
    np.testing.assert_array_equal(picked, plain_picked)
    np.testing.assert_array_equal(taken, plain_taken)
