"""Situations to decide in, for tests of policies: a world, feeds of it, a context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome
from oasis.clock import Clock
from oasis.interfaces import (
    Feeds,
    InferenceClient,
    Observations,
    PolicyContext,
    RowFlag,
    Source,
    StepContext,
    Views,
)
from oasis.randomness import Draws, text_key
from oasis.testing.worlds import frozen_lengths, small_world
from oasis.world.world import World

__all__ = ["WordEmbedder", "first_agents", "observations_of", "policy_context", "policy_world"]

I32 = npt.NDArray[np.int32]


class WordEmbedder:
    """A bag of words hashed into 64 signs: enough for similar texts to be similar. For tests only."""

    name = "words"
    version = "1"
    dimensions = 64

    def embed(self, texts: pa.LargeStringArray) -> npt.NDArray[np.int8]:
        """Return int8 vectors, shape (n, 64)."""
        out = np.zeros((len(texts), self.dimensions))
        for row, text in enumerate(texts.to_pylist()):
            for word in text.lower().split():
                bits = np.asarray([text_key(word)]).view(np.uint8)
                out[row] += np.unpackbits(bits).astype(np.float64) * 2 - 1
        largest = np.abs(out).max(axis=1, initial=1, keepdims=True)
        return np.rint(127 * out / np.maximum(largest, 1)).astype(np.int8)


def policy_world(agents: int = 30, posts: int = 60, seed: int = 1, step: int = 3) -> World:
    """Return a small valid world with an embedder, all agents under policy 0."""
    world = small_world(agents, posts, seed, step=step)
    world.attach_embedder(WordEmbedder())
    return world


def observations_of(world: World, agents: I32, size: int = 8) -> Observations:
    """Return feeds of the same `size` posts' roots per agent, in an order of its own, with flags and comments."""
    keys = world.users["key"][agents]
    originals = np.flatnonzero(world.posts["root"] == np.arange(len(world.posts))).astype(np.int32)
    drawn = Draws(0).bits("feeds", 0, keys[:, None], world.posts["key"][originals][None, :])
    order = np.argsort(drawn.reshape(len(agents), len(originals)), axis=1, kind="stable")[:, :size]
    posts = originals[order.ravel()] if len(agents) else np.empty(0, np.int32)
    width = order.shape[1] if len(agents) else 0
    row = np.repeat(agents, width)
    flags = np.zeros(len(posts), np.uint8)
    if len(posts):
        author = world.posts["author"][posts]
        vote = world.post_reactions.values(row, posts)
        flags |= np.where(author == row, np.uint8(RowFlag.OWN), np.uint8(0))
        flags |= np.where(vote > 0, np.uint8(RowFlag.LIKED), np.uint8(0))
        flags |= np.where(vote < 0, np.uint8(RowFlag.DISLIKED), np.uint8(0))
        flags |= np.where(world.reposts.contains(row, posts), np.uint8(RowFlag.REPOSTED), np.uint8(0))
        flags |= np.where(world.follows.contains(row, author), np.uint8(RowFlag.IN_NETWORK), np.uint8(0))
    last = world.posts["last_comment"][posts]
    offsets = np.zeros(len(posts) + 1, np.int64)
    np.cumsum(last >= 0, out=offsets[1:])
    feeds = Feeds(
        np.arange(len(agents) + 1, dtype=np.int64) * width,
        posts,
        np.zeros(len(posts), np.float32),
        np.full(len(posts), Source.RANDOM, np.uint8),
    )
    return Observations(agents, feeds, flags, offsets, last[last >= 0])


def policy_context(
    world: World,
    seed: int = 1,
    allowed: Sequence[Action] = USER_ACTIONS,
    platform: str = "x",
    inference: InferenceClient | None = None,
) -> PolicyContext:
    """Return a context at the next step in which read-only actions find the first five posts and two users."""
    base = StepContext(
        world.step + 1,
        Clock(),
        Draws(seed),
        lambda agents, posts: np.ones(len(agents), np.bool_),
        frozen=frozen_lengths(world),
    )

    def ask(requests: ActionBatch) -> Views:
        count = len(requests)
        posts = np.arange(min(5, len(world.posts)), dtype=np.int32)
        users = np.arange(min(2, len(world.users)), dtype=np.int32)
        searching = requests.action == Action.SEARCH_USER
        shown = np.where(searching, 0, len(posts))
        found = np.where(searching, len(users), 0)
        rows = int(shown.sum())
        feeds = Feeds(
            np.r_[np.int64(0), np.cumsum(shown)],
            np.tile(posts, int((~searching).sum())),
            np.zeros(rows, np.float32),
            np.full(rows, Source.SEARCH, np.uint8),
        )
        nothing = np.zeros(count + 1, np.int64)
        return Views(
            feeds,
            np.r_[np.int64(0), np.cumsum(found)],
            np.tile(users, int(searching.sum())),
            nothing,
            np.empty(0, np.int32),
            np.full(count, Outcome.ACCEPTED, np.int16),
        )

    return PolicyContext(base, world, 0, tuple(allowed), ask, inference, platform)


def first_agents(world: World) -> I32:
    """Return the ids of all agents of a world."""
    return np.arange(len(world.users), dtype=np.int32)
