"""Candidate sources: the best posts for each agent by one scorer, ordered exactly.

A source scores once a step what does not depend on the agent (`prepare`), then hands out the best `want` distinct
roots of each agent (`best`), leaving out what `AgentFrame.barred` names. Ties fall to the smaller draw of the root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from oasis.interfaces import Source
from oasis.kernels import author_rows, feeds, rank
from oasis.kernels.threads import in_parts
from oasis.recsys.frame import AgentFrame, Candidates, PostFrame

__all__ = ["CandidateSource", "Drawn", "Everyone", "Followed", "Scorer"]

Bool = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

Scorer = Callable[[PostFrame], tuple[I64, F64]]
"""``scorer(frame) -> (post ids[r], scores[r])``: the candidates of a step and their scores, the same for all agents."""

_FIRST_PREFIX = 512
_LONGER = 8  # how much longer the next prefix of a ranking is
_PER_BUCKET = 8  # at most this many posts a bucket on average, at least half of it
_TRIES_PER_PICK = 16  # an eighth to a quarter of tries hit
_FEW = 256  # with so many posts a draw for each agent and post is as cheap
_PAIRS_AT_ONCE = 1_000_000


class CandidateSource(Protocol):
    """Where candidates come from."""

    def prepare(self, frame: PostFrame) -> None:
        """Do once what all agents of a step share."""
        ...

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Return the best `want` allowed posts of each agent: of those not seen before, or (`seen`) only of those."""
        ...


def _seen_by_its_author(frame: PostFrame, posts: npt.NDArray[np.integer]) -> Bool:
    """Return whether the platform shows each post's root to anybody at all.

    Asked for the author of the root, who has not muted itself: a list for all agents leaves out only what is hidden
    from all (for instance what was reported too often); the platform hides the rest from those whom it concerns.
    """
    roots = frame.root[posts]
    return np.asarray(frame.ctx.visible(frame.author[roots], roots), np.bool_)


class _Lists:
    """Room for the kernels' results."""

    def __init__(self, agents: int, width: int) -> None:
        self.posts = np.full((agents, width), -1, np.int32)
        self.roots = np.full((agents, width), -1, np.int32)
        self.scores = np.zeros((agents, width))
        self.ties = np.zeros((agents, width), np.uint64)
        self.counts = np.zeros(agents, np.int64)

    def candidates(self, source: Source) -> Candidates:
        sources = np.full(self.posts.shape, source, np.uint8)
        return Candidates(self.posts, self.scores, sources, self.counts < self.posts.shape[1])


class Everyone:
    """All posts in one order: the scorer's.

    Only as long a prefix of the order is sorted as the agents need.
    """

    def __init__(self, scorer: Scorer, source: Source) -> None:
        self.scorer, self.source = scorer, source

    def prepare(self, frame: PostFrame) -> None:
        """Score all posts."""
        self.frame = frame
        self.rows, self.scores = self.scorer(frame)
        self._prefixes: dict[int, tuple[I32, F64]] = {}

    def top(self, length: int) -> tuple[I32, F64]:
        """Return (post ids, scores) of the best `length` versions, all of the last root among them, in order."""
        if length not in self._prefixes:
            rows, scores = self.rows, self.scores
            if length < len(rows):
                least = rank.kth_largest(scores, length)
                better, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
                ties = self.frame.ties(rows[equal])  # of a million posts without votes only as many as are missing
                missing = length - len(better) - 1
                keep = np.r_[better, equal[ties <= np.partition(ties, missing)[missing]]]
                rows, scores = rows[keep], scores[keep]
            order = np.lexsort((rows, self.frame.ties(rows), -scores))
            self._prefixes[length] = rows[order].astype(np.int32), scores[order]
        return self._prefixes[length]

    def shared(self, want: int) -> tuple[I32, F64]:
        """Return the first `want` distinct roots of the order: the list for everybody."""
        length = max(want, _FIRST_PREFIX)
        while True:
            posts, scores = self.top(length)
            seen = _seen_by_its_author(self.frame, posts)
            posts, scores = posts[seen], scores[seen]
            _, first = np.unique(self.frame.root[posts], return_index=True)
            if len(first) >= want or len(seen) == len(self.rows):
                chosen = np.sort(first)[:want]
                return posts[chosen], scores[chosen]
            length *= _LONGER

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Walk down the order for each agent."""
        out = Candidates.none(len(agents), want)
        left = np.arange(len(agents))
        length, frame = max(4 * want, _FIRST_PREFIX), self.frame
        while len(left):
            posts, scores = self.top(length)
            lists, ended = _Lists(len(left), want), np.zeros(len(left), np.bool_)
            part = agents if len(left) == len(agents) else agents.take(left)
            rows = (posts, frame.root[posts], frame.author[posts], frame.root_author(posts), scores)

            def walk(
                at: slice, rows: tuple[I32, I32, I32, I32, F64] = rows, barred: tuple[Any, ...] = part.barred,
                lists: _Lists = lists, ended: Bool = ended,
            ) -> None:  # fmt: skip
                own, mute_ptr, mutes, seen_roots, acted = barred
                feeds.walk(
                    *rows, own[at], mute_ptr[at.start : at.stop + 1], mutes, seen_roots[at], seen, acted,
                    lists.posts[at], lists.roots[at], lists.scores[at], lists.counts[at], ended[at],
                )  # fmt: skip

            in_parts(len(left), walk)
            found = lists.candidates(self.source)
            found.complete = ended
            out = out.replace(left, found)
            if len(posts) == len(self.rows):
                break
            left = left[ended]
            length *= _LONGER
        return out


class Followed:
    """Posts of followed authors, by the scorer."""

    def __init__(self, scorer: Scorer, source: Source = Source.FOLLOWED) -> None:
        self.scorer, self.source = scorer, source

    def prepare(self, frame: PostFrame) -> None:
        """Score posts and group them by author, best first."""
        rows, scores = self.scorer(frame)
        posts, ties = rows.astype(np.int32), frame.ties(rows)
        authors = len(frame.world.users)
        self._author_ptr = np.zeros(authors + 1, np.int64)
        np.cumsum(np.bincount(frame.author[posts], minlength=authors), out=self._author_ptr[1:])
        packed = np.empty((len(posts), 4), np.int64)
        self._rows = packed, packed.view(np.float64)

        def pack(part: slice) -> None:
            bounds = part.start, part.stop
            author_rows.pack(
                self._author_ptr, posts, frame.root, frame.author, scores, ties, *self._rows, *bounds
            )  # fmt: skip
            author_rows.sort(self._author_ptr, *self._rows, *bounds)

        in_parts(authors, pack)

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Select among the posts of the authors that each agent follows."""
        lists = _Lists(len(agents), want)
        (follow_ptr, follows), (own, mute_ptr, mutes, seen_roots, acted) = agents.following, agents.barred

        def select(at: slice) -> None:
            ends = slice(at.start, at.stop + 1)
            feeds.followed(
                self._author_ptr, *self._rows, follow_ptr[ends], follows,
                own[at], mute_ptr[ends], mutes, seen_roots[at], seen, acted,
                lists.posts[at], lists.roots[at], lists.scores[at], lists.ties[at], lists.counts[at],
            )  # fmt: skip

        in_parts(len(agents), select)
        return lists.candidates(self.source)


class Drawn:
    """Posts drawn with equal chances (a demoted post's times its weight), independently for each agent.

    Posts lie in buckets by a draw from their own stable key; an agent's try names a bucket and a place in it and is
    void where there is none. So all posts have the same chance, and one more post changes only the tries that hit its
    bucket. Where posts are few, every post gets a draw of each agent instead. Scores are 0: nothing is compared.
    """

    def __init__(self, scorer: Scorer, source: Source = Source.RANDOM) -> None:
        self.scorer, self.source = scorer, source

    def prepare(self, frame: PostFrame) -> None:
        """Put posts into buckets."""
        self.frame = frame
        rows, _ = self.scorer(frame)
        place = frame.ctx.draws.bits("recsys.places", frame.ctx.step, frame.world.posts["key"][rows])
        order = np.lexsort((rows, place))
        self.rows = rows[order]
        bits = (len(rows) // _PER_BUCKET).bit_length()
        bucket = (place[order] >> np.uint64(63 - bits)) >> np.uint64(1)  # in two shifts: 64 at once is undefined
        self._ptr = np.zeros((1 << bits) + 1, np.int64)
        np.cumsum(np.bincount(bucket.astype(np.int64), minlength=1 << bits), out=self._ptr[1:])
        self._places = 4 * _PER_BUCKET
        while self._places < np.diff(self._ptr).max(initial=0):
            self._places *= 2

    def shared(self, want: int) -> tuple[I32, F64]:
        """Return one drawn list of distinct roots for everybody."""
        order = self._race(np.zeros(len(self.rows), np.uint64), self.rows).argsort(kind="stable")
        rows = self.rows[order]
        rows = rows[_seen_by_its_author(self.frame, rows)]
        _, first = np.unique(self.frame.root[rows], return_index=True)
        chosen = rows[np.sort(first)[:want]].astype(np.int32)
        return chosen, np.zeros(len(chosen))

    def best(self, agents: AgentFrame, want: int, seen: bool) -> Candidates:
        """Draw distinct roots for each agent."""
        out = Candidates.none(len(agents), want)
        out.sources[:] = self.source
        few = seen or len(self.rows) <= max(_FEW, 2 * want)
        out.complete[:] = few
        size = max(1, _PAIRS_AT_ONCE // (len(self.rows) + 1 if few else _TRIES_PER_PICK * want))
        for start in range(0, len(agents), size):
            part = agents.take(np.arange(start, min(start + size, len(agents))))
            row, posts = self._all(part) if few else self._tries(part, _TRIES_PER_PICK * want)
            keep = part.allowed(row, posts, seen)
            row, posts = row[keep], posts[keep]
            _, first = np.unique(row << 32 | self.frame.root[posts], return_index=True)
            first.sort()
            row, posts = row[first], posts[first]
            column = np.arange(len(row)) - np.searchsorted(row, row)
            fits = column < want
            out.posts[start + row[fits], column[fits]] = posts[fits]
        return out

    def _all(self, agents: AgentFrame) -> tuple[I64, I32]:
        """Return all (agent row, post) pairs in each agent's drawn order."""
        row = np.repeat(np.arange(len(agents)), len(self.rows))
        posts = np.tile(self.rows, len(agents))
        order = np.lexsort((self._race(self.frame.world.users["key"][agents.ids[row]], posts), row))
        return row[order], posts[order].astype(np.int32)

    def _race(self, agents: U64, posts: npt.NDArray[np.integer]) -> F64:
        """Return exponential waiting times with the posts' weights as rates: the smallest is drawn first."""
        ctx = self.frame.ctx
        u = ctx.draws.uniform("recsys.random", ctx.step, agents, self.frame.world.posts["key"][posts])
        waiting = np.empty(len(u))
        rank.log(u, waiting)
        return -waiting / self.frame.weight[posts]

    def _tries(self, agents: AgentFrame, tries: int) -> tuple[I64, I32]:
        """Return the (agent row, post) pairs that `tries` tries of each agent hit, in order."""
        frame, step = self.frame, self.frame.ctx.step
        row = np.repeat(np.arange(len(agents)), tries)
        keys = frame.world.users["key"][agents.ids[row]]
        number = np.tile(np.arange(tries, dtype=np.uint64), len(agents))
        buckets = len(self._ptr) - 1
        drawn = frame.ctx.draws.integers("recsys.tries", step, buckets * self._places, keys, number)
        bucket, place = drawn // self._places, drawn % self._places
        hit = place < self._ptr[bucket + 1] - self._ptr[bucket]
        row, keys = row[hit], keys[hit]
        posts = self.rows[self._ptr[bucket[hit]] + place[hit]].astype(np.int32)
        lowered = np.flatnonzero(frame.weight[posts] < 1)
        if len(lowered):
            u = frame.ctx.draws.uniform("recsys.demoted", step, keys[lowered], frame.world.posts["key"][posts[lowered]])
            keep = np.ones(len(posts), np.bool_)
            keep[lowered] = u < frame.weight[posts[lowered]]
            row, posts = row[keep], posts[keep]
        return row, posts
