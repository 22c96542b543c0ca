"""What a follow graph is like: mutual edges, groups, clusters, components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from oasis.kernels import csr, structure
from oasis.kernels.threads import in_parts
from oasis.randomness import Draws, Keys

__all__ = ["SAMPLE", "Graph"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

SAMPLE = 10_000
"""Agents whose clustering is looked at."""


@dataclass(frozen=True)
class Graph:
    """Followees of each agent, sorted, as compressed rows."""

    indptr: I64
    indices: I32

    @classmethod
    def of(cls, agents: int, follower: I32, followee: I32) -> Self:
        """Return the graph of distinct edges in any order."""
        indptr = np.zeros(agents + 1, np.int64)
        np.cumsum(np.bincount(follower, minlength=agents), out=indptr[1:])
        if not csr.in_order(follower, followee):
            followee = followee[np.lexsort((followee, follower))]
        return cls(indptr, followee)

    def reciprocity(self) -> float | None:
        """Return the share of edges whose reverse is there."""
        return self._share(lambda p: structure.returned(p.start, p.stop, self.indptr, self.indices))

    def alike(self, label: I32) -> float | None:
        """Return the share of edges with one label at both ends; -1 is like nothing."""
        return self._share(lambda p: structure.alike(p.start, p.stop, self.indptr, self.indices, label))

    def clustering(self, keys: Keys) -> tuple[float, float]:
        """Return the mean local clustering coefficient and its standard error, of `SAMPLE` agents drawn by their keys.

        The coefficient is that of Watts and Strogatz (1998): the share of pairs of neighbours that are linked, an edge
        in either direction being a link; 0 with fewer than two neighbours. With no more agents than the sample has
        places, it is exact.
        """
        n = len(keys)
        size = min(n, SAMPLE)
        u = Draws(0).uniform("describe.clustering", 0, keys)
        sample = np.sort(np.argsort(u, kind="stable")[:size])
        back, indices = np.zeros(n + 1, np.int64), np.empty(len(self.indices), np.int32)
        np.cumsum(np.bincount(self.indices, minlength=n), out=back[1:])
        csr.transpose(self.indptr, self.indices, back[:-1].copy(), indices)
        found = np.empty((size, 2), np.int64)
        rows = (self.indptr, self.indices, back, indices)
        in_parts(size, lambda p: structure.links(p.start, p.stop, sample, *rows, found))
        near = found[:, 0].astype(np.float64)
        local = found[:, 1] / np.maximum(near * (near - 1.0), 1.0)
        return float(local.mean()), 0.0 if size == n else float(local.std() / np.sqrt(size))

    def components(self, connection: str) -> tuple[int, float]:
        """Return how many ``weak`` or ``strong`` components there are, and the share of agents in the largest."""
        n = len(self.indptr) - 1
        matrix = csr_matrix((np.ones(len(self.indices), np.int8), self.indices, self.indptr), shape=(n, n))
        count, label = connected_components(matrix, directed=True, connection=connection)
        return int(count), float(np.bincount(label).max()) / n

    def _share(self, count: Callable[[slice], int]) -> float | None:
        if not len(self.indices):
            return None
        parts: list[int] = []
        in_parts(len(self.indptr) - 1, lambda p: parts.append(count(p)))
        return sum(parts) / len(self.indices)
