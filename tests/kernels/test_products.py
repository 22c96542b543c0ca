"""Products of int8 vectors are exact, and selecting by them is the same whatever multiplies."""

from __future__ import annotations

import numpy as np
import pytest

from oasis.kernels import products
from oasis.randomness import Draws

NEEDS_BYTES = pytest.mark.skipif(
    not products.has_byte_products(), reason="this processor has no AVX-512 VNNI; float32 products are used"
)


def vectors(name: str, n: int, d: int, extreme: bool = False) -> np.ndarray:
    drawn = Draws(1).integers(name, 0, 2 if extreme else 255, np.arange(n * d, dtype=np.uint64)).reshape(n, d)
    return (drawn * 254 - 127 if extreme else drawn - 127).astype(np.int8)


@NEEDS_BYTES
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("n", "m", "d"), [(6, 1, 1), (12, 64, 256), (6, 65, 255), (18, 200, 1040), (0, 3, 8)])
def test_products_are_exact(n: int, m: int, d: int, extreme: bool) -> None:
    left, right = vectors("left", n, d, extreme), vectors("right", m, d, extreme)
    panels, starts = products.pack(right)
    out = np.full((n, starts.size), 7, np.int32)
    products.products(products.shifted(left), panels, starts, out)
    assert np.array_equal(out[:, :m], products.products_numpy(left, right))
    assert not out[:, m:].any()


def test_left_vectors_are_shifted_and_padded() -> None:
    assert products.shifted(np.array([[-127, 0, 127]], np.int8)).tolist() == [[1, 128, 255, 128]]
