"""Time of one recommender step, embedding throughput and what int8 costs, as JSON on stdout.

    python benchmarks/recsys_step.py [--agents 10000] [--posts 30000] [--repeats 5]

The world is synthetic: distinct texts of two topics each, a heavy-tailed follow graph, full rings of impressions
and engagements, so that every part of the pipeline works.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.clock import Clock
from oasis.interfaces import StepContext
from oasis.plugins import load
from oasis.randomness import Draws, Lane, agent_keys, derive_keys
from oasis.recsys.embedders import HashedNgramEmbedder, WordLlamaEmbedder
from oasis.world.world import World

# fmt: off
_TOPICS = [
    "football", "cooking", "elections", "climate", "guitars", "astronomy", "gardening", "vaccines",
    "startups", "poetry", "chess", "marathons", "cats", "photography", "inflation", "trains",
    "cinema", "surfing", "knitting", "robotics", "whisky", "opera", "bitcoin", "archaeology",
    "cycling", "dentistry", "volcanoes", "origami", "podcasts", "sailing",
]
# fmt: on
_VERBS = ["loved", "hated", "missed", "planned", "filmed", "explained", "doubted", "shared", "defended", "forgot"]
_PLACES = ["Lisbon", "Osaka", "Nairobi", "Denver", "Kraków", "Lima", "Oslo", "Hanoi", "Quebec", "Perth"]
_DRAWS = Draws(20241)
STEP = 170


def _below(name: str, high: int, count: int) -> npt.NDArray[np.int64]:
    return _DRAWS.integers(name, 0, high, np.arange(count, dtype=np.uint64))


def sentences(name: str, count: int) -> list[str]:
    """Return `count` sentences about two topics each, nearly all distinct."""
    columns = [_below(f"{name}{i}", n, count).tolist() for i, n in enumerate((30, 30, 10, 10, 1000))]
    return [
        f"{_PLACES[p]}: we {_VERBS[v]} {_TOPICS[a]} and {_TOPICS[b]} for {n} days"
        for a, b, v, p, n in zip(*columns, strict=True)
    ]


def make_world(agents: int, posts: int, follows: int = 30) -> World:
    """Return a world in which everybody follows, saw and engaged."""
    world = World()
    bios = world.texts.append([f"I care about {_TOPICS[a]} and {_TOPICS[b]}" for a, b in zip(
        _below("bio-a", 30, agents).tolist(), _below("bio-b", 30, agents).tolist(), strict=True)])  # fmt: skip
    world.add_users(agents, key=agent_keys(np.arange(agents)), bio=bios)
    u = _DRAWS.uniform("followee", 0, np.arange(agents * follows, dtype=np.uint64))
    pairs = np.unique(_below("follower", agents, agents * follows) << 32 | (u**3 * agents).astype(np.int64))
    a, b = (pairs >> 32).astype(np.int32), (pairs & 0xFFFFFFFF).astype(np.int32)
    a, b = a[a != b], b[a != b]
    world.follows.set_edges(agents, a, b)
    world.users["followers"][:] = np.bincount(b, minlength=agents)
    author = _below("author", agents, posts)
    world.posts.append(
        posts,
        key=derive_keys(world.users["key"][author], 0, Lane.HISTORY, np.arange(posts)),
        author=author,
        root=np.arange(posts),
        step=np.arange(posts) * STEP // max(posts, 1),
        text=world.texts.append(sentences("post", posts)),
    )
    likes = 20 * agents
    liker = np.repeat(np.arange(agents), 20)
    liked = (_DRAWS.uniform("liked", 0, np.arange(likes, dtype=np.uint64)) ** 2 * posts).astype(np.int64)
    new = world.post_reactions.add(liker, liked, 1)
    np.add.at(world.posts["likes"], liked[new], 1)
    world.engaged.push(liker[new].astype(np.int32), liked[new].astype(np.int32))
    shown = _below("shown", posts, agents * world.seen.width).astype(np.int32)
    world.seen.push(np.repeat(np.arange(agents, dtype=np.int32), world.seen.width), shown)
    world.step = STEP
    return world


def time_step(world: World, name: str, agents: int, repeats: int) -> dict[str, Any]:
    """Return seconds of prepare and recommend after warm-up, all agents active."""

    def visible(ids: npt.NDArray[np.int32], posts: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        author = world.posts["author"][posts]
        return ~world.posts["hidden"][posts] & ~world.users["banned"][author] & ~world.mutes.contains(ids, author)

    recommender = load("recommenders", name).from_parameters({})
    everybody = np.arange(agents, dtype=np.int32)
    seconds = []
    for repeat in range(repeats + 1):
        ctx = StepContext(STEP + 1, Clock(), Draws(repeat), visible)
        start = time.perf_counter()
        recommender.prepare(world, ctx)
        middle = time.perf_counter()
        feeds = recommender.recommend(world, ctx, everybody, 10)
        seconds.append((middle - start, time.perf_counter() - middle))
    prepare, recommend = np.median(seconds[1:], axis=0)
    return {
        "prepare_s": round(float(prepare), 4),
        "recommend_s": round(float(recommend), 4),
        "first_s": round(sum(seconds[0]), 4),
        "rows": len(feeds.post_ids),
    }


def recall_at_10(queries: int = 500, posts: int = 5000) -> dict[str, float]:
    """Return the share of the ten most similar posts by float32 that int8 finds as well, for each embedder."""
    out = {}
    texts = pa.array(sentences("recall", posts) + [f"I care about {t}" for t in _TOPICS], pa.large_string())
    query_texts = pa.array(sentences("query", queries), pa.large_string())
    for embedder in (WordLlamaEmbedder(), HashedNgramEmbedder()):
        exact = [embedder.unit_vectors(t).astype(np.float32) for t in (query_texts, texts)]
        small = [embedder.embed(t).astype(np.float64) for t in (query_texts, texts)]
        small = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in small]
        best = [np.argsort(-(q @ p.T), axis=1, kind="stable")[:, :10] for q, p in (exact, small)]
        hits = [len(np.intersect1d(a, b)) for a, b in zip(*best, strict=True)]
        out[embedder.name] = round(float(np.mean(hits)) / 10, 4)
    return out


def embedding_speed(count: int = 20_000) -> dict[str, int]:
    """Return texts per second of each embedder, its model loaded."""
    texts = pa.array(sentences("speed", count), pa.large_string())
    out = {}
    for embedder in (WordLlamaEmbedder(), HashedNgramEmbedder()):
        embedder.embed(texts[:10])
        start = time.perf_counter()
        embedder.embed(texts)
        out[embedder.name] = round(count / (time.perf_counter() - start))
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--posts", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--kinds", nargs="*", default=["interest", "hot", "chronological", "random", "collaborative", "trending"]
    )
    options = parser.parse_args()
    world = make_world(options.agents, options.posts)
    world.attach_embedder(WordLlamaEmbedder())
    report = {
        "agents_active": options.agents,
        "posts": options.posts,
        "follows": len(world.follows),
        "feed_size": 10,
        "cpus": os.cpu_count(),
        "steps": {kind: time_step(world, kind, options.agents, options.repeats) for kind in options.kinds},
        "texts_per_second": embedding_speed(),
        "recall_at_10_int8": recall_at_10(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
