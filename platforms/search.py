"""Ranked lists that searches and trends are read from; the same for all agents of a step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.interfaces import StepContext
from oasis.kernels.rank import kth_largest
from oasis.platforms.index import WordIndex, words_of
from oasis.platforms.round import I32
from oasis.world.schemas import KIND_ORIGINAL
from oasis.world.world import World

__all__ = ["PostSearch", "Ranked", "UserSearch", "trending"]

Ranked = tuple[I32, npt.NDArray[np.float32]]
"""Ids, best first, and their scores."""
TREND_CANDIDATES = 2_000
"""How far down the list an agent is read that may not see what is above. Twice the longest list."""
_CHECKED = 64  # documents compared to notice that a world was put back to an earlier state


class PostSearch:
    """Posts by the words of their text, kept up to date with the world's posts."""

    def __init__(self) -> None:
        self._index = WordIndex()
        self._tail = pa.nulls(0, pa.large_string())

    def rank(self, world: World, query: str, ctx: StepContext) -> Ranked:
        """Return posts that hold words of `query`: most words first, then highest score, then newest, then drawn."""
        posts = world.posts
        found, held = self._index.match(words_of(query))
        votes = _score(world, found)
        tie = ctx.draws.bits("search", ctx.step, posts["key"][found])
        order = np.lexsort((tie, -posts["step"][found], -votes, -held))
        return found[order].astype(np.int32), held[order].astype(np.float32)

    def update(self, world: World) -> None:
        """Take in what changed since the last time; once a step, however many searches there are."""
        text = world.posts["text"]
        start = len(self._index)
        if start > len(text) or not world.texts.take(text[max(0, start - _CHECKED) : start]).equals(self._tail):
            self._index, start = WordIndex(), 0
        if start < len(text):
            self._index.append(world.texts.take(text[start:]))
            self._tail = world.texts.take(text[-_CHECKED:])


class UserSearch:
    """Users by the words of their user name, name and bio; a changed profile is a new document."""

    _columns = ("username", "name", "bio")

    def __init__(self) -> None:
        self._index = WordIndex()
        self._user_of = np.empty(0, np.int32)
        self._document = np.empty(0, np.int64)
        self._profiles = np.empty((0, len(self._columns)), np.int32)

    def rank(self, world: World, query: str, ctx: StepContext) -> Ranked:
        """Return users that hold words of `query`: most words first, then most followed, then drawn."""
        users = world.users
        documents, held = self._index.match(words_of(query))
        found = self._user_of[documents]
        current = self._document[found] == documents
        found, held = found[current], held[current]
        followers = users["followers"][found].astype(np.int64) + users["base_followers"][found]
        tie = ctx.draws.bits("search", ctx.step, users["key"][found])
        order = np.lexsort((tie, -followers, -held))
        return found[order].astype(np.int32), held[order].astype(np.float32)

    def update(self, world: World) -> None:
        """Take in what changed since the last time; once a step, however many searches there are."""
        now = np.stack([world.users[c] for c in self._columns], axis=1) if len(world.users) else self._profiles[:0]
        if len(now) < len(self._profiles):
            self.__init__()  # type: ignore[misc]
        known = len(self._profiles)
        changed = np.flatnonzero((now[:known] != self._profiles).any(axis=1))
        new = np.r_[changed, np.arange(known, len(now))]
        if len(new):
            parts = [world.texts.take(now[new, i]).fill_null("") for i in range(len(self._columns))]
            joined = pc.binary_join_element_wise(*parts, pa.scalar(" ", pa.large_string()))
            self._index.append(joined)
            self._user_of = np.r_[self._user_of, new.astype(np.int32)]
            self._profiles = now
            self._document = np.zeros(len(now), np.int64)
            self._document[self._user_of] = np.arange(len(self._user_of))  # the last document of a user wins


def trending(world: World, ctx: StepContext, hours: float) -> Ranked:
    """Return the originals of the last `hours`, most engaged first, ties drawn: 2,000, and what ties with the last.

    Engagement is the number of likes, dislikes, reposts, quotes and comments, each counting one (assumed).
    """
    posts = world.posts
    first = int(np.searchsorted(posts["step"], ctx.step - ctx.clock.steps_in(hours)))  # posts come in order of steps
    found = first + np.flatnonzero((posts["kind"][first:] == KIND_ORIGINAL) & ~posts["hidden"][first:])
    counters = ("likes", "dislikes", "base_likes", "base_dislikes", "reposts", "quotes", "comments")
    engaged = np.zeros(len(found), np.int64)
    for counter in counters:
        engaged += posts[counter][found]
    least = 1
    if len(engaged) > TREND_CANDIDATES:
        least = max(least, int(kth_largest(engaged, TREND_CANDIDATES)))
    some = engaged >= least
    found, engaged = found[some], engaged[some]
    tie = ctx.draws.bits("trend", ctx.step, posts["key"][found])
    order = np.lexsort((tie, -engaged))
    return found[order].astype(np.int32), engaged[order].astype(np.float32)


def _score(world: World, posts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return likes minus dislikes of the originals, as shown."""
    table = world.posts
    root = table["root"][posts]
    up = table["likes"][root].astype(np.int64) + table["base_likes"][root]
    return np.asarray(up - table["dislikes"][root] - table["base_dislikes"][root])
