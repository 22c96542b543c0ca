"""The follow graph: immutable compressed rows in both directions, plus what changed since."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.kernels import csr
from oasis.kernels.threads import in_parts
from oasis.world.relation import Relation

__all__ = ["FollowGraph"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_COMPACT_ABOVE = 0.1  # changes per base edge at which the base is rebuilt
_COMPACT_FLOOR = 100_000
_LOOKED_UP = 10_000  # pairs worth a thread


class _Rows:
    """One direction of a fixed set of edges, sorted by (source, target)."""

    def __init__(self, nodes: int, source: I32, target: I32) -> None:
        self.indptr = _starts(nodes, source)
        self.indices = target

    def reversed(self) -> _Rows:
        """Return the other direction."""
        nodes = len(self.indptr) - 1
        rows = _Rows(nodes, self.indices, np.empty(len(self.indices), np.int32))
        csr.transpose(self.indptr, self.indices, rows.indptr[:-1].copy(), rows.indices)
        return rows

    def grow(self, nodes: int) -> None:
        missing = nodes + 1 - len(self.indptr)
        if missing > 0:
            self.indptr = np.r_[self.indptr, np.full(missing, self.indptr[-1])]


def _starts(nodes: int, source: npt.NDArray[np.integer]) -> I64:
    indptr = np.zeros(nodes + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=nodes), out=indptr[1:])
    return indptr


class FollowGraph:
    """Who follows whom, since which step.

    ``out`` of an agent is whom it follows, ``in`` is who follows it. Base edges live in CSR form
    (8 bytes an edge and direction with the step), later ones in a hash set that is merged into the base when it
    has grown to a tenth of it.

    Parameters
    ----------
    schema : pyarrow.Schema
        Three int32 fields: follower, followee, step.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._nodes = 0
        self._delta_rows: tuple[_Rows, _Rows] | None = None
        self._set_base(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self._source) - len(self._removed) + len(self._added)

    def resize(self, nodes: int) -> None:
        """Make room for agents 0 to ``nodes - 1``."""
        self._nodes = max(self._nodes, nodes)
        self._out.grow(self._nodes)
        self._in.grow(self._nodes)
        self._delta_rows = None

    def set_edges(self, nodes: int, follower: I32, followee: I32, step: I32 | int = 0) -> None:
        """Replace all edges. They must be distinct, without self-loops, with ids below `nodes`."""
        self._nodes = nodes
        self._set_base(follower, followee, np.broadcast_to(np.asarray(step, np.int32), follower.shape))

    def contains(self, follower: npt.ArrayLike, followee: npt.ArrayLike) -> Bool:
        """Return whether each follower follows each followee; the two broadcast."""
        a, b = np.broadcast_arrays(np.atleast_1d(follower), np.atleast_1d(followee))
        found = self._base_position(a, b) >= 0
        if len(self._removed):
            found &= ~self._removed.contains(a, b)
        if len(self._added):
            found |= self._added.contains(a, b)
        return np.asarray(found)

    def add(self, follower: I32, followee: I32, step: int) -> Bool:
        """Add edges; return which were new (repeats within the batch are not)."""
        fresh = ~self.contains(follower, followee)
        added = np.zeros(len(fresh), np.bool_)
        rows = np.flatnonzero(fresh)
        added[rows] = self._added.add(follower[rows], followee[rows], step)
        self._changed()
        return added

    def discard(self, follower: I32, followee: I32) -> Bool:
        """Remove edges; return which were there."""
        gone = self._added.discard(follower, followee) if len(self._added) else np.zeros(len(follower), np.bool_)
        in_base = (self._base_position(follower, followee) >= 0) & ~gone
        rows = np.flatnonzero(in_base)
        gone[rows] |= self._removed.add(follower[rows], followee[rows], 1)
        self._changed()
        return gone

    def following(self, agents: npt.NDArray[np.integer]) -> tuple[I64, I32]:
        """Return (offsets, followees) of the agents, each row sorted by followee."""
        return self._neighbours(agents, 0)

    def followers(self, agents: npt.NDArray[np.integer]) -> tuple[I64, I32]:
        """Return (offsets, followers) of the agents, each row sorted by follower."""
        return self._neighbours(agents, 1)

    def edges(self) -> tuple[I32, I32, I32]:
        """Return (follower, followee, step) of all edges, sorted by (follower, followee)."""
        keep = slice(None)
        if len(self._removed):
            keep = ~self._removed.contains(self._source, self._target)  # type: ignore[assignment]
        source, target, step = self._source[keep], self._target[keep], self._step[keep]
        if len(self._added):
            a, b, s = self._added.items()
            at = np.searchsorted(Relation.key(source, target), Relation.key(a, b))  # both are sorted
            source, target, step = np.insert(source, at, a), np.insert(target, at, b), np.insert(step, at, s)
        return source, target, step

    def to_arrow(self) -> pa.Table:
        """Return all edges sorted by (follower, followee)."""
        return pa.table([pa.array(c) for c in self.edges()], schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace all edges by those of `table` (call `resize` after it)."""
        source, target, step = (table.column(i).to_numpy() for i in range(3))
        top = int(max(source.max(initial=-1), target.max(initial=-1))) + 1
        self.set_edges(max(self._nodes, top), source, target, step)

    def layers(self) -> dict[str, pa.Table]:
        """Return the base edges, and those added and removed since."""
        base = pa.table([pa.array(c) for c in (self._source, self._target, self._step)], schema=self.schema)
        return {"base": base, "added": self._added.to_arrow(), "removed": self._removed.to_arrow()}

    def load_layers(self, layers: Mapping[str, pa.Table]) -> None:
        """Replace all edges by those of `layers` (call `resize` after it)."""
        self.load(layers["base"])
        self._added.load(layers["added"])
        self._removed.load(layers["removed"])

    def _set_base(self, source: I32, target: I32, step: npt.NDArray[np.int32]) -> None:
        # those of a checkpoint or a generated population, or merged with what was added, are sorted
        sorted_ = csr.in_order(source, target)
        order = slice(None) if sorted_ else np.argsort(Relation.key(source, target), kind="stable")
        # copies: what is given may lie in a file
        self._source, self._target, self._step = (np.array(c[order], np.int32) for c in (source, target, step))
        self._out = _Rows(self._nodes, self._source, self._target)
        self._in = self._out.reversed()
        self._added = Relation(self.schema)
        self._removed = Relation(self.schema)
        self._delta_rows = None

    def _base_position(self, follower: npt.ArrayLike, followee: npt.ArrayLike) -> I64:
        a, b = np.ascontiguousarray(follower, np.int64), np.ascontiguousarray(followee, np.int64)
        out = np.empty(len(a), np.int64)
        rows = self._out
        in_parts(len(a), lambda part: csr.in_row(rows.indptr, rows.indices, a[part], b[part], out[part]), _LOOKED_UP)
        return out

    def _changed(self) -> None:
        self._delta_rows = None
        if len(self._added) + len(self._removed) > max(_COMPACT_FLOOR, _COMPACT_ABOVE * len(self._source)):
            self._set_base(*self.edges())

    def _delta(self) -> tuple[_Rows, _Rows]:
        """Return the rows added since the base was built, in both directions."""
        if self._delta_rows is None:
            a, b, _ = self._added.items()
            added = _Rows(self._nodes, a, b)
            self._delta_rows = (added, added.reversed())
        return self._delta_rows

    def _neighbours(self, agents: npt.NDArray[np.integer], direction: int) -> tuple[I64, I32]:
        base = (self._out, self._in)[direction]
        offsets, positions = csr.take_rows(base.indptr, agents)
        found = base.indices[positions]
        if len(self._removed):
            row = np.repeat(np.arange(len(agents)), np.diff(offsets))
            pair = (agents[row], found) if direction == 0 else (found, agents[row])
            keep = ~self._removed.contains(*pair)
            found, offsets = found[keep], _starts(len(agents), row[keep])
        if len(self._added):
            delta = self._delta()[direction]
            more_offsets, more_positions = csr.take_rows(delta.indptr, agents)
            both = np.empty(len(found) + len(more_positions), np.int32)
            csr.merge_rows(offsets, found, more_offsets, delta.indices[more_positions], both)
            found, offsets = both, offsets + more_offsets
        return offsets, found
