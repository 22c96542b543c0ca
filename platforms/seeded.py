"""What was there before the run or came from outside, told from what agents wrote by its stable key."""

from __future__ import annotations

import weakref

import numpy as np
import numpy.typing as npt

from oasis.randomness import Lane, derive_keys
from oasis.world.table import Table
from oasis.world.world import World

__all__ = ["Seeded"]

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


class Seeded:
    """Marks of posts and comments, per world; they follow from its tables, so they are never part of the state."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[World, dict[str, tuple[U64, Bool]]] = weakref.WeakKeyDictionary()

    def __reduce__(self) -> tuple[type[Seeded], tuple[()]]:
        return type(self), ()

    def posts(self, world: World) -> Bool:
        """Return whether each post is from before the run or from outside, shape (p,)."""
        return self._marks(world, "posts")

    def comments(self, world: World) -> Bool:
        """Return whether each comment is from before the run or from outside, shape (c,)."""
        return self._marks(world, "comments")

    def _marks(self, world: World, name: str) -> Bool:
        table: Table = world.posts if name == "posts" else world.comments
        known = self._known.setdefault(world, {})
        keys, marks = known.get(name, (np.empty(0, np.uint64), np.empty(0, np.bool_)))
        same = len(keys) <= len(table) and np.array_equal(keys, table["key"][: len(keys)])
        if not same:  # the world was put back to an earlier state
            keys, marks = keys[:0], marks[:0]
        if len(keys) < len(table):
            new = np.arange(len(keys), len(table))
            marks = np.r_[marks, _from_outside(world, table, new)]
            known[name] = table["key"].copy(), marks
        return marks


def _from_outside(world: World, table: Table, rows: I64) -> Bool:
    """Return whether a row was made before step 1, or has a key that things from outside have.

    Such a key holds a running number of what the author was made to write in the step, see `creation_keys`.
    """
    author, step, key = table["author"][rows], table["step"][rows], table["key"][rows]
    found = step == 0
    first = int(step.min(initial=2**31 - 1))
    made = np.concatenate([_pairs(t, first) for t in (world.posts, world.comments)])
    made.sort()
    pair = step.astype(np.int64) << 32 | author
    most = np.searchsorted(made, pair, "right") - np.searchsorted(made, pair, "left")
    for index in range(int(most.max(initial=0))):
        left = np.flatnonzero(~found & (most > index))
        parents = world.users["key"][author[left]]
        for at in np.unique(step[left]):
            of = step[left] == at
            found[left[of]] = key[left[of]] == derive_keys(parents[of], int(at), Lane.OUTSIDE, index)
    return np.asarray(found)


def _pairs(table: Table, first: int) -> I64:
    """Return (step, author) of the rows made since a step, packed; rows stand in the order of steps."""
    start = int(np.searchsorted(table["step"], first))
    return np.asarray(table["step"][start:].astype(np.int64) << 32 | table["author"][start:], np.int64)
