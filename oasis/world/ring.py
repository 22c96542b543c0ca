"""A fixed number of recent things per agent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.world.store import grow

__all__ = ["Ring"]

I32 = npt.NDArray[np.int32]


class Ring:
    """The last `width` ids of each agent, oldest overwritten first.

    Parameters
    ----------
    width : int
        How many ids are kept per agent.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.schema = pa.schema([("ids", pa.list_(pa.int32(), width)), ("pushed", pa.int32())])
        self._length = 0
        self._ids = np.empty((0, width), np.int32)
        self._pushed = np.empty(0, np.int32)

    def __len__(self) -> int:
        return self._length

    @property
    def filled(self) -> int:
        """How many agents have had anything in theirs."""
        return int(np.count_nonzero(self._pushed[: self._length]))

    def resize(self, agents: int) -> None:
        """Make room for `agents` agents; new ones start empty (-1)."""
        self._ids = grow(self._ids, self._length, agents)
        self._pushed = grow(self._pushed, self._length, agents)
        self._ids[self._length : agents] = -1
        self._pushed[self._length : agents] = 0
        self._length = agents

    def get(self, agents: npt.NDArray[np.integer]) -> I32:
        """Return ids, shape (n, width), -1 where empty, in ring order (not by age)."""
        return np.asarray(self._ids[agents])

    def recent(self, agents: npt.NDArray[np.integer]) -> I32:
        """Return ids, shape (n, width), newest first, -1 where empty."""
        slot = (self._pushed[agents][:, None] - 1 - np.arange(self.width)) % self.width
        return np.take_along_axis(self._ids[agents], slot.astype(np.int64), axis=1)

    def content(self, agents: npt.NDArray[np.integer]) -> bytes:
        """Return what is in the rings of agents, for a digest."""
        return self._ids[agents].tobytes() + self._pushed[agents].tobytes()

    def push(self, agents: I32, ids: I32) -> None:
        """Append ``ids[i]`` to the ring of ``agents[i]``; `agents` must be grouped (equal ids adjacent)."""
        if not len(agents):
            return
        first = np.flatnonzero(np.r_[True, agents[1:] != agents[:-1]])
        length = np.diff(np.r_[first, len(agents)])
        rank = np.arange(len(agents)) - np.repeat(first, length)
        keep = rank >= np.repeat(length, length) - self.width  # only the last `width` of each group survive
        slot = (self._pushed[agents] + rank) % self.width
        self._ids[agents[keep], slot[keep]] = ids[keep]
        self._pushed[agents[first]] += length.astype(np.int32)

    def to_arrow(self) -> pa.Table:
        """Return one row per agent."""
        ids = pa.FixedSizeListArray.from_arrays(pa.array(self._ids[: self._length].ravel()), self.width)
        return pa.table([ids, pa.array(self._pushed[: self._length])], schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace all rings by those of `table`."""
        self._length = table.num_rows
        flat = table.column("ids").combine_chunks().flatten().to_numpy()
        self._ids = flat.reshape(self._length, self.width).copy()
        self._pushed = table.column("pushed").to_numpy().copy()
