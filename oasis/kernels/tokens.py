"""Sums over the tokens of texts: what turns words into vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["hash_ngrams", "hash_ngrams_python", "pool_tokens", "pool_tokens_numpy"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]

# FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv-17), over code points instead of octets.
_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


@kernel()
def pool_tokens(table: F32, tokens: I32, offsets: I64, out: F64) -> None:
    """Add to ``out[i]`` the rows of `table` for the tokens of text i, in float64.

    Exact in any order for a table of half-precision numbers: their sums fit into 53 bits.
    """
    for i in range(len(offsets) - 1):
        for at in range(offsets[i], offsets[i + 1]):
            row = tokens[at]
            for d in range(table.shape[1]):
                out[i, d] += table[row, d]


def pool_tokens_numpy(table: F32, tokens: I32, offsets: I64) -> F64:
    """Return what `pool_tokens` adds up, with NumPy alone."""
    wide = table[tokens].astype(np.float64)
    rows = [wide[a:b].sum(axis=0) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    return np.array(rows).reshape(len(offsets) - 1, table.shape[1])


@kernel()
def hash_ngrams(points: U32, offsets: I64, shortest: int, longest: int, out: I64) -> None:
    """Add to ``out[i]`` one signed count for each n-gram of text i (code points), at a hashed dimension."""
    for i in range(len(offsets) - 1):
        for start in range(offsets[i], offsets[i + 1]):
            h = np.uint64(0xCBF29CE484222325)
            for at in range(start, min(start + longest, offsets[i + 1])):
                h = (h ^ np.uint64(points[at])) * np.uint64(0x100000001B3)
                if at - start + 1 >= shortest:
                    mixed = h ^ (h >> np.uint64(29))
                    sign = 1 if (mixed >> np.uint64(40)) & np.uint64(1) else -1
                    out[i, mixed % np.uint64(out.shape[1])] += sign


def hash_ngrams_python(text: str, shortest: int, longest: int, dimensions: int) -> I64:
    """Return what `hash_ngrams` adds for one text, in plain Python."""
    out = np.zeros(dimensions, np.int64)
    for start in range(len(text)):
        h = _FNV_OFFSET
        for n, character in enumerate(text[start : start + longest], 1):
            h = (h ^ ord(character)) * _FNV_PRIME % 2**64
            if n >= shortest:
                mixed = h ^ (h >> 29)
                out[mixed % dimensions] += 1 if mixed >> 40 & 1 else -1
    return out
