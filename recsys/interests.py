"""The out-of-network source of `interest`: posts of others by similarity, recency and fame, exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.errors import ScenarioError
from oasis.interfaces import Source
from oasis.kernels.rank import kth_largest
from oasis.recsys import scorers
from oasis.recsys.frame import AgentFrame, Candidates, PostFrame
from oasis.recsys.products import pool_products
from oasis.world.interests import interest_vectors

__all__ = ["MAX_DIMENSIONS", "Similar"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MAX_DIMENSIONS = 1040
"""Above it an int8 product may not be exact in float32: 1040 * 127^2 < 2^24."""


class Similar:
    """Posts of authors not followed by ``max(0, cosine) * recency * fame``, from a pool of the best by the last two.

    The score of a pair is ``(dot * factor) / length of the agent's vector``, with `dot` the exact integer product of
    the int8 vectors and ``factor = recency * fame * weight / length of the post's vector`` in float64. The agent's
    own length divides all of its scores alike, so the order is that of ``dot * factor``.

    Parameters
    ----------
    pool_size : int
        Posts kept by ``recency * fame * weight``.
    exploration_share : float
        Further posts drawn from the rest, as a share of `pool_size`.
    """

    def __init__(self, pool_size: int, exploration_share: float) -> None:
        self.pool_size, self.explore = pool_size, round(pool_size * exploration_share)

    def prepare(self, frame: PostFrame) -> None:
        """Score what does not depend on the agent, choose the pool and gather its vectors."""
        self.frame = frame
        pool = frame.world.embeddings
        if pool.dimensions > MAX_DIMENSIONS:
            raise ScenarioError(
                f"recsys.embedder: {pool.embedder.name!r} has {pool.dimensions} dimensions; at most {MAX_DIMENSIONS} "
                "keep similarities exact: choose another embedder"
            )
        rows, factor, explored = self._pool()
        text = frame.text(rows)
        norm = pool.norms(text)
        keep = norm > 0
        rows, factor, explored, text, norm = rows[keep], factor[keep], explored[keep], text[keep], norm[keep]
        factor = factor / norm
        distinct, column = np.unique(text, return_inverse=True)
        best = np.zeros(len(distinct))
        np.maximum.at(best, column, factor)
        place = np.empty(len(distinct), np.int64)
        by_bound = np.argsort(-best, kind="stable")  # good texts first: the threshold rises early
        place[by_bound] = np.arange(len(distinct))
        text_at = place[column]
        _, root_at = np.unique(text_at << 32 | frame.root[rows], return_inverse=True)
        root_best = np.zeros(len(rows))
        np.maximum.at(root_best, root_at, factor)
        order = np.lexsort((rows, -factor, root_at, -root_best[root_at], text_at))
        self._ptr = np.r_[np.int64(0), np.cumsum(np.bincount(text_at, minlength=len(distinct)))]
        last = np.flatnonzero(np.diff(root_at[order], append=-1))
        self._root_end = np.repeat(last + 1, np.diff(last, prepend=-1))
        rows = rows[order]
        self._bound = best[by_bound]
        self._products = pool_products(pool.vectors(distinct[by_bound]))
        self._rows = (
            rows.astype(np.int32), frame.root[rows], frame.author[rows], frame.root_author(rows), factor[order],
            frame.ties(rows),
        )  # fmt: skip
        self._explored: I32 = np.sort(rows[explored[order]]).astype(np.int32)

    def _pool(self) -> tuple[I64, F64, npt.NDArray[np.bool_]]:
        """Return (post ids, recency * fame * weight, whether drawn) of the pool."""
        frame = self.frame
        rows = frame.recent(int(scorers.RECENCY_REACH - scorers.RECENCY_SCALE))
        users = frame.world.users
        author = frame.author[rows]
        followers = users["followers"][author] + users["base_followers"][author]
        ages = np.arange(int(scorers.RECENCY_REACH))
        recency = scorers.recency(ages)[frame.ctx.step - frame.step[rows]]
        factor = recency * scorers.fame_of_many(followers) * frame.weight[rows]
        rows, factor = rows[factor > 0], factor[factor > 0]
        explored = np.zeros(len(rows), np.bool_)
        if len(rows) > self.pool_size:
            cut = kth_largest(factor, self.pool_size)
            above, equal = factor > cut, np.flatnonzero(factor == cut)
            fill = equal[np.lexsort((rows[equal], frame.ties(rows[equal])))][: self.pool_size - int(above.sum())]
            above[fill] = True
            rest = np.flatnonzero(~above)
            drawn = frame.ctx.draws.bits("recsys.explore", frame.ctx.step, frame.world.posts["key"][rows[rest]])
            if len(rest) > self.explore:
                rest = rest[np.argpartition(drawn, self.explore)[: self.explore]]
            explored[rest] = True
            chosen = above | explored
            rows, factor, explored = rows[chosen], factor[chosen], explored[chosen]
        return rows, factor, explored

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Select among the pool's posts for each agent by exact products."""
        out = Candidates.none(len(agents), want)
        if not len(self._bound) or not len(agents):
            return out
        vectors = interest_vectors(self.frame.world, agents.ids)
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.int64).astype(np.float64))
        (follow_ptr, follows), (own, mute_ptr, mutes, seen_roots, acted) = agents.following, agents.barred
        roots, ties = np.full(out.posts.shape, -1, np.int32), np.zeros(out.posts.shape, np.uint64)
        counts = np.zeros(len(agents), np.int64)

        def select(kernel: Callable[..., None], products: tuple[Any, ...], rows: slice) -> None:
            ends = slice(rows.start, rows.stop + 1)
            kernel(
                *products, self._bound, self._ptr, self._root_end, *self._rows, follow_ptr[ends], follows,
                own[rows], mute_ptr[ends], mutes, seen_roots[rows], seen, acted,
                out.posts[rows], roots[rows], out.scores[rows], ties[rows], counts[rows],
            )  # fmt: skip

        self._products.select(vectors, select)
        out.scores /= np.where(norms > 0, norms, 1.0)[:, None]
        out.sources[:] = Source.INTEREST
        if len(self._explored):
            at = np.searchsorted(self._explored, out.posts)
            drawn = self._explored[np.minimum(at, len(self._explored) - 1)] == out.posts
            out.sources[drawn] = Source.EXPLORE
        out.complete = counts < want
        return out
