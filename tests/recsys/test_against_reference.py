"""Feeds equal those of naive float64 references in plain Python, exactly, on worlds full of ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from oasis.interfaces import Feeds, Source, StepContext
from oasis.plugins import load
from oasis.testing.recommender import feed_context, feed_world
from oasis.world.interests import interest_vectors
from oasis.world.schemas import KIND_QUOTE, KIND_REPOST
from oasis.world.world import World

Row = tuple[int, float, int]  # post, score, source


@dataclass
class Plain:
    """A world as Python values, with the rules of who may be shown what."""

    world: World
    ctx: StepContext

    def __post_init__(self) -> None:
        posts, users = self.world.posts, self.world.users
        self.post = {name: posts[name].tolist() for name in posts.schema.names}
        self.user = {name: users[name].tolist() for name in ("banned", "followers", "base_followers", "key")}
        self.follows = {(a, b) for a, b, _ in zip(*(c.tolist() for c in self.world.follows.edges()), strict=True)}
        self.mutes = {(a, b) for a, b, _ in zip(*(c.tolist() for c in self.world.mutes.items()), strict=True)}
        self.acted = {(a, b) for a, b, _ in zip(*(c.tolist() for c in self.world.post_reactions.items()), strict=True)}
        self.acted |= {(a, b) for a, b, _ in zip(*(c.tolist() for c in self.world.reposts.items()), strict=True)}
        for post, kind in enumerate(self.post["kind"]):
            if kind == KIND_QUOTE:
                self.acted.add((self.post["author"][post], self.post["root"][post]))
        for author, post in zip(
            self.world.comments["author"].tolist(), self.world.comments["post"].tolist(), strict=True
        ):
            self.acted.add((author, self.post["root"][post]))
        self.acted |= {(a, b) for a, b, _ in zip(*(c.tolist() for c in self.world.reports.items()), strict=True)}
        everyone = np.arange(len(users))
        self.seen = [{self.post["root"][p] for p in row if p >= 0} for row in self.world.seen.get(everyone).tolist()]
        keys = posts["key"][posts["root"]]
        self.tie = [int(b) for b in self.ctx.draws.bits("recsys.ties", self.ctx.step, keys)]

    def shown(self) -> list[int]:
        """Return posts that anybody may be shown."""
        p, root, author = self.post, self.post["root"], self.post["author"]
        return [
            i
            for i in range(len(root))
            if not p["hidden"][i]
            and not p["hidden"][root[i]]
            and p["weight"][i] > 0
            and not self.user["banned"][author[i]]
            and not self.user["banned"][author[root[i]]]
        ]

    def may(self, agent: int, post: int) -> bool:
        """Return whether a personal feed of `agent` may hold `post`."""
        root = self.post["root"][post]
        authors = {self.post["author"][post], self.post["author"][root]}
        if agent in authors or any((agent, a) in self.mutes for a in authors):
            return False
        return (agent, root) not in self.acted

    def total(self, name: str, post: int) -> int:
        """Return a counter of the root, base included."""
        root = self.post["root"][post]
        base = self.post.get(f"base_{name}")
        return self.post[name][root] + (base[root] if base else 0)

    def order(self, rows: list[Row]) -> list[Row]:
        """Return rows by falling score, rising draw of the root, rising id; one per root."""
        best, roots = [], set()
        for row in sorted(rows, key=lambda r: (-r[1], self.tie[r[0]], r[0])):
            if self.post["root"][row[0]] not in roots:
                roots.add(self.post["root"][row[0]])
                best.append(row)
        return best


def demoted(score: float, weight: float) -> float:
    return score * weight if score > 0 else score / weight


def hot_rows(plain: Plain) -> list[Row]:
    out = []
    for i in plain.shown():
        s = plain.total("likes", i) - plain.total("dislikes", i)
        sign = (s > 0) - (s < 0)
        t = plain.ctx.clock.epoch_seconds(plain.post["step"][i])
        score = sign * math.log10(max(abs(s), 1)) + (t - 1134028003) / 45000
        out.append((i, demoted(score, plain.post["weight"][i]), int(Source.POPULAR)))
    return out


def newest_rows(plain: Plain) -> list[Row]:
    age = [plain.ctx.step - s for s in plain.post["step"]]
    return [(i, demoted(-float(age[i]), plain.post["weight"][i]), int(Source.EXPLORE)) for i in plain.shown()]


def engagement_rows(plain: Plain) -> list[Row]:
    out = []
    for i in plain.shown():
        if plain.ctx.step - plain.post["step"][i] <= plain.ctx.history_steps:
            score = float(plain.total("likes", i) + 2 * plain.total("reposts", i) + plain.total("comments", i))
            out.append((i, demoted(score, plain.post["weight"][i]), int(Source.FOLLOWED)))
    return out


def pool_rows(plain: Plain, pool_size: int, share: float) -> list[tuple[int, float, int]]:
    """Return (post, factor without the vector's length, source) of the out-of-network pool."""
    rows = []
    for i in plain.shown():
        age, author = plain.ctx.step - plain.post["step"][i], plain.post["author"][i]
        recency = max(0.0, math.log((271.8 - age) / 100)) if age < 271.8 else 0.0
        followers = plain.user["followers"][author] + plain.user["base_followers"][author]
        fame = max(1.0, math.log(followers + 1.0) / math.log(1000.0))
        factor = recency * fame * plain.post["weight"][i]
        if factor > 0:
            rows.append((i, factor, int(Source.INTEREST)))
    rows.sort(key=lambda r: (-r[1], plain.tie[r[0]], r[0]))
    rest = rows[pool_size:]
    keys = plain.world.posts["key"]
    drawn = {r[0]: int(plain.ctx.draws.bits("recsys.explore", plain.ctx.step, keys[[r[0]]])[0]) for r in rest}
    rest.sort(key=lambda r: (drawn[r[0]], r[0]))
    return rows[:pool_size] + [(i, f, int(Source.EXPLORE)) for i, f, _ in rest[: round(pool_size * share)]]


def similar_rows(plain: Plain, agent: int, pool: list[tuple[int, float, int]]) -> list[Row]:
    """Return scored rows of authors not followed; the score before division by the agent's own length."""
    mine = interest_vectors(plain.world, np.array([agent]))[0].tolist()
    out = []
    for i, factor, source in pool:
        if (agent, plain.post["author"][i]) in plain.follows:
            continue
        text = plain.post["text"][i]
        text = text if text >= 0 else plain.post["text"][plain.post["root"][i]]
        theirs = plain.world.embeddings.vectors(np.array([text]))[0].tolist()
        norm = math.sqrt(sum(x * x for x in theirs))
        dot = sum(x * y for x, y in zip(mine, theirs, strict=True))
        score = float(dot) * (factor / norm) if norm else 0.0
        if score > 0:
            out.append((i, score, source))
    return out


def interleaved(plain: Plain, first: list[Row], second: list[Row], share: int, k: int) -> list[Row]:
    root = plain.post["root"]
    a = first[:share]
    b = [r for r in second if root[r[0]] not in {root[x[0]] for x in a}][: k - len(a)]
    taken = {root[x[0]] for x in b}
    a = a + [r for r in first[share:] if root[r[0]] not in taken][: k - len(a) - len(b)]
    out = []
    for i in range(max(len(a), len(b))):
        out += a[i : i + 1] + b[i : i + 1]
    return out


def personal(plain: Plain, agent: int, lists: list[list[Row]], share: int, k: int) -> list[Row]:
    """Return a personal feed: unseen posts first, then seen ones."""
    out: list[Row] = []
    for seen in (False, True):
        chosen = [
            plain.order(
                [r for r in rows if plain.may(agent, r[0]) and (plain.post["root"][r[0]] in plain.seen[agent]) == seen]
            )
            for rows in lists
        ]
        out += interleaved(plain, chosen[0], chosen[1] if len(lists) > 1 else [], share, k)
    return out[:k]


def check(feeds: Feeds, wanted: Callable[[int], list[Row]], exact_scores: bool = True) -> int:
    """Compare feeds row by row; return how many rows there were."""
    for agent in range(len(feeds.offsets) - 1):
        rows = slice(feeds.offsets[agent], feeds.offsets[agent + 1])
        reference = wanted(agent)
        assert feeds.post_ids[rows].tolist() == [r[0] for r in reference], f"agent {agent}"
        assert feeds.sources[rows].tolist() == [r[2] for r in reference], f"agent {agent}"
        scores = np.array([r[1] for r in reference]).astype(np.float32)
        assert np.array_equal(feeds.scores[rows], scores), f"agent {agent}"
    return len(feeds.post_ids)


def recommend(name: str, parameters: dict[str, Any], world: World, ctx: StepContext, k: int) -> Feeds:
    recommender = load("recommenders", name).from_parameters(parameters)
    recommender.prepare(world, ctx)
    feeds: Feeds = recommender.recommend(world, ctx, np.arange(len(world.users), dtype=np.int32), k)
    return feeds


WORLDS = [
    pytest.param({"agents": 25, "posts": 150, "seed": seed, "steps": steps, "texts": texts}, k, id=f"{seed}")
    for seed, (steps, texts, k) in enumerate([(3, 6, 10), (20, 40, 7), (200, 12, 10), (0, 3, 1), (300, 100, 25)])
]


@pytest.mark.parametrize(("sizes", "k"), WORLDS)
def test_hot_is_exact(sizes: dict[str, int], k: int) -> None:
    world = feed_world(**sizes)
    for is_personal in (True, False):
        ctx = feed_context(world, seed=3, personal=is_personal)
        plain = Plain(world, ctx)
        feeds, rows = recommend("hot", {}, world, ctx, k), hot_rows(plain)
        shared = plain.order(rows)[:k]
        assert check(feeds, lambda a, p=plain, s=shared, r=rows: personal(p, a, [r], k, k) if p.ctx.personal else s)


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize(("sizes", "k"), WORLDS)
def test_chronological_is_exact(sizes: dict[str, int], k: int, fill: bool) -> None:
    world = feed_world(**sizes)
    ctx = feed_context(world, seed=4)
    plain = Plain(world, ctx)
    rows = newest_rows(plain)

    def wanted(agent: int) -> list[Row]:
        followed = [
            (i, s, int(Source.FOLLOWED)) for i, s, _ in rows if (agent, plain.post["author"][i]) in plain.follows
        ]
        return personal(plain, agent, [followed, rows] if fill else [followed], k, k)

    assert check(recommend("chronological", {"fill": fill}, world, ctx, k), wanted)


@pytest.mark.parametrize("pool_size", [10_000, 30])
@pytest.mark.parametrize("share", [0.5, 0.0, 1.0])
@pytest.mark.parametrize(("sizes", "k"), WORLDS)
def test_interest_is_exact(sizes: dict[str, int], k: int, share: float, pool_size: int) -> None:
    world = feed_world(**sizes)
    ctx = feed_context(world, seed=5)
    plain = Plain(world, ctx)
    in_network, pool = engagement_rows(plain), pool_rows(plain, pool_size, 0.2)
    vectors = interest_vectors(world, np.arange(len(world.users))).astype(np.int64)

    def wanted(agent: int) -> list[Row]:
        followed = [r for r in in_network if (agent, plain.post["author"][r[0]]) in plain.follows]
        length = math.sqrt(sum(x * x for x in vectors[agent].tolist()))
        lists = [followed, similar_rows(plain, agent, pool)]
        out = personal(plain, agent, lists, math.floor(share * k + 0.5), k)
        return [(i, s if source == Source.FOLLOWED else s / length, source) for i, s, source in out]

    parameters = {"pool_size": pool_size, "exploration_share": 0.2, "in_network_share": share}
    assert check(recommend("interest", parameters, world, ctx, k), wanted)


@pytest.mark.parametrize(("sizes", "k"), WORLDS)
def test_collaborative_counts_exactly(sizes: dict[str, int], k: int) -> None:
    world = feed_world(**sizes)
    ctx = feed_context(world, seed=6)
    plain = Plain(world, ctx)
    shown = {r[0] for r in engagement_rows(plain)}
    rings = [
        {plain.post["root"][p] for p in row if p >= 0 and plain.post["root"][p] in shown}
        for row in world.engaged.get(np.arange(len(world.users))).tolist()
    ]

    def wanted(agent: int) -> list[Row]:
        together: dict[int, int] = {}
        for other, ring in enumerate(rings):
            for item in ring if other != agent else ():
                together[item] = together.get(item, 0) + len(ring & rings[agent])
        rows = [
            (i, float(n) * plain.post["weight"][i], int(Source.COLLABORATIVE))
            for i, n in together.items()
            if n and i not in rings[agent]
        ]
        return personal(plain, agent, [rows], k, k)

    check(recommend("collaborative", {"fill": False}, world, ctx, k), wanted)


def test_trending_counts_the_window() -> None:
    world = feed_world(posts=120, steps=200)
    ctx = feed_context(world)
    recommender = load("recommenders", "trending").from_parameters({"window_hours": 1.0})
    since = ctx.step - ctx.clock.steps_in(1.0)
    plain = Plain(world, ctx)
    likes = [0] * 120
    import pyarrow as pa

    from oasis.records import EVENTS

    rows: list[dict[str, Any]] = []
    for step in (since - 2, since - 1, since, since + 1, world.step):
        for post, action in (
            (3, "like_post"),
            (8, "like_post"),
            (8, "unlike_post"),
            (5, "dislike_post"),
            (40, "like_post"),
        ):
            outcome = "accepted" if (step + post) % 3 else "duplicate"
            rows.append({"step": step, "action": action, "target_id": post, "outcome": outcome})
            if outcome == "accepted" and step >= since and "dis" not in action:
                likes[plain.post["root"][post]] += 1 if action == "like_post" else -1
    recommender.prepare(world, ctx)
    final = world.step
    for step in sorted({r["step"] for r in rows}):
        world.step = step
        chosen = [r for r in rows if r["step"] == step]
        recommender.update(world, pa.Table.from_pylist(chosen, schema=EVENTS), pa.table({}))
    world.step = final
    recommender.prepare(world, ctx)
    feeds = recommender.recommend(world, ctx, np.arange(len(world.users), dtype=np.int32), 10)
    assert sum(likes) > 3

    def rows_of() -> list[Row]:
        out = []
        for i in plain.shown():
            root = plain.post["root"][i]
            score = max(likes[root], 0)
            kinds, roots, steps = (plain.post[c] for c in ("kind", "root", "step"))
            score += 2 * sum(
                k == KIND_REPOST and r == root and s >= since for k, r, s in zip(kinds, roots, steps, strict=True)
            )
            on, at = world.comments["post"].tolist(), world.comments["step"].tolist()
            score += sum(plain.post["root"][p] == root and s >= since for p, s in zip(on, at, strict=True))
            out.append((i, demoted(float(score), plain.post["weight"][i]), int(Source.TRENDING)))
        return out

    scored = rows_of()
    assert check(feeds, lambda agent: personal(plain, agent, [scored], 10, 10))
