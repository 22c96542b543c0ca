"""The conformance suite of recommenders, and worlds to try them on.

::

    class TestMine(RecommenderTests):
        def recommender(self):
            return Mine.from_parameters({})
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from oasis.clock import Clock
from oasis.errors import ScenarioError
from oasis.interfaces import Feeds, Recommender, Source, StepContext
from oasis.randomness import Draws, Lane, agent_keys, derive_keys
from oasis.recsys.embedders import HashedNgramEmbedder
from oasis.world.schemas import KIND_ORIGINAL, KIND_QUOTE, KIND_REPOST
from oasis.world.world import World

__all__ = ["RecommenderTests", "feed_context", "feed_world"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_WORDS = "rain coffee match market river music train garden election film recipe software".split()  # noqa: SIM905


def _below(seed: int, name: str, high: int, count: int) -> I64:
    return Draws(seed).integers(name, 0, high, np.arange(count, dtype=np.uint64))


def feed_world(agents: int = 30, posts: int = 200, seed: int = 1, steps: int = 20, texts: int = 12) -> World:
    """Return a world with many equal scores: few distinct texts and steps, small counters.

    A quarter of the posts are reposts and an eighth quotes; there are follows, reactions, comments, mutes, reports,
    impressions, engagements, a banned agent, removed and demoted posts.
    """

    def below(name: str, high: int, count: int) -> I64:
        return _below(seed, name, high, count)

    world = World()
    world.step = steps
    world.attach_embedder(HashedNgramEmbedder())
    bios = [f"{_WORDS[a % 12]} and {_WORDS[b % 12]}" if a else None for a, b in enumerate(below("bio", 12, agents))]
    world.add_users(agents, key=agent_keys(np.arange(agents) + 1000 * seed), bio=world.texts.append(bios))
    if not agents:
        return world
    world.users["base_followers"][:] = 10 ** below("base", 6, agents)
    pairs = np.unique(below("a", agents, 5 * agents) << 32 | below("b", agents, 5 * agents))
    a, b = (pairs >> 32).astype(np.int32), (pairs & 0xFFFFFFFF).astype(np.int32)
    world.follows.set_edges(agents, a[a != b], b[a != b])
    world.users["followers"][:] = np.bincount(b[a != b], minlength=agents)
    world.mutes.add(a[a == b], (b[a == b] + 1) % agents)
    if agents > 5:
        world.users["banned"][agents - 1] = True
    _add_posts(world, posts, steps, texts, below)
    if posts:
        _add_activity(world, below)
    return world


def _add_posts(world: World, posts: int, steps: int, texts: int, below) -> None:  # type: ignore[no-untyped-def]
    agents = len(world.users)
    author, earlier = below("author", agents, posts), below("earlier", 2**30, posts) % np.maximum(np.arange(posts), 1)
    draw = below("kind", 8, posts)
    kind = np.where(draw < 2, KIND_REPOST, np.where(draw < 3, KIND_QUOTE, KIND_ORIGINAL))
    kind[:1] = KIND_ORIGINAL
    root, parent, made = np.arange(posts), np.full(posts, -1), set()
    for i in range(posts):
        if kind[i] != KIND_ORIGINAL:
            root[i], parent[i] = root[earlier[i]], earlier[i]
        if kind[i] == KIND_REPOST:
            if (author[i], root[i]) in made:
                kind[i], root[i], parent[i] = KIND_ORIGINAL, i, -1
            made.add((author[i], root[i]))
    pool = world.texts.append([f"{_WORDS[t % 12]} near {_WORDS[t // 12 % 12]}" for t in range(texts)])
    text = np.where(kind == KIND_REPOST, -1, pool[below("text", texts, posts)] if texts else -1)
    world.posts.append(
        posts, key=derive_keys(world.users["key"][author], 0, Lane.HISTORY, np.arange(posts)), author=author, kind=kind,
        root=root, parent=parent, step=np.sort(below("step", steps + 1, posts)), text=text,
        base_likes=below("likes", 3, posts), base_dislikes=below("dislikes", 3, posts),
        weight=np.where(below("weight", 10, posts) == 0, 0.5, 1.0), hidden=below("hidden", 20, posts) == 0,
    )  # fmt: skip
    world.posts["weight"][-1:] = 0 if posts > 20 else 1
    rows = np.flatnonzero(kind == KIND_REPOST)
    world.reposts.add(author[rows], root[rows], rows)
    np.add.at(world.posts["reposts"], root[rows], 1)


def _add_activity(world: World, below) -> None:  # type: ignore[no-untyped-def]
    agents, posts, root = len(world.users), len(world.posts), world.posts["root"]
    many = 3 * agents
    who, what = below("who", agents, many), root[below("what", posts, many)]
    vote = np.where(below("vote", 4, many) > 0, 1, -1)
    new = world.post_reactions.add(who, what, vote)
    np.add.at(world.posts["likes"], what[new & (vote > 0)], 1)
    np.add.at(world.posts["dislikes"], what[new & (vote < 0)], 1)
    order = np.argsort(who, kind="stable")
    liked = order[(new & (vote > 0))[order]]
    world.engaged.push(who[liked].astype(np.int32), what[liked].astype(np.int32))
    on = root[below("on", posts, agents)]
    world.comments.append(agents, post=on, author=below("commenter", agents, agents), step=world.step)
    np.add.at(world.posts["comments"], on, 1)
    world.reports.add(below("reporter", agents, 5), root[below("reported", posts, 5)])
    seen = np.sort(below("viewer", agents, 6 * agents)).astype(np.int32)
    world.seen.push(seen, below("viewed", posts, 6 * agents).astype(np.int32))


def feed_context(world: World, seed: int = 1, step: int | None = None, personal: bool = True) -> StepContext:
    """Return the context of the next step (or of `step`), with the visibility rule of a plain platform."""

    def visible(agents: I32, posts: I32) -> npt.NDArray[np.bool_]:
        author = world.posts["author"][posts]
        return ~(world.posts["hidden"][posts] | world.users["banned"][author] | world.mutes.contains(agents, author))

    return StepContext(world.step + 1 if step is None else step, Clock(), Draws(seed), visible, personal)


class RecommenderTests:
    """What every recommender must do. Subclass it and return a new recommender from `recommender`."""

    def recommender(self) -> Recommender:
        """Return a new recommender with its default parameters."""
        raise NotImplementedError

    def feeds(
        self, world: World, agents: Sequence[int] | I32 | None = None, k: int = 10, ctx: StepContext | None = None
    ) -> Feeds:
        """Prepare a new recommender and return its feeds (of all agents)."""
        ctx = ctx or feed_context(world)
        recommender = self.recommender()
        recommender.prepare(world, ctx)
        ids = np.arange(len(world.users)) if agents is None else agents
        return recommender.recommend(world, ctx, np.asarray(ids, np.int32), k)

    def test_types_and_lengths(self) -> None:
        world = feed_world()
        feeds = self.feeds(world)
        assert feeds.offsets.dtype == np.int64
        assert feeds.post_ids.dtype == np.int32
        assert feeds.scores.dtype == np.float32
        assert feeds.sources.dtype == np.uint8
        assert len(feeds.offsets) == len(world.users) + 1
        assert feeds.offsets[0] == 0
        assert feeds.offsets[-1] == len(feeds.post_ids) == len(feeds.scores) == len(feeds.sources)
        length = np.diff(feeds.offsets)
        assert (length >= 0).all()
        assert (length <= 10).all()
        assert set(feeds.sources.tolist()) <= {int(s) for s in Source}
        assert np.isfinite(feeds.scores).all()
        assert len(feeds.post_ids), "a world full of posts, and nobody is shown any"

    @pytest.mark.parametrize("personal", [True, False])
    def test_no_root_twice(self, personal: bool) -> None:
        for seed in range(4):
            world = feed_world(seed=seed)
            feeds = self.feeds(world, ctx=feed_context(world, personal=personal))
            pairs = feeds.rows << 32 | world.posts["root"][feeds.post_ids]
            assert len(np.unique(pairs)) == len(pairs)

    def test_what_is_removed_is_not_shown(self) -> None:
        world = feed_world()
        for personal in (True, False):
            shown = self.feeds(world, ctx=feed_context(world, personal=personal)).post_ids
            assert not world.posts["hidden"][shown].any()
            assert not world.users["banned"][world.posts["author"][shown]].any()
            assert (world.posts["weight"][shown] > 0).all()

    def test_own_acted_on_and_muted_are_absent_from_personal_feeds(self) -> None:
        for seed in range(4):
            world = feed_world(seed=seed)
            feeds = self.feeds(world)
            agents, roots = feeds.rows.astype(np.int32), world.posts["root"][feeds.post_ids]
            author, kind = world.posts["author"], world.posts["kind"]
            assert not (author[feeds.post_ids] == agents).any()
            assert not world.post_reactions.contains(agents, roots).any()
            assert not world.reposts.contains(agents, roots).any()
            assert not world.reports.contains(agents, roots).any()
            assert not world.mutes.contains(agents, author[feeds.post_ids]).any()
            quotes = np.flatnonzero(kind == KIND_QUOTE)
            on = world.posts["root"][world.comments["post"]]
            acted = set(zip(author[quotes].tolist(), world.posts["root"][quotes].tolist(), strict=True))
            acted |= set(zip(world.comments["author"].tolist(), on.tolist(), strict=True))
            assert not acted & set(zip(agents.tolist(), roots.tolist(), strict=True))

    def test_batches_do_not_matter(self) -> None:
        world = feed_world(agents=40)
        ctx = feed_context(world)
        whole = self.feeds(world, ctx=ctx)
        recommender = self.recommender()
        recommender.prepare(world, ctx)
        for size in (1, 7):
            for start in range(0, 40, size):
                ids = np.arange(start, min(start + size, 40), dtype=np.int32)
                part = recommender.recommend(world, ctx, ids, 10)
                rows = slice(whole.offsets[ids[0]], whole.offsets[ids[-1] + 1])
                assert np.array_equal(part.post_ids, whole.post_ids[rows])
                assert np.array_equal(part.scores, whole.scores[rows])
                assert np.array_equal(part.sources, whole.sources[rows])

    def test_recommending_changes_nothing(self) -> None:
        world = feed_world()
        before = world.state_hash()
        first, again = self.feeds(world), self.feeds(world)
        assert np.array_equal(first.post_ids, again.post_ids)
        assert world.state_hash() == before

    def test_empty_worlds_and_cold_starts(self) -> None:
        assert len(self.feeds(feed_world(agents=0, posts=0)).offsets) == 1
        for personal in (True, False):
            world = feed_world(agents=3, posts=0)
            feeds = self.feeds(world, ctx=feed_context(world, personal=personal))
            assert feeds.offsets.tolist() == [0, 0, 0, 0]
        assert len(self.feeds(feed_world(), agents=[]).post_ids) == 0
        assert len(self.feeds(feed_world(), k=0).post_ids) == 0
        lonely = feed_world(agents=1, posts=5)
        assert len(self.feeds(lonely).post_ids) == 0, "an agent is shown its own posts"

    def test_more_places_than_posts(self) -> None:
        world = feed_world(agents=12, posts=9)
        feeds = self.feeds(world, k=500)
        assert np.diff(feeds.offsets).max(initial=0) <= 9

    def test_impersonal_lists_are_as_shared_as_they_say(self) -> None:
        world = feed_world()
        feeds = self.feeds(world, ctx=feed_context(world, personal=False))
        if feeds.shared:
            lists = feeds.post_ids.reshape(len(world.users), -1)
            assert (lists == lists[:1]).all()

    def test_an_unknown_parameter_is_an_error(self) -> None:
        with pytest.raises(ScenarioError, match="unknown key"):
            type(self.recommender()).from_parameters({"no_such_parameter": 1})
