"""Sets of (a, b) pairs with a small value: likes, mutes, reports, memberships."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.kernels import pairs
from oasis.kernels.threads import in_parts

__all__ = ["Relation"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_LOOKED_UP = 10_000  # pairs worth a thread: 0.2 ms


class Relation:
    """A set of pairs of non-negative int32 ids, each with an int32 value; all operations are batched.

    Parameters
    ----------
    schema : pyarrow.Schema
        Exactly three int32 fields: first id, second id, value. Their names are the table's columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._count = 0
        self._used = 0  # live and tombstone slots
        self._slots = np.full(64, pairs.EMPTY, np.int64)
        self._values = np.zeros(64, np.int32)

    def __len__(self) -> int:
        return self._count

    @property
    def slots(self) -> I64:
        """The hash set, for kernels (`oasis.kernels.pairs.holds`); not to be changed."""
        return self._slots

    @staticmethod
    def key(a: npt.ArrayLike, b: npt.ArrayLike) -> I64:
        """Return pairs packed as ``a * 2^32 + b``, broadcast."""
        return np.atleast_1d(np.asarray(a, np.int64) << 32 | np.asarray(b, np.int64))

    def contains(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Bool:
        """Return whether each pair is in the set."""
        return self._find(self.key(a, b)) >= 0

    def values(self, a: npt.ArrayLike, b: npt.ArrayLike, missing: int = 0) -> I32:
        """Return the value of each pair, `missing` where it is not in the set."""
        at = self._find(self.key(a, b))
        return np.where(at >= 0, self._values[at], np.int32(missing)).astype(np.int32)

    def add(self, a: npt.ArrayLike, b: npt.ArrayLike, value: npt.ArrayLike = 1) -> Bool:
        """Insert pairs; return which were new. A pair already there (or earlier in the batch) keeps its value."""
        keys = self.key(a, b)
        self._reserve(len(keys))
        added = np.empty(len(keys), np.bool_)
        new = np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.int32), keys.shape))
        self._used += pairs.add(self._slots, self._values, keys, new, added)
        self._count += int(added.sum())
        return added

    def discard(self, a: npt.ArrayLike, b: npt.ArrayLike) -> Bool:
        """Remove pairs; return which were there."""
        keys = self.key(a, b)
        gone = np.empty(len(keys), np.bool_)
        pairs.discard(self._slots, keys, gone)
        self._count -= int(gone.sum())
        return gone

    def vote(self, a: npt.ArrayLike, b: npt.ArrayLike, wanted: npt.NDArray[np.int8], undo: Bool) -> I32:
        """Set values of -1 and 1, or take them back; see `oasis.kernels.pairs.vote`. Pairs must be distinct.

        Returns
        -------
        old : ndarray, int32
            The value of each pair before, 0 for none.
        """
        keys = self.key(a, b)
        self._reserve(len(keys))
        old = np.empty(len(keys), np.int32)
        taken, more = pairs.vote(self._slots, self._values, keys, wanted, undo, old)
        self._used += taken
        self._count += more
        return old

    def items(self) -> tuple[I32, I32, I32]:
        """Return (a, b, value) sorted by (a, b)."""
        live = np.flatnonzero(self._slots >= 0)
        keys = self._slots[live]
        order = np.argsort(keys)
        keys = keys[order]
        return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), self._values[live[order]]

    def to_arrow(self) -> pa.Table:
        """Return the pairs sorted by (a, b)."""
        return pa.table([pa.array(c) for c in self.items()], schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace all pairs by those of `table`."""
        a, b, value = (table.column(i).to_numpy() for i in range(3))
        self.__init__(self.schema)  # type: ignore[misc]
        self.add(a, b, value)

    def _find(self, keys: I64) -> I64:
        out = np.empty(len(keys), np.int64)
        in_parts(len(keys), lambda part: pairs.find(self._slots, keys[part], out[part]), _LOOKED_UP)
        return out

    def _reserve(self, extra: int) -> None:
        if 2 * (self._used + extra) <= len(self._slots):
            return
        live = self._slots >= 0
        keys, values = self._slots[live], self._values[live]
        capacity = 64
        while capacity < 3 * (len(keys) + extra):
            capacity *= 2
        self._slots = np.full(capacity, pairs.EMPTY, np.int64)
        self._values = np.zeros(capacity, np.int32)
        self._used = pairs.add(self._slots, self._values, keys, values, np.empty(len(keys), np.bool_))
