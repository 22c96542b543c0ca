"""Many cascades as distributions: of size, and of depth given size; and how far two such are apart.

Axes: ``k`` sets of cascades, ``s`` sizes from the window's lowest to its highest, ``b`` bins of size, ``d`` depths.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError

__all__ = ["Shapes", "SizeWindow", "shape_distances"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
_DEEPEST = 64
"""Depths from here on count as this one."""


@dataclass(frozen=True)
class SizeWindow:
    """The sizes that are compared: what was sampled by size can be compared within its own range only.

    Attributes
    ----------
    low, high : int
        Users, both included.
    cuts : tuple of int
        First size of each bin but the first, ascending.
    """

    low: int
    high: int
    cuts: tuple[int, ...]

    @classmethod
    def of(cls, sizes: npt.ArrayLike, bins: int = 3) -> SizeWindow:
        """Return the range of some sizes, and bins with about as many of them in each.

        Raises
        ------
        InputError
            If there is no size.
        """
        values = np.sort(np.asarray(sizes, np.int64))
        if not len(values):
            raise InputError("there is no cascade, so there is no range of sizes")
        cuts = np.unique(values[[len(values) * b // bins for b in range(1, bins)]])
        return cls(int(values[0]), int(values[-1]), tuple(int(c) for c in cuts if c > values[0]))

    def inside(self, sizes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which sizes are in it."""
        values = np.asarray(sizes)
        return np.asarray((values >= self.low) & (values <= self.high))


@dataclass(frozen=True)
class Shapes:
    """Sets of cascades, as cumulative shares.

    Attributes
    ----------
    size : ndarray, shape (k, s)
        Share of the set's cascades within the window that have at most this size; NaN for a set without any.
    depth : ndarray, shape (k, b, d)
        Of those in a bin, the share with at most this depth; NaN where the bin is empty.
    counts : ndarray, shape (k, b)
        Cascades in each bin.
    """

    size: F64
    depth: F64
    counts: I64

    @classmethod
    def of(cls, sets: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], window: SizeWindow) -> Shapes:
        """Return sets of (sizes, depths); what is outside the window is left out."""
        bins, sizes = len(window.cuts) + 1, window.high - window.low + 1
        size, depth = np.empty((len(sets), sizes)), np.empty((len(sets), bins, _DEEPEST + 1))
        counts = np.zeros((len(sets), bins), np.int64)
        for k, (all_sizes, all_depths) in enumerate(sets):
            kept = window.inside(all_sizes)
            some, deep = np.asarray(all_sizes)[kept], np.minimum(np.asarray(all_depths)[kept], _DEEPEST)
            bin_of = np.searchsorted(window.cuts, some, side="right")
            table = np.zeros((bins, _DEEPEST + 1))
            np.add.at(table, (bin_of, deep), 1)
            counts[k] = table.sum(axis=1)
            with np.errstate(invalid="ignore"):
                size[k] = np.bincount(some - window.low, minlength=sizes).cumsum() / len(some)
                depth[k] = table.cumsum(axis=1) / counts[k][:, None]
        return cls(size, depth, counts)

    def take(self, rows: npt.ArrayLike) -> Shapes:
        """Return some sets."""
        at = np.asarray(rows)
        return Shapes(self.size[at], self.depth[at], self.counts[at])

    def mixed(self) -> Shapes:
        """Return one set that stands for all: the means of their shares, each set with the same weight."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a bin that is empty in all sets
            size, depth = np.nanmean(self.size, axis=0), np.nanmean(self.depth, axis=0)
        return Shapes(size[None], depth[None], self.counts.sum(axis=0)[None])


def shape_distances(shapes: Shapes, target: Shapes) -> F64:
    """Return how far each set is from a target, shape (k, 2), both from 0 to 1.

    The first is the Kolmogorov-Smirnov distance of sizes, the largest difference of cumulative shares; it is the same
    for sizes and their logarithms. The second is that of depths within each bin of size, averaged by how many cascades
    the target has there; 1 where the set has none.

    Parameters
    ----------
    target : Shapes
        One set.

    Returns
    -------
    ndarray, float64
        NaN for a set without a cascade in the window.
    """
    size = np.abs(shapes.size - target.size).max(axis=1)
    deep = np.abs(shapes.depth - target.depth).max(axis=2)
    weight = target.counts[0] / target.counts[0].sum()
    deep = np.where(weight > 0, np.where(shapes.counts > 0, deep, 1.0), 0.0) @ weight
    return np.stack([size, np.where(np.isnan(size), np.nan, deep)], axis=1)
