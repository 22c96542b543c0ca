"""Filters: which candidates an agent is not shown. Applied in batches after the best candidates were selected.

(Own posts, muted authors and what nobody may see are left out during selection, by `oasis.kernels.feeds`.)
"""

from __future__ import annotations

import weakref
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.recsys.frame import PostFrame
from oasis.world.relation import Relation
from oasis.world.schemas import KIND_QUOTE
from oasis.world.world import World

__all__ = ["ActedOn", "Filter", "Visible"]

Bool = npt.NDArray[np.bool_]
I32 = npt.NDArray[np.int32]

_PAIRS = pa.schema([("agent_id", pa.int32()), ("root_id", pa.int32()), ("step", pa.int32())])


class Filter(Protocol):
    """Takes candidates out of personal feeds."""

    def prepare(self, frame: PostFrame) -> None:
        """Do once what all agents of a step share."""
        ...

    def keep(self, frame: PostFrame, agents: I32, posts: I32) -> Bool:
        """Return which (agent, post) pairs stay, shape (m,)."""
        ...


class Visible:
    """Keeps what the platform lets the agent see (``ctx.visible``)."""

    def prepare(self, frame: PostFrame) -> None:
        """Nothing is shared."""

    def keep(self, frame: PostFrame, agents: I32, posts: I32) -> Bool:
        """Return the platform's answer."""
        return np.asarray(frame.ctx.visible(agents, posts), np.bool_)


class ActedOn:
    """Leaves out posts whose root the agent liked, disliked, reposted, quoted, commented on or reported.

    The world keeps reactions, reposts and reports as sets; who quoted or commented on what is indexed here from the
    rows that are new since the last step (derived from the world, so it needs no place in a snapshot).
    """

    def __init__(self) -> None:
        self._reset(None)

    def _reset(self, world: World | None) -> None:
        self._world = weakref.ref(world) if world is not None else None
        self._answered = Relation(_PAIRS)
        self._posts = self._comments = 0

    def prepare(self, frame: PostFrame) -> None:
        """Index the quotes and comments that are new."""
        world = frame.world
        posts, comments = world.posts, world.comments
        shrunk = len(posts) < self._posts or len(comments) < self._comments
        if self._world is None or self._world() is not world or shrunk:
            self._reset(world)
        new = np.arange(self._posts, len(posts))
        quotes = new[posts["kind"][new] == KIND_QUOTE]
        self._answered.add(posts["author"][quotes], posts["root"][quotes])
        fresh = np.arange(self._comments, len(comments))
        self._answered.add(comments["author"][fresh], posts["root"][comments["post"][fresh]])
        self._posts, self._comments = len(posts), len(comments)
        every = (world.post_reactions, world.reposts, world.reports, self._answered)
        frame.acted = tuple(relation.slots for relation in every)

    def keep(self, frame: PostFrame, agents: I32, posts: I32) -> Bool:
        """Return which posts the agents have not acted on. Sources of this package have left the others out already."""
        world, roots = frame.world, frame.root[posts]
        acted = np.zeros(len(agents), np.bool_)
        for relation in (world.post_reactions, world.reposts, world.reports, self._answered):
            if len(relation):
                acted |= relation.contains(agents, roots)
        return ~acted
