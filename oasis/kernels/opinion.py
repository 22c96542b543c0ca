"""Opinion dynamics: how the stances that agents saw move their own.

Axes: ``n`` agents, ``s`` stances seen, those of an agent adjacent and in the order seen (``offsets``, shape (n + 1,)).
All sums run in that order, in float64; agents do not meet. Who saw nothing keeps its stance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["deffuant", "deffuant_numpy", "friedkin_johnsen", "friedkin_johnsen_numpy"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@kernel()
def friedkin_johnsen(
    offsets: I64, seen: F64, own: F64, anchor: F64, susceptibility: float, self_weight: float, out: F64
) -> None:
    """Fill `out` (n) by Friedkin and Johnsen (1990): ``s (w x + (1 - w) mean(seen)) + (1 - s) anchor``."""
    for i in range(len(own)):
        total = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            total += seen[k]
        count = offsets[i + 1] - offsets[i]
        out[i] = own[i]
        if count > 0:
            social = self_weight * own[i] + (1.0 - self_weight) * (total / count)
            out[i] = susceptibility * social + (1.0 - susceptibility) * anchor[i]


def friedkin_johnsen_numpy(
    offsets: I64, seen: F64, own: F64, anchor: F64, susceptibility: float, self_weight: float
) -> F64:
    """Return what `friedkin_johnsen` fills in, with NumPy alone."""
    count = np.diff(offsets)
    total = np.bincount(np.repeat(np.arange(len(own)), count), seen, len(own))  # adds row after row
    social = self_weight * own + (1.0 - self_weight) * (total / np.maximum(count, 1))
    return np.where(count > 0, susceptibility * social + (1.0 - susceptibility) * anchor, own)


@kernel()
def deffuant(offsets: I64, seen: F64, own: F64, confidence: float, convergence: float, out: F64) -> None:
    """Fill `out` (n) by Deffuant et al. (2000): ``x += mu (y - x)`` for each y seen with ``|y - x| < confidence``."""
    for i in range(len(own)):
        x = own[i]
        for k in range(offsets[i], offsets[i + 1]):
            if abs(seen[k] - x) < confidence:
                x += convergence * (seen[k] - x)
        out[i] = x


def deffuant_numpy(offsets: I64, seen: F64, own: F64, confidence: float, convergence: float) -> F64:
    """Return what `deffuant` fills in, with NumPy alone: what all saw first, then what all saw second, and so on."""
    out, count = own.copy(), np.diff(offsets)
    for rank in range(int(count.max(initial=0))):
        rows = np.flatnonzero(count > rank)
        difference = seen[offsets[rows] + rank] - out[rows]
        out[rows] += np.where(np.abs(difference) < confidence, convergence * difference, 0.0)
    return out
