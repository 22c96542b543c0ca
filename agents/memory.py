"""What agents remember of their own deeds: a fixed number of columns per agent, rendered to text only in prompts.

Axes: ``k`` agents that remember something, ``m`` things remembered. What an agent was shown is in the world's
``seen`` ring.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["ENTRY_COLUMNS", "Memory"]

I32 = npt.NDArray[np.int32]

ENTRY_COLUMNS: dict[str, pa.DataType] = {
    "step": pa.int32(),
    "action": pa.int16(),
    "target_kind": pa.int8(),
    "target": pa.int32(),
    "created": pa.int32(),
    "outcome": pa.int16(),
}
_EMPTY = -1


class Memory:
    """The last `width` things that each agent did, the newest last; -1 where nothing is.

    Only agents that did something have a row, so a million agents cost nothing while a few hundred decide.

    Parameters
    ----------
    width : int
        Things remembered per agent; 0 remembers nothing.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        fields = [pa.field(name, pa.list_(kind, width)) for name, kind in ENTRY_COLUMNS.items()]
        self.schema = pa.schema([pa.field("agent_id", pa.int32()), *fields])
        self._agents = np.empty(0, np.int32)
        self._columns = {name: _blank(0, width, kind) for name, kind in ENTRY_COLUMNS.items()}

    def __len__(self) -> int:
        return len(self._agents)

    def get(self, agents: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.integer]]:
        """Return the columns of `agents`, each of shape (n, width), -1 where nothing is."""
        at = np.searchsorted(self._agents, agents)
        known = np.zeros(len(agents), np.bool_)
        inside = at < len(self._agents)
        known[inside] = self._agents[at[inside]] == agents[inside]
        out = {}
        for name, kind in ENTRY_COLUMNS.items():
            out[name] = _blank(len(agents), self.width, kind)
            out[name][known] = self._columns[name][at[known]]
        return out

    def push(self, agents: I32, entries: Mapping[str, npt.NDArray[np.integer]]) -> None:
        """Remember ``entries[column][i]`` for ``agents[i]``, in row order."""
        if not len(agents) or not self.width:
            return
        order = np.argsort(agents, kind="stable")
        grouped = agents[order]
        who, first, count = np.unique(grouped, return_index=True, return_counts=True)
        rank = np.arange(len(grouped)) - np.repeat(first, count)
        self._admit(who)
        at = np.searchsorted(self._agents, who)
        row = np.repeat(np.arange(len(who)), count)
        slot = self.width - np.repeat(count, count) + rank
        kept = slot >= 0
        source = np.arange(self.width) + count[:, None]  # older entries move towards the front by `count`
        for name, column in self._columns.items():
            padded = np.concatenate([column[at], np.full((len(who), 1), _EMPTY, column.dtype)], axis=1)
            moved = np.take_along_axis(padded, np.minimum(source, self.width), axis=1)
            moved[row[kept], slot[kept]] = entries[name][order][kept]
            column[at] = moved

    def to_arrow(self) -> pa.Table:
        """Return one row per agent that remembers something, by agent."""
        columns = [pa.array(self._agents)]
        for name, kind in ENTRY_COLUMNS.items():
            flat = pa.array(self._columns[name].ravel(), kind)
            if self.width:
                columns.append(pa.FixedSizeListArray.from_arrays(flat, self.width))
            else:
                columns.append(pa.nulls(len(self._agents), pa.list_(kind, 0)))
        return pa.table(columns, schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace everything by the rows of `table`."""
        self._agents = table.column("agent_id").to_numpy().astype(np.int32)
        for name, kind in ENTRY_COLUMNS.items():
            flat = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
            self._columns[name] = flat.reshape(table.num_rows, self.width).astype(kind.to_pandas_dtype())

    def _admit(self, agents: I32) -> None:
        new = np.setdiff1d(agents, self._agents, assume_unique=True)
        if not len(new):
            return
        merged = np.concatenate([self._agents, new])
        order = np.argsort(merged, kind="stable")
        self._agents = merged[order].astype(np.int32)
        for name, kind in ENTRY_COLUMNS.items():
            rows = np.concatenate([self._columns[name], _blank(len(new), self.width, kind)])
            self._columns[name] = rows[order]


def _blank(rows: int, width: int, kind: pa.DataType) -> npt.NDArray[np.integer]:
    blank: npt.NDArray[np.integer] = np.full((rows, width), _EMPTY, kind.to_pandas_dtype())
    return blank
