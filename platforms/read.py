"""Read-only actions, answered from the frozen world: search, trend, listening to a group.

Axes: ``n`` requests. Lists are ranked once for all agents that ask the same in a step; each is then given the
first entries that it may see.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from oasis.actions import Action, ActionBatch
from oasis.interfaces import Feeds, Source, StepContext, Views
from oasis.kernels.csr import take_rows
from oasis.platforms.round import I32, I64, Bool, Round
from oasis.platforms.rules import Rules
from oasis.platforms.search import PostSearch, Ranked, UserSearch, trending
from oasis.platforms.visibility import users_visible
from oasis.world.world import World

__all__ = ["Reading", "first_visible"]


class _Derived:
    """What follows from a world's texts, and the lists ranked so far in a step."""

    def __init__(self) -> None:
        self.posts, self.users = PostSearch(), UserSearch()
        self.lists: dict[tuple[Action, str], Ranked] = {}
        self.updated: set[Action] = set()
        self.ctx: weakref.ref[StepContext] | None = None


class Reading:
    """Answers reading requests; keeps search indexes per world, which are derived and never part of the state."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._derived: weakref.WeakKeyDictionary[World, _Derived] = weakref.WeakKeyDictionary()

    def __getstate__(self) -> Rules:
        return self._rules

    def __setstate__(self, rules: Rules) -> None:
        self.__init__(rules)  # type: ignore[misc]

    def answer(self, round_: Round, requests: ActionBatch, ctx: StepContext) -> Views:
        """Return the answers to the accepted rows of `round_`; the others get nothing."""
        world, rules = round_.world, self._rules
        n = len(requests)
        posts = _Answers(n)
        users = _Answers(n)
        for action, source, size in (
            (Action.SEARCH_POSTS, Source.SEARCH, rules.search_size),
            (Action.TREND, Source.TREND, rules.trend_size),
        ):
            rows = round_.accepted(action)
            lists, which = self._lists(world, action, rows, requests, ctx)
            at, entry = first_visible(round_.agent[rows], lists, which, size, round_.visible, world.posts["root"])
            posts.add(rows[at], lists, which[at], entry, source)
        rows = round_.accepted(Action.SEARCH_USER)
        lists, which = self._lists(world, Action.SEARCH_USER, rows, requests, ctx)
        at, entry = first_visible(
            round_.agent[rows],
            lists,
            which,
            rules.search_size,
            lambda a, u: users_visible(world, a, u) & (a != u),
            np.arange(len(world.users), dtype=np.int32),
        )
        users.add(rows[at], lists, which[at], entry, Source.SEARCH)
        message_offsets, messages = self._messages(round_)
        offsets, ids, scores, sources = posts.collect()
        user_offsets, user_ids, _, _ = users.collect()
        return Views(
            Feeds(offsets, ids, scores, sources), user_offsets, user_ids, message_offsets, messages, round_.outcome
        )

    def _lists(
        self, world: World, action: Action, rows: I64, requests: ActionBatch, ctx: StepContext
    ) -> tuple[list[Ranked], I64]:
        """Return the distinct ranked lists that `rows` ask for, and which of them each asks for."""
        if not len(rows):
            return [], np.empty(0, np.int64)
        derived = self._derived.setdefault(world, _Derived())
        if derived.ctx is None or derived.ctx() is not ctx:
            derived.lists, derived.updated, derived.ctx = {}, set(), weakref.ref(ctx)
        search: PostSearch | UserSearch | None = None
        if action != Action.TREND:
            search = derived.posts if action == Action.SEARCH_POSTS else derived.users
        if search is not None and action not in derived.updated:
            search.update(world)
            derived.updated.add(action)
        queries = [""] * len(rows) if action == Action.TREND else _queries(world, requests.take(rows))
        distinct = {query: number for number, query in enumerate(dict.fromkeys(queries))}
        for query in distinct:
            if (action, query) not in derived.lists:
                if search is None:
                    ranked = trending(world, ctx, self._rules.trend_hours)
                else:
                    ranked = search.rank(world, query, ctx)
                derived.lists[action, query] = ranked
        return [derived.lists[action, query] for query in distinct], np.array([distinct[q] for q in queries], np.int64)

    def _messages(self, round_: Round) -> tuple[I64, I32]:
        """Return (offsets, ids) of the newest messages that each listener may hear, oldest first."""
        world, most = round_.world, self._rules.messages_size
        rows = round_.accepted(Action.LISTEN_FROM_GROUP)
        if not self._rules.show_written:
            rows = rows[:0]
        offsets = np.zeros(len(round_.outcome) + 1, np.int64)
        heard = np.full((len(rows), most), -1, np.int32)
        taken = np.zeros(len(rows), np.int64)
        message = world.groups["last_message"][round_.target[rows]]
        going = np.flatnonzero(message >= 0)
        while len(going):
            here = message[going]
            seen = users_visible(world, round_.agent[rows[going]], world.messages["author"][here])
            heard[going[seen], taken[going[seen]]] = here[seen]
            taken[going[seen]] += 1
            message[going] = world.messages["previous_in_group"][here]
            going = going[(message[going] >= 0) & (taken[going] < most)]
        counts = np.zeros(len(round_.outcome), np.int64)
        counts[rows] = taken
        np.cumsum(counts, out=offsets[1:])
        newest_last = heard[:, ::-1]
        return offsets, newest_last[newest_last >= 0]


def _queries(world: World, requests: ActionBatch) -> list[str]:
    content = requests.content
    reused = requests.text_id >= 0
    if reused.any():
        content = pc.if_else(reused, world.texts.take(requests.text_id), content)
    queries: list[str] = pc.utf8_lower(content).to_pylist()
    return queries


def first_visible(
    agents: I32,
    lists: Sequence[Ranked],
    which: I64,
    size: int,
    visible: Callable[[I32, I32], Bool],
    one_of: I32,
) -> tuple[I64, I64]:
    """Return (request, entry): the first `size` entries of each request's list that its agent may see.

    Parameters
    ----------
    agents, which : ndarray, shape (n,)
        Who asks, for which of the `lists`.
    one_of : ndarray
        By id; of entries with the same value only the first is taken (versions of one post).

    Returns
    -------
    request, entry : ndarray
        Sorted by request, then entry (index into the list).
    """
    indptr = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(ids) for ids, _ in lists], out=indptr[1:])
    flat = np.concatenate([np.empty(0, np.int32), *(ids for ids, _ in lists)])
    request, entry = np.empty(0, np.int64), np.empty(0, np.int64)
    going, start, window = np.arange(len(agents)), 0, 2 * size
    while len(going):
        low = np.minimum(indptr[which[going]] + start, indptr[which[going] + 1])
        high = np.minimum(low + window, indptr[which[going] + 1])
        bounds = np.c_[low, high].ravel()
        offsets, at = take_rows(bounds, np.arange(len(going)) * 2)
        row = np.repeat(going, np.diff(offsets))
        seen = visible(agents[row], flat[at])
        row, at = row[seen], at[seen]
        request, entry = np.r_[request, row], np.r_[entry, at]
        order = np.lexsort((entry, one_of[flat[entry]], request))
        key = request[order] << 32 | one_of[flat[entry[order]]]
        first = order[np.r_[True, key[1:] != key[:-1]][: len(key)]]
        first = first[np.lexsort((entry[first], request[first]))]
        request, entry = request[first], entry[first]
        counts = np.bincount(request, minlength=len(agents))
        going = going[(high < indptr[which[going] + 1]) & (counts[going] < size)]
        start, window = start + window, 2 * window
    begin = np.searchsorted(request, np.arange(len(agents)))
    kept = np.arange(len(request)) - begin[request] < size
    request, entry = request[kept], entry[kept]
    return request, entry - indptr[which[request]]


class _Answers:
    """Rows of answers of several kinds, put into request order at the end."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._row: list[I64] = []
        self._id: list[I32] = []
        self._score: list[npt.NDArray[np.float32]] = []
        self._source: list[npt.NDArray[np.uint8]] = []

    def add(self, rows: I64, lists: Sequence[Ranked], which: I64, entry: I64, source: Source) -> None:
        if not len(rows):
            return
        start = np.cumsum([0, *(len(ids) for ids, _ in lists)])
        at = start[which] + entry
        self._row.append(rows)
        self._id.append(np.concatenate([ids for ids, _ in lists])[at])
        self._score.append(np.concatenate([scores for _, scores in lists])[at])
        self._source.append(np.full(len(rows), source, np.uint8))

    def collect(self) -> tuple[I64, I32, npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """Return (offsets, ids, scores, sources) by request."""
        row = np.concatenate([np.empty(0, np.int64), *self._row])
        order = np.argsort(row, kind="stable")
        offsets = np.zeros(self._requests + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=self._requests), out=offsets[1:])
        return (
            offsets,
            np.concatenate([np.empty(0, np.int32), *self._id])[order],
            np.concatenate([np.empty(0, np.float32), *self._score])[order],
            np.concatenate([np.empty(0, np.uint8), *self._source])[order],
        )
