"""One batch while it is judged and applied, as columns. Axis: ``m`` rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Applied
from oasis.kernels import rank
from oasis.kernels import rounds as kernels
from oasis.randomness import Lane, derive_keys
from oasis.world.table import Table
from oasis.world.world import World

__all__ = ["PENDING", "Round", "Visible", "chain", "creation_keys", "rank_within"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Visible = Callable[[I32, I32], Bool]
"""``visible(agents, posts) -> bool``: the platform's rule on a world."""

PENDING = -1
"""Outcome of a row that nothing has spoken against so far."""
_KINDS = max(Action) + 1
_FEW = 16  # rows of the wanted actions are sorted where they are fewer than one in so many, else all are looked at


class Round:
    """A batch in which no (agent, target) pair repeats for actions that set or unset something.

    So the rows can be judged together: no row changes what another is judged by, except for stock and
    report thresholds, which are counted in row order.

    Parameters
    ----------
    lane : int
        `Lane.AGENT` for what agents do in their turn, `Lane.OUTSIDE` for what is done to them.
    lengths : mapping
        Rows of each table that existed for the agents; larger ids must be the agent's own creations of this step.
    visible : callable
        The platform's rule.

    Attributes
    ----------
    root : ndarray, shape (m,), int32
        The original that the target belongs to, for rows that aim at a post or comment that exists; else -1.
    text : ndarray, shape (m,), int32
        Id of the text that an accepted row carries; -1 for none.
    """

    def __init__(
        self,
        world: World,
        batch: ActionBatch,
        step: int,
        lane: int,
        lengths: Mapping[str, int],
        visible: Visible,
    ) -> None:
        m = len(batch)
        self.world, self.step, self.lane, self.lengths, self.visible = world, step, lane, lengths, visible
        self.agent, self.action = batch.agent_id, batch.action
        self.target_kind, self.target, self.arg = batch.target_kind, batch.target_id, batch.arg_id
        self.text_id, self.content = batch.text_id, batch.content
        self.outcome = np.where(batch.outcome >= 0, batch.outcome, PENDING).astype(np.int16)
        self._open = self.outcome == PENDING
        self._all_open = bool(self._open.all())
        self.created = np.full(m, -1, np.int32)
        self.root = np.full(m, -1, np.int32)
        self.text = np.full(m, -1, np.int32)
        self.written: tuple[I64, pa.LargeStringArray] | None = None
        self._codes = np.clip(self.action, 0, max(Action))
        self._order, self._starts = np.empty(m, np.int64), np.zeros(_KINDS + 1, np.int64)
        rank.group(self._codes, self._starts, self._order)

    def pending(self, *actions: Action) -> I64:
        """Return the undecided rows of these actions, in row order."""
        return self._in_state(actions, PENDING)

    def accepted(self, *actions: Action) -> I64:
        """Return the rows of these actions that were accepted here, in row order."""
        rows = self._in_state(actions, Outcome.ACCEPTED)
        return rows if self._all_open else rows[self._open[rows]]

    def _in_state(self, actions: tuple[Action, ...], state: int) -> I64:
        parts = [self._order[self._starts[a] : self._starts[a + 1]] for a in actions]
        parts = [part for part in parts if len(part)]
        if not parts:
            return np.empty(0, np.int64)
        if len(parts) > 1 and _FEW * sum(map(len, parts)) >= len(self._codes):
            wanted = np.zeros(_KINDS, np.bool_)
            wanted[list(actions)] = True
            found = np.empty(len(self._codes) + 1, np.int64)
            return found[: kernels.select(self._codes, wanted, self.outcome, int(state), found)]
        rows = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
        there = self.outcome[rows] == state
        return rows if there.all() else rows[there]

    def refuse(self, rows: I64, wrong: Bool, outcome: Outcome) -> I64:
        """Give `outcome` to the rows that are wrong; return the others."""
        if not wrong.any():
            return rows
        self.outcome[rows[wrong]] = outcome
        return rows[~wrong]

    def accept(self, rows: I64) -> None:
        """Accept rows."""
        self.outcome[rows] = Outcome.ACCEPTED

    def exists(self, rows: I64, ids: I32, table: str, owner: str | None = None) -> Bool:
        """Return whether each id existed for the agents, or is what the row's agent made in this step.

        Parameters
        ----------
        ids : ndarray, shape of `rows`
            Anything, also negative or beyond the end.
        owner : str, optional
            Column of the table that holds who made a row.
        """
        known = (ids >= 0) & (ids < self.lengths[table])
        store = self.world[table]
        assert isinstance(store, Table)
        if owner is not None and len(store) > self.lengths[table]:
            late = np.flatnonzero((ids >= self.lengths[table]) & (ids < len(store)))
            known[late] = store[owner][ids[late]] == self.agent[rows[late]]
        return known

    def applied(self) -> Applied:
        """Return outcomes and created ids; every row must have been decided."""
        assert (self.outcome != PENDING).all(), "a row was left undecided"
        return Applied(self.outcome, self.created)


def rank_within(values: npt.NDArray[np.integer]) -> I64:
    """Return, for each row, how many earlier rows have the same value."""
    order = np.argsort(values, kind="stable")
    rank = np.empty(len(values), np.int64)
    rank[order] = _runs(values[order])
    return rank


def _runs(ordered: npt.NDArray[np.integer]) -> I64:
    position = np.arange(len(ordered))
    first = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    return position - np.maximum.accumulate(np.where(first, position, 0))


def chain(owners: I32, first: int, heads: I32) -> I32:
    """Push rows to linked lists: return the predecessor of each row and move the heads, in place.

    Parameters
    ----------
    owners : ndarray, shape (n,)
        The list that each row goes to; may repeat.
    first : int
        Id of the first row; those of the others follow.
    heads : ndarray
        Head of each list, -1 for an empty one.
    """
    previous = np.empty(len(owners), np.int32)
    kernels.push(owners, first, heads, previous)
    return previous


def creation_keys(round_: Round, table: str, authors: I32) -> npt.NDArray[np.uint64]:
    """Return the stable keys of new rows of ``posts`` or ``comments``, in row order.

    The index in a key is the running number among what the author made in this step and lane: agents count their
    posts and comments apart; from outside both share a lane and a count. It is read off the tables (what agents make
    in a step lies beyond the frozen length, what the outside made before them carries the step), so no counter has to
    be kept.
    """
    world = round_.world
    if round_.lane == Lane.AGENT:
        made = world[table]["author"][round_.lengths[table] :]  # type: ignore[index]
    else:
        made = np.concatenate([t["author"][t["step"] == round_.step] for t in (world.posts, world.comments)])
    index = np.zeros(len(authors), np.int64) if round_.lane == Lane.AGENT else rank_within(authors)
    if len(made):
        before = np.sort(made)
        index += np.searchsorted(before, authors, "right") - np.searchsorted(before, authors, "left")
    lane = Lane.COMMENT if table == "comments" and round_.lane == Lane.AGENT else round_.lane
    return derive_keys(world.users["key"][authors], round_.step, lane, index)
