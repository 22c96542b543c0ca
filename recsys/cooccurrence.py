"""The source of `collaborative`: posts engaged with by those who engaged with the same posts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.interfaces import Source
from oasis.kernels import feeds, rank
from oasis.kernels.threads import in_parts
from oasis.recsys.frame import AgentFrame, Candidates, PostFrame

__all__ = ["CoEngaged"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class CoEngaged:
    """Item-item co-engagement, from the agents' rings of recent engagements.

    The score of a post is the number of pairs (a post that the agent engaged with, another agent who engaged with
    both), an exact integer, times the post's weight. Versions count as their root.

    Parameters
    ----------
    neighbours : int
        Engagers looked at per post; where there are more, those with the smallest draws.
    window_hours : float
        Age limit of posts.
    """

    def __init__(self, neighbours: int, window_hours: float) -> None:
        self.neighbours, self.window_hours = neighbours, window_hours

    def prepare(self, frame: PostFrame) -> None:
        """Index who engaged with what."""
        self.frame, world = frame, frame.world
        ids = frame.recent(frame.ctx.clock.steps_in(self.window_hours))
        ids = ids[frame.root[ids] == ids]
        self._item_of = np.full(len(frame) + 1, -1, np.int32)  # the last place answers for "no post"
        self._item_of[ids] = np.arange(len(ids))
        everybody = np.arange(len(world.users))
        agent, item = self._pairs(everybody)
        self._ring_ptr = np.zeros(len(everybody) + 1, np.int64)
        np.cumsum(np.bincount(agent, minlength=len(everybody)), out=self._ring_ptr[1:])
        self._ring_items = item
        # engagers of each item in the order of their draws, cut to `neighbours`
        draw = frame.ctx.draws.bits("recsys.neighbours", frame.ctx.step, world.users["key"])
        by_draw = np.argsort(draw[agent], kind="stable")
        ptr, at = np.zeros(len(ids) + 1, np.int64), np.empty(len(item), np.int64)
        rank.group(item[by_draw], ptr, at)
        engagers = agent[by_draw][at]
        position = np.arange(len(engagers)) - np.repeat(ptr[:-1], np.diff(ptr))
        self._engagers = engagers[position < self.neighbours].astype(np.int32)
        self._engager_ptr = np.zeros(len(ids) + 1, np.int64)
        np.cumsum(np.minimum(np.diff(ptr), self.neighbours), out=self._engager_ptr[1:])
        self._items = (ids.astype(np.int32), frame.author[ids], frame.weight[ids].astype(np.float64), frame.ties(ids))

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Count for each agent and select."""
        out = Candidates.none(len(agents), want)
        if not len(self._items[0]):
            return out
        mine = np.full((len(agents), self.frame.world.engaged.width), -1, np.int32)
        row, item = self._pairs(agents.ids)
        mine[row, np.arange(len(row)) - np.searchsorted(row, row)] = item
        roots, ties = np.full(out.posts.shape, -1, np.int32), np.zeros(out.posts.shape, np.uint64)
        counts = np.zeros(len(agents), np.int64)
        own, mute_ptr, mutes, seen_roots, acted = agents.barred

        def select(at: slice) -> None:
            feeds.co_engaged(
                mine[at], self._engager_ptr, self._engagers, self._ring_ptr, self._ring_items, *self._items,
                own[at], agents.ids[at], mute_ptr[at.start : at.stop + 1], mutes, seen_roots[at], seen, acted,
                out.posts[at], roots[at], out.scores[at], ties[at], counts[at],
            )  # fmt: skip

        in_parts(len(agents), select)
        out.sources[:] = Source.COLLABORATIVE
        out.complete = counts < want
        return out

    def _pairs(self, agents: npt.NDArray[np.integer]) -> tuple[I64, I32]:
        """Return distinct (row of `agents`, item) pairs of their rings, sorted."""
        ring = self.frame.world.engaged.get(agents)
        root = self.frame.root
        items = np.where(ring >= 0, self._item_of[root[ring] if len(root) else ring], -1)
        items = np.sort(items, axis=1)
        fresh = items >= 0
        fresh[:, 1:] &= items[:, 1:] != items[:, :-1]
        row, column = np.nonzero(fresh)
        return row, items[row, column]
