"""Time of one step of the choice policy, as JSON on stdout.

    python benchmarks/choice_step.py [--agents 10000] [--posts 5000] [--feed 10] [--repeats 5]

Every agent decides on a full feed of a synthetic world: texts of the grammar, drawn vectors of 256 dimensions, drawn
follows. Embedding is not part of the time; choosing, content and the grammar are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action
from oasis.agents.choice import Choice
from oasis.clock import Clock
from oasis.grammar import TOPICS, write_bios, write_posts
from oasis.interfaces import Feeds, Observations, PolicyContext, RowFlag, StepContext
from oasis.randomness import Draws, Lane, agent_keys, derive_keys
from oasis.world.world import World

_DRAWS = Draws(7)
_ACTIONS = ("create_post", "repost", "quote_post", "like_post", "create_comment", "follow", "do_nothing")
DIMENSIONS = 256


def _below(name: str, high: int, count: int) -> npt.NDArray[np.int64]:
    return _DRAWS.integers(name, 0, high, np.arange(count, dtype=np.uint64))


class _DrawnVectors:
    """Vectors that have nothing to do with the texts: their cost is not measured here."""

    name, version, dimensions = "drawn", "1", DIMENSIONS

    def embed(self, texts: pa.LargeStringArray) -> npt.NDArray[np.int8]:
        return (_below("vectors", 255, len(texts) * DIMENSIONS) - 127).astype(np.int8).reshape(-1, DIMENSIONS)


def make_world(agents: int, posts: int) -> World:
    """Return a world in which everybody follows 20 accounts and everything is embedded."""
    world = World()
    keys = agent_keys(np.arange(agents))
    interests = _below("interests", len(TOPICS), agents * 3).reshape(agents, 3).astype(np.int16)
    bios = world.texts.append(write_bios(_DRAWS, keys, interests))
    world.add_users(agents, key=keys, bio=bios, policy=0)
    pairs = np.unique(_below("follower", agents, agents * 20) << 32 | _below("followee", agents, agents * 20))
    a, b = (pairs >> 32).astype(np.int32), (pairs & 0xFFFFFFFF).astype(np.int32)
    world.follows.set_edges(agents, a[a != b], b[a != b])
    author, ids = _below("author", agents, posts), np.arange(posts)
    world.posts.append(
        posts,
        key=derive_keys(keys[author], 0, Lane.HISTORY, ids),
        author=author,
        root=ids,
        text=world.texts.append(write_posts(_DRAWS, "history", 0, keys[author], interests[author], ids)),
        base_likes=_below("likes", 20, posts),
    )
    world.attributes = pa.table({"interests": pa.array(list(interests), pa.list_(pa.int16()))})
    world.attach_embedder(_DrawnVectors())
    world.embeddings.ensure(np.arange(len(world.texts)))
    return world


def observe(world: World, size: int) -> Observations:
    """Return a feed of `size` drawn posts for every agent, half of them in network."""
    agents = len(world.users)
    rows = agents * size
    posts = _below("feeds", len(world.posts), rows).astype(np.int32)
    offsets = np.arange(agents + 1, dtype=np.int64) * size
    feeds = Feeds(offsets, posts, np.zeros(rows, np.float32), np.zeros(rows, np.uint8))
    flags = (_below("flags", 2, rows) * RowFlag.IN_NETWORK).astype(np.uint8)
    ids = np.arange(agents, dtype=np.int32)
    return Observations(ids, feeds, flags, np.zeros(rows + 1, np.int64), np.empty(0, np.int32))


def _no_reading(requests: object) -> Any:
    raise AssertionError("no read-only action is allowed here")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--posts", type=int, default=5_000)
    parser.add_argument("--feed", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    world = make_world(options.agents, options.posts)
    observations = observe(world, options.feed)
    base = StepContext(1, Clock(), _DRAWS, lambda agents, posts: np.ones(len(agents), np.bool_))
    ctx = PolicyContext(base, world, 0, tuple(Action[name.upper()] for name in _ACTIONS), _no_reading)
    policy = Choice()
    seconds = []
    for _ in range(options.repeats + 1):
        start = time.perf_counter()
        decided = asyncio.run(policy.decide(observations, ctx)).actions
        seconds.append(time.perf_counter() - start)
    result = {
        "agents": options.agents,
        "feed": options.feed,
        "impressions": options.agents * options.feed,
        "cpus": os.cpu_count(),
        "first_s": round(seconds[0], 4),
        "median_s": round(float(np.median(seconds[1:])), 4),
        "actions": {Action(code).label: count for code, count in sorted(Counter(decided.action.tolist()).items())},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
