"""Events as numbers: who really acted, what was made when, and what each original is.

Axes: ``e`` events, in the order in which they were committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from oasis.actions import Action, Outcome, TargetKind
from oasis.records import EVENTS
from oasis.runs.verification.evidence import Evidence, coded, ids, json_numbers

__all__ = ["ACTIONS", "KINDS", "MAKES", "OUTCOMES", "TARGET_KINDS", "Events", "Made", "action", "packed_pairs"]

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

ACTIONS = list(dict.fromkeys(a.label for a in Action))
OUTCOMES = [o.label for o in Outcome]
KINDS = [k.label for k in TargetKind]
MAKES = {
    "users": ("sign_up",),
    "posts": ("create_post", "post", "repost", "quote_post"),
    "comments": ("create_comment", "comment"),
    "groups": ("create_group",),
    "messages": ("send_to_group",),
    "products": ("add_product",),
    "purchases": ("purchase_product",),
}
"""Which actions make rows of which table."""
TARGET_KINDS = {"user": "users", "post": "posts", "comment": "comments", "group": "groups", "product": "products"}


def action(*names: str) -> list[int]:
    """Return codes of actions."""
    return [ACTIONS.index(name) for name in names]


@dataclass(frozen=True)
class Made:
    """Things of one kind.

    Attributes
    ----------
    base : int
        How many there were before step 1.
    rows : ndarray
        The event that made each later one, by id.
    """

    base: int
    rows: I64

    def __len__(self) -> int:
        return self.base + len(self.rows)

    def row_of(self, things: I64) -> I64:
        """Return the event that made each thing; -1 for those from before step 1. All must exist."""
        later = things >= self.base
        out = np.full(len(things), -1, np.int64)
        out[later] = self.rows[things[later] - self.base]
        return out


class Events:
    """All events of a run, as columns.

    Attributes
    ----------
    step, seq, agent, turn, target, arg, created : ndarray, shape (e,), int64
        -1 for null.
    action, outcome, kind, policy : ndarray, shape (e,), int16
        Indices into `ACTIONS`, `OUTCOMES`, `KINDS` and `policies`; -1 for null, -2 for unknown labels.
    actor : ndarray, shape (e,), int64
        The agent; of an outside action the one in whose name it is done, -1 for none.
    content : polars.Series
        Texts of accepted actions, and arguments of outside ones.
    """

    def __init__(self, ev: Evidence) -> None:
        names = [n for n in EVENTS.names if n != "probability"]
        table = ev.all_rows("events", names)
        self.policies = _labels(table["policy"])
        self.action, self.outcome = coded(table["action"], ACTIONS), coded(table["outcome"], OUTCOMES)
        self.kind, self.policy = coded(table["target_kind"], KINDS), coded(table["policy"], self.policies)
        self.step, self.seq, self.agent, self.turn = (ids(table[n]) for n in ("step", "seq", "agent_id", "turn"))
        self.target, self.arg, self.created = (ids(table[n]) for n in ("target_id", "arg_id", "created_id"))
        self.content = pl.Series(pl.from_arrow(table["content"]), dtype=pl.String)
        self._base = {name: _base(ev, name) for name in ("users", "posts", "comments")}

    def __len__(self) -> int:
        return len(self.step)

    @cached_property
    def accepted(self) -> Bool:
        """Which were accepted."""
        return np.asarray(self.outcome == Outcome.ACCEPTED)

    @cached_property
    def outside(self) -> Bool:
        """Which are from outside."""
        return np.asarray(self.agent == -1)

    @cached_property
    def actor(self) -> I64:
        """Who acted."""
        actor = self.agent.copy()
        rows = np.flatnonzero(self.outside)
        actor[rows] = json_numbers(self.content[rows], "agent")
        posted = np.flatnonzero(self.outside & np.isin(self.action, action("post")))
        actor[posted] = self.target[posted]
        return actor

    @cached_property
    def activations(self) -> I64:
        """The distinct (step, agent) of agents' events, packed and sorted."""
        packed = np.sort(packed_pairs(self.step[~self.outside], self.agent[~self.outside]))
        return packed[np.r_[True, packed[1:] != packed[:-1]][: len(packed)]]

    def having(self, names: Sequence[str]) -> Bool:
        """Return which are accepted actions of these names."""
        return np.asarray(self.accepted & np.isin(self.action, action(*names)))

    def makers(self, kind: str) -> I64:
        """Return the events that made things of a kind, in their order."""
        return np.flatnonzero(self.having(MAKES[kind]))

    def base(self, kind: str) -> int:
        """Return how many of a kind there were before step 1; of kinds without a table, as the first event says."""
        known = self._base.get(kind)
        if known is not None:
            return known
        rows = self.makers(kind)
        return max(int(self.created[rows[0]]), 0) if len(rows) else 0

    def made(self, kind: str) -> Made:
        """Return the things of a kind; ids must be in order."""
        return Made(self.base(kind), self.makers(kind))

    @cached_property
    def roots(self) -> I64:
        """The original of each post; targets must exist, and be older."""
        made = self.made("posts")
        root = np.arange(len(made))
        version = np.isin(self.action[made.rows], action("repost", "quote_post"))
        root[made.base :][version] = self.target[made.rows[version]]
        while not np.array_equal(again := root[root], root):  # as often as the logarithm of the deepest chain
            root = again
        return root


def packed_pairs(a: I64, b: I64) -> I64:
    """Return pairs of ids as one number each, in their order."""
    return a << 32 | b & 0xFFFFFFFF


def _labels(column: pa.ChunkedArray) -> list[str]:
    return sorted({str(value) for chunk in column.chunks for value in chunk.dictionary.to_pylist()})


def _base(ev: Evidence, name: str) -> int | None:
    table = ev.tables.get(name)
    if table is None or name in ev.broken:
        return None
    return int((table["joined_step" if name == "users" else "step"] == 0).sum())
