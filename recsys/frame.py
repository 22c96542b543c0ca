"""What the parts of a recommender look at: the posts of a step, a batch of agents, and lists of candidates.

Axes: ``p`` posts of the frozen world, ``n`` agents of a batch, ``w`` places in a candidate list.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from oasis.interfaces import StepContext
from oasis.kernels.csr import in_row, take_rows
from oasis.kernels.pairs import EMPTY, find
from oasis.kernels.rank import group
from oasis.world.schemas import KIND_QUOTE
from oasis.world.world import World

__all__ = ["AgentFrame", "Candidates", "PostFrame"]

Bool = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_NOBODY = -2  # no author has this id: nothing is one's own
_NOTHING = (np.full(1, EMPTY, np.int64),) * 4  # as many as the filter sets: kernels are compiled once
_TIES = "recsys.ties"


class PostFrame:
    """The posts of the frozen world, as all recommenders see them. Columns are views; nothing here changes the world.

    Attributes
    ----------
    author, root, step : ndarray, shape (p,), int32
        Steps never fall: posts stand in the order in which they were made.
    weight : ndarray, shape (p,), float32
        1, or less for demoted posts.
    acted : tuple of ndarray, int64
        Slots of sets of (agent, root) that kernels leave out; a filter may set them.
    """

    def __init__(self, world: World, ctx: StepContext) -> None:
        self.world, self.ctx = world, ctx
        posts = world.posts
        self.author: I32 = posts["author"]
        self.root: I32 = posts["root"]
        self.step: I32 = posts["step"]
        self.weight: npt.NDArray[np.float32] = posts["weight"]
        self.acted: tuple[I64, ...] = _NOTHING

    def __len__(self) -> int:
        return len(self.author)

    def ties(self, rows: npt.NDArray[np.integer]) -> U64:
        """Return the draw that orders equal scores: one per root and step, from the root's stable key."""
        keys = self.world.posts["key"][self.root[rows]]
        return self.ctx.draws.bits(_TIES, self.ctx.step, keys)

    def root_author(self, rows: npt.NDArray[np.integer]) -> I32:
        """Return who wrote the root of each row."""
        return self.author[self.root[rows]]

    def recent(self, steps: int | None) -> I64:
        """Return the posts of the last `steps` steps (None: of all time) that anybody may be shown, by id.

        Neither it nor its root was removed, no author of either is banned, and its weight is above 0. (The platform
        has the last word, see `oasis.recsys.filters.Visible`.)
        """
        first = 0 if steps is None else int(np.searchsorted(self.step, self.ctx.step - steps))
        rows = np.arange(first, len(self))
        hidden: Bool = self.world.posts["hidden"]
        if hidden[first:].any():
            rows = rows[~hidden[first:] & ~hidden[self.root[first:]]]
        if self.weight[first:].min(initial=1.0) <= 0:
            rows = rows[self.weight[rows] > 0]
        banned: Bool = self.world.users["banned"]
        if banned.any():
            rows = rows[~banned[self.author[rows]] & ~banned[self.root_author(rows)]]
            rows = rows[~banned[self.author[self._quoted(rows)]]]
        return rows

    def _quoted(self, rows: I64) -> I64:
        """Return the quote that each row answers, the row itself where it is none: that one is shown too."""
        parent: I32 = self.world.posts["parent"][rows]
        nested = np.flatnonzero((parent >= 0) & (parent != self.root[rows]))
        nested = nested[self.world.posts["kind"][parent[nested]] == KIND_QUOTE]
        quoted = rows.copy()
        quoted[nested] = parent[nested]
        return quoted

    def total(self, column: str, rows: npt.NDArray[np.integer]) -> I64:
        """Return a counter of the rows' roots as users see it: base and counted.

        Likes, dislikes and comments go to the root, so all versions of a root show the same numbers.
        """
        posts, roots = self.world.posts, self.root[rows]
        counted = posts[column][roots].astype(np.int64)
        base = f"base_{column}"
        return counted + posts[base][roots] if base in posts.schema.names else counted

    def shown(self, column: str, first: int, last: int) -> I64:
        """Return a counter of a range of posts as `total` does; of other posts than roots it says nothing."""
        posts = self.world.posts
        counted = posts[column][first:last].astype(np.int64)
        base = f"base_{column}"
        return counted + posts[base][first:last] if base in posts.schema.names else counted

    def text(self, rows: npt.NDArray[np.integer]) -> I32:
        """Return the text of each row: its own, else (a plain repost) its root's."""
        texts = self.world.posts["text"]
        own = texts[rows]
        return np.where(own >= 0, own, texts[self.root[rows]]).astype(np.int32)

    @cached_property
    def muted(self) -> tuple[I64, I32]:
        """(indptr, muted) of all agents, each row sorted."""
        indptr = np.zeros(len(self.world.users) + 1, np.int64)
        if not len(self.world.mutes):
            return indptr, np.empty(0, np.int32)
        muter, muted, _ = self.world.mutes.items()
        group(muter, indptr, np.empty(len(muter), np.int64))
        return indptr, muted

    def agents(self, ids: I32) -> AgentFrame:
        """Return the frame of a batch of agents."""
        return AgentFrame(self, np.asarray(ids, np.int32))


class AgentFrame:
    """A batch of agents and what each must not be shown; where feeds are not personal, nothing."""

    def __init__(self, posts: PostFrame, ids: I32) -> None:
        self.posts, self.ids = posts, ids

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.integer]) -> AgentFrame:
        """Return the frame of some of the agents, given by row."""
        part = AgentFrame(self.posts, self.ids[rows])
        part.__dict__["seen"] = self.seen[rows]
        return part

    @cached_property
    def following(self) -> tuple[I64, I32]:
        """(offsets, followees), each row sorted."""
        return self.posts.world.follows.following(self.ids)

    @cached_property
    def seen(self) -> I32:
        """Roots in the agent's ring of impressions, shape (n, ring width), sorted, -1 where empty."""
        if not self.posts.ctx.personal:
            return np.full((len(self.ids), 1), -1, np.int32)
        versions = self.posts.world.seen.get(self.ids)
        if not len(self.posts):
            return np.full_like(versions, -1)
        return np.sort(np.where(versions >= 0, self.posts.root[versions], -1), axis=1)

    @cached_property
    def barred(self) -> tuple[I32, I64, I32, I32, tuple[I64, ...]]:
        """(own, mute_ptr, mutes, seen, acted) as `oasis.kernels.feeds` takes them."""
        if not self.posts.ctx.personal:
            own = np.full(len(self.ids), _NOBODY, np.int32)
            return own, np.zeros(len(self.ids) + 1, np.int64), np.empty(0, np.int32), self.seen, _NOTHING
        indptr, muted = self.posts.muted
        offsets, at = take_rows(indptr, self.ids)
        return self.ids, offsets, muted[at], self.seen, self.posts.acted

    def allowed(self, row: I64, posts: I32, want_seen: bool) -> Bool:
        """Return which (row of this frame, post) pairs `barred` lets through: the kernels' check, for single pairs."""
        frame = self.posts
        roots = frame.root[posts].astype(np.int64)
        width = self.seen.shape[1]
        at = np.empty(len(row), np.int64)
        in_row(np.arange(len(self) + 1) * width, self.seen.ravel(), row, roots, at)
        keep = (at >= 0) == want_seen
        if frame.ctx.personal:
            mine, author, root_author = self.ids[row], frame.author[posts], frame.root_author(posts)
            keep &= (author != mine) & (root_author != mine)
            for slots in frame.acted:
                found = np.empty(len(row), np.int64)
                find(slots, mine.astype(np.int64) << 32 | roots, found)
                keep &= found < 0
            if len(frame.world.mutes):
                keep &= ~frame.world.mutes.contains(mine, author) & ~frame.world.mutes.contains(mine, root_author)
        return keep


@dataclass(slots=True)
class Candidates:
    """Ordered candidates of each agent.

    Attributes
    ----------
    posts : ndarray, shape (n, w), int32
        Best first, -1 for none; distinct roots within a row.
    scores : ndarray, shape (n, w), float64
    sources : ndarray, shape (n, w), uint8
        `oasis.interfaces.Source` codes.
    complete : ndarray, shape (n,), bool
        Whether a longer list would hold nothing more.
    """

    posts: I32
    scores: F64
    sources: npt.NDArray[np.uint8]
    complete: Bool

    @classmethod
    def none(cls, agents: int, width: int) -> Candidates:
        """Return empty lists."""
        shape = (agents, width)
        return cls(np.full(shape, -1, np.int32), np.zeros(shape), np.zeros(shape, np.uint8), np.ones(agents, np.bool_))

    @property
    def lengths(self) -> I64:
        """Number of candidates of each agent, shape (n,)."""
        return np.asarray((self.posts >= 0).sum(axis=1, dtype=np.int64))

    def drop(self, rows: I64, columns: I64) -> None:
        """Take single candidates out, leaving -1."""
        self.posts[rows, columns] = -1

    def replace(self, rows: I64, other: Candidates) -> Candidates:
        """Return these lists with those of `rows` replaced by `other`'s, widened where needed."""
        width = max(self.posts.shape[1], other.posts.shape[1])
        out = Candidates.none(len(self.complete), width)
        for source, at in ((self, np.arange(len(self.complete))), (other, rows)):
            w = source.posts.shape[1]
            out.posts[at] = -1
            out.posts[at, :w] = source.posts
            out.scores[at, :w] = source.scores
            out.sources[at, :w] = source.sources
            out.complete[at] = source.complete
        return out
