"""Products of agents' vectors with a pool's, exact: by byte instructions, else by float32 matrix products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.kernels.products import ROWS, has_byte_products, pack, shifted
from oasis.kernels.similar import similar, similar_to
from oasis.kernels.threads import in_parts

__all__ = ["ByteProducts", "FloatProducts", "pool_products"]

I8 = npt.NDArray[np.int8]

Select = Callable[[Callable[..., None], tuple[Any, ...], slice], None]
"""``select(kernel, products, rows)``: call the kernel with its first arguments, for some of the agents."""

_TILE_BYTES = 48 * 2**20  # float32 products held at a time


class ByteProducts:
    """A pool's vectors as 8-bit instructions take them."""

    def __init__(self, pool: I8) -> None:
        self._pool = pack(pool)

    def select(self, vectors: I8, select: Select) -> None:
        """Call `select` for all agents, in parallel."""
        pad = np.zeros((ROWS - 1, vectors.shape[1]), np.int8)

        def part(rows: slice) -> None:
            mine = np.concatenate([vectors[rows], pad[: -(rows.stop - rows.start) % ROWS]])
            select(similar_to, (shifted(mine), *self._pool), rows)

        in_parts(len(vectors), part)


class FloatProducts:
    """A pool's vectors in float32: products of up to 1,040 dimensions are exact, since they stay below 2^24."""

    def __init__(self, pool: I8) -> None:
        self._pool = np.ascontiguousarray(pool.astype(np.float32).T)

    def select(self, vectors: I8, select: Select) -> None:
        """Call `select` for all agents, a tile of products after another."""
        size = max(1, _TILE_BYTES // (4 * max(1, self._pool.shape[1])))
        room = np.empty((min(size, len(vectors)), self._pool.shape[1]), np.float32)
        for start in range(0, len(vectors), size):
            tile = slice(start, min(start + size, len(vectors)))
            dots = room[: tile.stop - tile.start]
            np.matmul(vectors[tile].astype(np.float32), self._pool, out=dots)

            def part(rows: slice, start: int = start, dots: npt.NDArray[np.float32] = dots) -> None:
                select(similar, (dots[rows],), slice(start + rows.start, start + rows.stop))

            in_parts(len(dots), part)


def pool_products(pool: I8) -> ByteProducts | FloatProducts:
    """Return the faster way on this processor; results are the same."""
    return ByteProducts(pool) if has_byte_products() else FloatProducts(pool)
