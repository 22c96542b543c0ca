"""Both ways to multiply give every agent the same posts."""

from __future__ import annotations

import numpy as np
import pytest

from oasis.kernels.products import has_byte_products
from oasis.randomness import Draws
from oasis.recsys.products import ByteProducts, FloatProducts


@pytest.mark.skipif(not has_byte_products(), reason="this processor has no AVX-512 VNNI")
@pytest.mark.parametrize(("agents", "texts"), [(1, 1), (50, 300), (1100, 2000)])
def test_feeds_do_not_depend_on_what_multiplies(agents: int, texts: int) -> None:
    def draw(name: str, high: int, count: int) -> np.ndarray:
        return Draws(2).integers(name, 0, high, np.arange(count, dtype=np.uint64))

    mine, pool = (
        (draw(name, 255, n * 64) - 127).reshape(n, 64).astype(np.int8) for name, n in (("a", agents), ("t", texts))
    )
    width, ids = 9, np.arange(texts, dtype=np.int32)
    factor = np.sort(Draws(2).uniform("factor", 0, ids.astype(np.uint64)))[::-1].copy()
    author, nobody = draw("author", 40, texts).astype(np.int32), np.zeros(agents + 1, np.int64)
    seen = np.sort(draw("seen", texts, agents * 8).reshape(agents, 8).astype(np.int32), axis=1)

    nothing = (np.full(1, -1, np.int64),)

    def lists(way: type[ByteProducts] | type[FloatProducts]) -> list[np.ndarray]:
        posts, roots = np.full((agents, width), -1, np.int32), np.full((agents, width), -1, np.int32)
        scores, ties = np.zeros((agents, width)), np.zeros((agents, width), np.uint64)
        counts = np.zeros(agents, np.int64)

        def select(kernel, products, rows) -> None:
            ends = slice(rows.start, rows.stop + 1)
            kernel(
                *products, factor, np.arange(texts + 1), np.arange(1, texts + 1), ids, ids, author, author, factor,
                ids.astype(np.uint64), nobody[ends], ids[:0], np.arange(agents, dtype=np.int32)[rows], nobody[ends],
                ids[:0], seen[rows], False, nothing, posts[rows], roots[rows], scores[rows], ties[rows], counts[rows],
            )  # fmt: skip

        way(pool).select(mine, select)
        return [posts, scores, counts]

    for got, wanted in zip(lists(ByteProducts), lists(FloatProducts), strict=True):
        assert np.array_equal(got, wanted)
