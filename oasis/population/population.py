"""A population as columns, and how it becomes the first state of a world.

Axes: ``n`` agents, ``e`` follow edges, ``p`` posts that exist before step 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.population.vectors import StoredVectors
from oasis.randomness import Lane, agent_keys, derive_keys
from oasis.world.world import World

__all__ = ["HistoryPosts", "Population"]

I32 = npt.NDArray[np.int32]


@dataclass
class HistoryPosts:
    """Posts that exist before step 1; of one author the later row is the later post.

    Attributes
    ----------
    author : ndarray, shape (p,), int32
    text, topic, community : pyarrow.LargeStringArray, length p
        `topic` and `community` are null for none.
    likes, dislikes : ndarray, shape (p,), int32
        Votes from before the run.
    veracity : ndarray, shape (p,), int8
        1 true, 0 false, -1 unknown.
    """

    author: I32
    text: pa.LargeStringArray
    topic: pa.LargeStringArray
    community: pa.LargeStringArray
    likes: I32
    dislikes: I32
    veracity: npt.NDArray[np.int8]

    @classmethod
    def build(cls, author: npt.ArrayLike, text: pa.LargeStringArray, topic: pa.LargeStringArray | None = None) -> Self:
        """Return posts without votes, communities and veracity."""
        authors = np.asarray(author, np.int32)
        p = len(authors)
        nothing = pa.nulls(p, pa.large_string())
        zeros = np.zeros(p, np.int32)
        unknown = np.full(p, -1, np.int8)
        return cls(authors, text, nothing if topic is None else topic, nothing, zeros, zeros.copy(), unknown)

    def join(self, later: Self) -> Self:
        """Return these posts and then `later` ones."""
        columns = []
        for column in fields(self):
            pair = [getattr(self, column.name), getattr(later, column.name)]
            columns.append(np.concatenate(pair) if isinstance(pair[0], np.ndarray) else pa.concat_arrays(pair))
        return type(self)(*columns)

    def __len__(self) -> int:
        return len(self.author)


@dataclass
class Population:
    """Agents, whom they follow, and what they have posted.

    Attributes
    ----------
    username, name, bio, persona, group : pyarrow.LargeStringArray, length n
        Null for none.
    activity : ndarray, shape (n, 24), float32
        Probability of acting in one step of each UTC hour.
    stance : ndarray, shape (n,), float32
        In [-1, 1]; NaN for none.
    base_followers : ndarray, shape (n,), int32
        Followers from outside the population.
    follower, followee : ndarray, shape (e,), int32
        Distinct edges without self-follows.
    posts : HistoryPosts
    attributes : pyarrow.Table, n rows
        Further columns (age, country, interests ...).
    refused_rows : list of dict
        What was left out: file, line, agent_id, field, value, reason.
    bio_vectors, post_vectors : StoredVectors, optional
        Embeddings that were stored with the bios and with the texts of (the first) posts.
    keys : ndarray, shape (n,), uint64
        Stable keys, which all draws are made from; distinct. By default made of the row in the source.
    """

    username: pa.LargeStringArray
    name: pa.LargeStringArray
    bio: pa.LargeStringArray
    persona: pa.LargeStringArray
    group: pa.LargeStringArray
    activity: npt.NDArray[np.float32]
    stance: npt.NDArray[np.float32]
    base_followers: I32
    follower: I32
    followee: I32
    posts: HistoryPosts
    attributes: pa.Table
    refused_rows: list[dict[str, Any]] = field(default_factory=list)
    bio_vectors: StoredVectors | None = None
    post_vectors: StoredVectors | None = None
    keys: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def __post_init__(self) -> None:
        if len(self.keys) != len(self):
            self.keys = agent_keys(np.arange(len(self)))

    def __len__(self) -> int:
        return len(self.username)

    def install(self, world: World) -> list[str]:
        """Fill an empty world: agents, follows, history posts with their counts, attributes.

        Stored embeddings are taken where the world's embedder made them. Return what a user should know.
        """
        n, texts = len(self), world.texts
        bio = texts.append(self.bio)
        world.add_users(
            n,
            key=self.keys,
            username=texts.append(self.username),
            name=texts.append(self.name),
            bio=bio,
            persona=texts.append(self.persona),
            group=texts.intern_all(self.group),
            stance=self.stance,
            activity=self.activity,
            base_followers=self.base_followers,
            followers=np.bincount(self.followee, minlength=n),
            following=np.bincount(self.follower, minlength=n),
        )
        world.follows.set_edges(n, self.follower, self.followee)
        world.attributes = self.attributes
        self._install_posts(world)
        if not world.has_embeddings:
            return []
        posts = (self.post_vectors, world.posts["text"], self.posts.text)
        stored = [(self.bio_vectors, bio, self.bio), posts]
        return [
            note
            for vectors, ids, of in stored
            if vectors is not None
            for note in vectors.install(world.embeddings, ids, of)
        ]

    def _install_posts(self, world: World) -> None:
        posts, users = self.posts, world.users
        author, p = posts.author, len(posts)
        order = np.argsort(author, kind="stable")
        same = author[order][1:] == author[order][:-1]
        previous = np.full(p, -1, np.int32)
        previous[order[1:][same]] = order[:-1][same]
        begins = np.flatnonzero(np.r_[True, ~same]) if p else np.empty(0, np.int64)
        rank = np.empty(p, np.int64)
        rank[order] = np.arange(p) - np.repeat(begins, np.diff(np.r_[begins, p]))
        encoded = pc.dictionary_encode(posts.community)  # communities are numbered as they first appear
        names = encoded.dictionary
        if len(names):
            world.communities.append(len(names), name=world.texts.intern_all(names))
        community = encoded.indices.fill_null(-1).to_numpy()
        ids = np.arange(p, dtype=np.int32)
        world.posts.append(
            p,
            key=derive_keys(users["key"][author], 0, Lane.HISTORY, rank),
            author=author,
            root=ids,
            text=world.texts.append(posts.text),
            topic=world.texts.intern_all(posts.topic),
            community=community,
            base_likes=posts.likes,
            base_dislikes=posts.dislikes,
            veracity=posts.veracity,
            previous_by_author=previous,
        )
        users["posts"][:] = np.bincount(author, minlength=len(users))
        users["last_post"][author] = ids  # rows of one author are in order: the last one stays
