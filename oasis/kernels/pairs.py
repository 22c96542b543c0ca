"""An open-addressing hash set of int64 keys with int32 values (linear probing, power-of-two capacity)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["EMPTY", "TOMBSTONE", "add", "discard", "find"]

EMPTY = -1
TOMBSTONE = -2

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


@kernel(inline=True)
def _home(key: int, mask: int) -> int:
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hashing, 2^64 / phi
    return int(np.int64(h >> np.uint64(20)) & mask)


@kernel()
def find(slots: I64, wanted: I64, out: I64) -> None:
    """Fill `out` with the slot of each wanted key, or -1."""
    mask = len(slots) - 1
    for i in range(len(wanted)):
        at = _home(wanted[i], mask)
        out[i] = -1
        while slots[at] != -1:
            if slots[at] == wanted[i]:
                out[i] = at
                break
            at = (at + 1) & mask


@kernel()
def add(slots: I64, values: I32, keys: I64, new: I32, added: Bool) -> int:
    """Insert keys with values; a key already there keeps its value. Return how many never-used slots were taken."""
    mask = len(slots) - 1
    taken = 0
    for i in range(len(keys)):
        at = _home(keys[i], mask)
        grave = -1
        added[i] = True
        while slots[at] != -1:
            if slots[at] == keys[i]:
                added[i] = False
                break
            if slots[at] == -2 and grave < 0:
                grave = at
            at = (at + 1) & mask
        if added[i]:
            if grave >= 0:
                at = grave
            else:
                taken += 1
            slots[at] = keys[i]
            values[at] = new[i]
    return taken


@kernel()
def discard(slots: I64, keys: I64, gone: Bool) -> None:
    """Remove keys, leaving tombstones; `gone` says which were there."""
    mask = len(slots) - 1
    for i in range(len(keys)):
        at = _home(keys[i], mask)
        gone[i] = False
        while slots[at] != -1:
            if slots[at] == keys[i]:
                slots[at] = -2
                gone[i] = True
                break
            at = (at + 1) & mask
