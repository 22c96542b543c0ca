"""An open-addressing hash set of int64 keys with int32 values (linear probing, power-of-two capacity)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["EMPTY", "TOMBSTONE", "add", "discard", "find", "hold_any", "holds", "vote"]

EMPTY = -1
TOMBSTONE = -2

I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


@kernel(inline=True)
def _home(key: int, mask: int) -> int:
    # The finalizer of SplitMix64 (Steele, Lea and Flood 2014). Keys share halves (everybody likes one post, one agent
    # likes many), so every bit of the key must reach every bit of the slot.
    h = np.uint64(key)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int(np.int64(h ^ (h >> np.uint64(31))) & mask)


@kernel(inline=True)
def _slot(slots: I64, key: int) -> int:
    """Return the slot of a key, or -1."""
    mask = len(slots) - 1
    at = _home(key, mask)
    while slots[at] != -1 and slots[at] != key:
        at = (at + 1) & mask
    return at if slots[at] == key else -1


@kernel(inline=True)
def _room(slots: I64, key: int) -> tuple[int, int]:
    """Return the slot of a key, else the unused one where the search for it ended; and the first tombstone, or -1."""
    mask = len(slots) - 1
    at, grave = _home(key, mask), -1
    while slots[at] != -1 and slots[at] != key:
        if slots[at] == -2 and grave < 0:
            grave = at
        at = (at + 1) & mask
    return at, grave


@kernel()
def holds(slots: I64, a: int, b: int) -> bool:
    """Return whether the pair ``(a, b)``, packed as ``a * 2^32 + b``, is in the set; for use in other kernels."""
    return _slot(slots, int(a) << 32 | int(b)) >= 0


@kernel()
def hold_any(sets: tuple[I64, ...], a: int, b: I64, many: int, first: I64, out: Bool) -> None:
    """Fill ``out[:many]`` with whether any of the sets holds the pair ``(a, b[i])``.

    Slots lie anywhere in main memory. Those of all pairs are loaded first (into `first`), since loads that do not
    depend on each other are waited for together; what a first slot leaves open is searched for.
    """
    for i in range(many):
        out[i] = False
    for slots in sets:
        mask = len(slots) - 1
        for i in range(many):
            first[i] = slots[_home(int(a) << 32 | int(b[i]), mask)]
        for i in range(many):
            if first[i] != -1 and not out[i]:
                out[i] = holds(slots, a, b[i])


@kernel()
def find(slots: I64, wanted: I64, out: I64) -> None:
    """Fill `out` with the slot of each wanted key, or -1."""
    for i in range(len(wanted)):
        out[i] = _slot(slots, wanted[i])


@kernel()
def add(slots: I64, values: I32, keys: I64, new: I32, added: Bool) -> int:
    """Insert keys with values; a key already there keeps its value. Return how many never-used slots were taken."""
    taken = 0
    for i in range(len(keys)):
        at, grave = _room(slots, keys[i])
        added[i] = slots[at] != keys[i]
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
    for i in range(len(keys)):
        at = _slot(slots, keys[i])
        gone[i] = at >= 0
        if gone[i]:
            slots[at] = -2


@kernel()
def vote(slots: I64, values: I32, keys: I64, wanted: I8, undo: Bool, old: I32) -> tuple[int, int]:
    """Set votes and take them back; fill `old` with what each key's value was, 0 for none.

    Nothing changes where the vote to be set is there already, or the one to be taken back is not.

    Parameters
    ----------
    keys : shape (n,)
        Distinct.
    wanted : shape (n,)
        The vote that is set, or taken back where `undo`; not 0.

    Returns
    -------
    taken, more
        How many never-used slots were taken, and how many keys there are more than before.
    """
    taken, more = 0, 0
    for i in range(len(keys)):
        at, grave = _room(slots, keys[i])
        old[i] = values[at] if slots[at] == keys[i] else 0
        if undo[i]:
            if old[i] == wanted[i]:
                slots[at] = -2
                more -= 1
        elif old[i] == 0:
            if grave >= 0:
                at = grave
            else:
                taken += 1
            slots[at] = keys[i]
            values[at] = wanted[i]
            more += 1
        else:
            values[at] = wanted[i]
    return taken, more
