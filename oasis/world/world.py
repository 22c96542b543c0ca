"""The world: every store of a run under one roof."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.world import schemas
from oasis.world.embeddings import Embedder, EmbeddingPool
from oasis.world.graph import FollowGraph
from oasis.world.relation import Relation
from oasis.world.ring import Ring
from oasis.world.store import Store, digest_table
from oasis.world.table import Table
from oasis.world.text import TextPool

__all__ = ["ENGAGED_WIDTH", "SEEN_WIDTH", "World"]

_S = TypeVar("_S", bound=Store)

SEEN_WIDTH = 64
"""Recent impressions remembered per agent (256 bytes each): six feeds of ten."""
ENGAGED_WIDTH = 10
"""Posts engaged with that shape an agent's interest vector."""
_HASHING = 2  # threads: one store is a quarter of the bytes


class World:
    """State of platform and agents between steps.

    Stores are reached by name (``world["posts"]``) or, the social ones, as attributes. Whoever owns
    state registers its stores with `register`; the engine hashes and saves all of them
    without knowing what they mean.

    Attributes
    ----------
    step : int
        Steps done.
    users, posts, comments, communities, groups, messages, products, purchases : Table
    follows : FollowGraph
    mutes, post_reactions, comment_reactions, reposts, reports, group_members : Relation
    seen, engaged : Ring
        Recent impressions and recent posts engaged with (post ids), per agent.
    texts : TextPool
    embeddings : EmbeddingPool
        Set by `attach_embedder`; derived from the texts, not part of the state hash.
    attributes : pyarrow.Table
        Further columns of the population (age, country, interests, ...), one row per initial agent, never changed.
    """

    def __init__(self) -> None:
        self.step = 0
        self._stores: dict[str, Store] = {}
        self.texts = self._new("texts", TextPool())
        self.users = self._new("users", Table(schemas.USERS))
        (
            self.posts,
            self.comments,
            self.communities,
            self.groups,
            self.messages,
            self.products,
            self.purchases,
        ) = (self._new(name, Table(schema)) for name, schema in schemas.SOCIAL_TABLES.items())
        self.follows = self._new("follows", FollowGraph(schemas.FOLLOWS))
        (
            self.mutes,
            self.post_reactions,
            self.comment_reactions,
            self.reposts,
            self.reports,
            self.group_members,
        ) = (self._new(name, Relation(schema)) for name, schema in schemas.SOCIAL_RELATIONS.items())
        self.seen = self._new("seen", Ring(SEEN_WIDTH))
        self.engaged = self._new("engaged", Ring(ENGAGED_WIDTH))
        self.attributes = pa.table({})
        self._embeddings: EmbeddingPool | None = None

    def __getitem__(self, name: str) -> Store:
        return self._stores[name]

    def __contains__(self, name: str) -> bool:
        return name in self._stores

    @property
    def stores(self) -> Mapping[str, Store]:
        """All stores by name, sorted."""
        return dict(sorted(self._stores.items()))

    @property
    def embeddings(self) -> EmbeddingPool:
        """The vectors of texts; a scenario whose recommender or policy needs none has no embedder."""
        if self._embeddings is None:
            raise LookupError("this world has no embedder: call attach_embedder first")
        return self._embeddings

    @property
    def has_embeddings(self) -> bool:
        """Whether an embedder is attached."""
        return self._embeddings is not None

    def attach_embedder(self, embedder: Embedder) -> None:
        """Embed texts with `embedder` from now on."""
        self._embeddings = EmbeddingPool(self.texts, embedder)

    def register(self, name: str, store: Store) -> None:
        """Add the store of a platform, recommender or policy, named ``owner.table``."""
        if name in self._stores:
            raise ValueError(f"the store {name!r} is registered already")
        self._stores[name] = store

    def replace(self, owner: str, stores: Mapping[str, Store]) -> None:
        """Register the stores of a recommender that takes the place of another, whose own are forgotten."""
        for name in [name for name in self._stores if name.startswith(f"{owner}.")]:
            del self._stores[name]
        for name, store in stores.items():
            self.register(f"{owner}.{name}", store)

    def add_users(self, count: int, **columns: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Append agents (columns of `oasis.world.schemas.USERS`) and return their ids."""
        ids = self.users.append(count, **columns)
        for store in self._stores.values():
            if isinstance(store, Ring | FollowGraph):
                store.resize(len(self.users))
        return ids

    def state_hash(self) -> str:
        """Return a hex digest of all stores and the step, independent of how they lie in memory or on disk."""
        digest = hashlib.blake2b(self.step.to_bytes(8, "little"), digest_size=32)
        with ThreadPoolExecutor(_HASHING, thread_name_prefix="oasis-hash") as pool:
            digests = pool.map(lambda store: digest_table(store.to_arrow()), self.stores.values())
            for name, of_store in zip(self.stores, digests, strict=True):
                digest.update(name.encode() + of_store)
        return digest.hexdigest()

    def _new(self, name: str, store: _S) -> _S:
        self._stores[name] = store
        return store
