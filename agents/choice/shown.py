"""What agents are shown, and what of it they examine.

Axes: ``n`` agents observed, ``m`` posts shown to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.agents.choice.model import Model
from oasis.interfaces import Observations, PolicyContext
from oasis.kernels.csr import take_rows

__all__ = ["Shown", "examine", "places"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """Posts shown to agents, rows of an agent in the order shown.

    Attributes
    ----------
    agent : ndarray, shape (m,), int64
        Row of the agent among those observed.
    agent_id, post : ndarray, shape (m,), int32
    position : ndarray, shape (m,), integer
    flags : ndarray, shape (m,), uint8
    comment_offsets, comment_ids : ndarray
        As in `Observations`.
    """

    agent: I64
    agent_id: I32
    post: I32
    position: npt.NDArray[np.integer]
    flags: npt.NDArray[np.uint8]
    comment_offsets: I64
    comment_ids: I32

    @classmethod
    def of(cls, observations: Observations) -> Shown:
        """Return what observations show."""
        feeds = observations.feeds
        agent = feeds.rows
        return cls(
            agent,
            observations.agent_ids[agent],
            feeds.post_ids,
            feeds.positions,
            observations.flags,
            observations.comment_offsets,
            observations.comment_ids,
        )

    def take(self, rows: npt.NDArray[np.integer]) -> Shown:
        """Return some rows."""
        offsets, at = take_rows(self.comment_offsets, rows)
        return Shown(
            self.agent[rows],
            self.agent_id[rows],
            self.post[rows],
            self.position[rows],
            self.flags[rows],
            offsets,
            self.comment_ids[at],
        )

    def followed_by(self, other: Shown) -> Shown:
        """Return these rows and then those of `other`."""
        return Shown(
            np.r_[self.agent, other.agent],
            np.r_[self.agent_id, other.agent_id],
            np.r_[self.post, other.post],
            np.r_[self.position, other.position],
            np.r_[self.flags, other.flags],
            np.r_[self.comment_offsets, self.comment_offsets[-1] + other.comment_offsets[1:]],
            np.r_[self.comment_ids, other.comment_ids],
        )

    def __len__(self) -> int:
        return len(self.post)


def examine(shown: Shown, model: Model, ctx: PolicyContext, turn: int) -> Shown:
    """Return the rows that agents examine, each with a probability that falls with its position.

    The draw belongs to agent, step and root, so a longer feed changes no draw of the posts in it.
    """
    posts = ctx.world.posts
    drawn = ctx.base.draws.uniform(
        f"choice.examine.{turn}",
        ctx.base.step,
        ctx.world.users["key"][shown.agent_id],
        posts["key"][posts["root"][shown.post]],
    )
    return shown.take(np.flatnonzero(drawn < model.examination(shown.position, model.first)))


def places(shown: Shown, turn: int, step: int) -> I64:
    """Return places 2^40 apart for turns, 2^16 apart for positions; comments come after post and author."""
    return (np.int64(turn + 1) << 40) + (shown.position.astype(np.int64) << 16) + step
