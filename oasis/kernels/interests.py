"""What agents are interested in: sums of text vectors, scaled back to int8."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["add_up", "add_up_numpy"]

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]


@kernel()
def add_up(vectors: I8, bio: I32, engaged: I32, bio_weight: int, out: I8) -> None:
    """Fill ``out[i]`` with ``bio_weight * vectors[bio[i]] + sum of vectors[engaged[i]]``, scaled to at most 127.

    Rows of -1 are skipped. Division rounds half up; in float64 it is exact, since sums stay far below 2^53.
    """
    total = np.empty(vectors.shape[1], np.int32)
    for i in range(len(bio)):
        total[:] = 0
        if bio[i] >= 0:
            for d in range(len(total)):
                total[d] = bio_weight * vectors[bio[i], d]
        for j in range(engaged.shape[1]):
            row = engaged[i, j]
            if row >= 0:
                for d in range(len(total)):
                    total[d] += vectors[row, d]
        largest = 1
        for d in range(len(total)):
            largest = max(largest, abs(total[d]))
        for d in range(len(total)):
            out[i, d] = np.int8(np.floor((254.0 * total[d] + largest) / (2.0 * largest)))


def add_up_numpy(vectors: I8, bio: I32, engaged: I32, bio_weight: int) -> I8:
    """Return what `add_up` fills in, with NumPy alone and integer division."""
    wide = np.concatenate([vectors.astype(np.int64), np.zeros((1, vectors.shape[1]), np.int64)])  # -1: the last row
    total = bio_weight * wide[bio] + wide[engaged].sum(axis=1)
    largest = np.maximum(np.abs(total).max(axis=1), 1)[:, None]
    return ((254 * total + largest) // (2 * largest)).astype(np.int8)
