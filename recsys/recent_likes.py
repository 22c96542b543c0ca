"""How much engagement each post received lately: likes from the events, reposts and comments from their own rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import Action, Outcome
from oasis.interfaces import StepContext
from oasis.recsys.frame import PostFrame
from oasis.world.schemas import KIND_REPOST
from oasis.world.table import Table
from oasis.world.world import World

__all__ = ["RECENT_LIKES", "RecentLikes"]

I64 = npt.NDArray[np.int64]

RECENT_LIKES = pa.schema([("step", pa.int32()), ("root", pa.int32()), ("likes", pa.int32())])
"""Likes less unlikes that a root received in a step, sorted by (step, root)."""


class RecentLikes:
    """A table of the likes of the last hours, kept by a recommender that needs times of likes.

    Parameters
    ----------
    window_hours : float
        How far back likes count.
    """

    def __init__(self, window_hours: float) -> None:
        self.window_hours = window_hours
        self.table = Table(RECENT_LIKES)
        self._steps = 1

    def prepare(self, ctx: StepContext) -> None:
        """Learn how long the window is in steps."""
        self._steps = ctx.clock.steps_in(self.window_hours)

    def update(self, world: World, events: pa.Table) -> None:
        """Add a committed step's likes and forget those that left the window."""
        accepted = pc.equal(events["outcome"].cast(pa.string()), Outcome.ACCEPTED.label)
        root = np.zeros(0, np.int64)
        sign = np.zeros(0, np.int64)
        step = np.zeros(0, np.int64)
        for action, value in ((Action.LIKE_POST, 1), (Action.UNLIKE_POST, -1)):
            chosen = events.filter(pc.and_(accepted, pc.equal(events["action"].cast(pa.string()), action.label)))
            target = chosen["target_id"].to_numpy()
            root = np.r_[root, world.posts["root"][target] if len(target) else target]
            sign = np.r_[sign, np.full(len(target), value)]
            step = np.r_[step, chosen["step"].to_numpy()]
        key, at = np.unique(step.astype(np.int64) << 32 | root.astype(np.int64), return_inverse=True)
        total = np.bincount(at, weights=sign, minlength=len(key)).astype(np.int32)
        old = self.table
        keep = old["step"] > world.step - self._steps
        columns = {
            "step": np.r_[old["step"][keep], key >> 32].astype(np.int32),
            "root": np.r_[old["root"][keep], key & 0xFFFFFFFF].astype(np.int32),
            "likes": np.r_[old["likes"][keep], total],
        }
        old.load(pa.table({name: pa.array(values) for name, values in columns.items()}, schema=RECENT_LIKES))

    def counts(self, frame: PostFrame) -> tuple[I64, I64, I64]:
        """Return (likes, reposts, comments) that each post received as a root within the window, shape (p,)."""
        since, size = frame.ctx.step - self._steps, len(frame)
        posts, comments = frame.world.posts, frame.world.comments
        new = self.table["step"] >= since
        likes = np.bincount(self.table["root"][new], weights=self.table["likes"][new], minlength=size).astype(np.int64)
        reposts = np.flatnonzero((posts["kind"] == KIND_REPOST) & (frame.step >= since))
        recent = np.flatnonzero(comments["step"] >= since)
        return (
            np.maximum(likes, 0),
            np.bincount(frame.root[reposts], minlength=size),
            np.bincount(frame.root[comments["post"][recent]], minlength=size),
        )
