"""A recommender whose feeds change hands: the baseline in which what one is shown has nothing to do with who one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.interfaces import Feeds, Recommender, StepContext
from oasis.kernels.csr import take_rows
from oasis.world.schemas import KIND_QUOTE
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["ShuffledFeeds"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class ShuffledFeeds:
    """Gives each active agent the feed of another one, the next in a circle that is drawn anew each step.

    Where feeds are personal, it loses what the platform hides from the agent, what it wrote and what it acted on; so
    it may be shorter. An agent that is not active has its own feed.

    Parameters
    ----------
    recommender : Recommender
        Whose feeds they are.
    """

    needs_embeddings: ClassVar[bool] = False  # what the other needs is seen to before it is wrapped

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self._active: I32 = np.empty(0, np.int32)
        self._giver: I32 = self._active
        self._answered: I64 = np.empty(0, np.int64)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Refuse: it is built around another recommender.

        Raises
        ------
        TypeError
        """
        raise TypeError('shuffled feeds are no recommender of a scenario: set baseline.kind = "shuffled-feed"')

    def tables(self) -> Mapping[str, Store]:
        """Return the stores of the recommender."""
        return self.recommender.tables()

    def prepare(self, world: World, ctx: StepContext) -> None:
        """Let the recommender prepare, and draw who is given whose feed."""
        self.recommender.prepare(world, ctx)
        self._active = active = ctx.active
        self._giver = active[ctx.draws.next_in_circle("baseline.feed", ctx.step, world.users["key"][active])]
        if ctx.personal:
            self._answered = _answered(world, active)

    def recommend(self, world: World, ctx: StepContext, agent_ids: I32, k: int) -> Feeds:
        """Return the others' feeds."""
        givers = self._givers(agent_ids)
        distinct, row = np.unique(givers, return_inverse=True)
        theirs = self.recommender.recommend(world, ctx, distinct.astype(np.int32), k)
        offsets, at = take_rows(theirs.offsets, row)
        feeds = Feeds(offsets, theirs.post_ids[at], theirs.scores[at], theirs.sources[at], theirs.shared)
        if not ctx.personal:
            return feeds
        agents, posts = agent_ids[feeds.rows], feeds.post_ids
        return feeds.keep(ctx.visible(agents, posts) & ~self._own_or_acted_on(world, agents, posts))

    def update(self, world: World, events: pa.Table, impressions: pa.Table) -> None:
        """Let the recommender learn from what was shown and done."""
        self.recommender.update(world, events, impressions)

    def _givers(self, agents: I32) -> I32:
        if not len(self._active):
            return agents
        at = np.minimum(np.searchsorted(self._active, agents), len(self._active) - 1)
        return np.where(self._active[at] == agents, self._giver[at], agents)

    def _own_or_acted_on(self, world: World, agents: I32, posts: I32) -> npt.NDArray[np.bool_]:
        author, root = world.posts["author"], world.posts["root"][posts]
        out = (author[posts] == agents) | (author[root] == agents)
        for relation in (world.post_reactions, world.reposts, world.reports):
            if len(relation):
                out |= relation.contains(agents, root)
        return np.asarray(out | np.isin(agents.astype(np.int64) << 32 | root, self._answered))


def _answered(world: World, active: I32) -> I64:
    """Return pairs (active agent, root that it quoted or commented on), packed."""
    acts = np.zeros(len(world.users), np.bool_)
    acts[active] = True
    posts, comments = world.posts, world.comments
    quotes = np.flatnonzero((posts["kind"] == KIND_QUOTE) & acts[posts["author"]])
    said = np.flatnonzero(acts[comments["author"]])
    agents = np.r_[posts["author"][quotes], comments["author"][said]].astype(np.int64)
    return np.unique(agents << 32 | np.r_[posts["root"][quotes], posts["root"][comments["post"][said]]])
