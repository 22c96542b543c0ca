"""Kernels of the choice model against plain NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.kernels import choice as kernel


@given(seed=st.integers(0, 10_000), rows=st.integers(0, 40), width=st.integers(1, 1040))
@settings(max_examples=40, deadline=None)
def test_pair_products_are_exact(seed, rows, width):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-127, 128, (7, width)).astype(np.int8) for _ in range(2))
    i, j = (rng.integers(0, 7, rows) for _ in range(2))
    out = np.empty(rows, np.int64)
    kernel.pair_products(a, b, i, j, out)
    assert np.array_equal(out, kernel.pair_products_numpy(a, b, i, j))


def test_largest_product_does_not_overflow():
    full = np.full((1, 1040), -127, np.int8)
    out = np.empty(1, np.int64)
    kernel.pair_products(full, full, np.zeros(1, np.int64), np.zeros(1, np.int64), out)
    assert out[0] == 1040 * 127**2


@given(st.lists(st.floats(-1e9, 1e9), max_size=30))
@settings(deadline=None)
def test_signed_log1p(values):
    x = np.asarray(values, np.float64)
    out = np.empty(len(x))
    kernel.signed_log1p(x, out)
    np.testing.assert_array_max_ulp(out, kernel.signed_log1p_numpy(x), 4)


@given(seed=st.integers(0, 10_000), rows=st.integers(0, 30), options=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_utilities_and_choices(seed, rows, options):
    rng = np.random.default_rng(seed)
    features, coefficients = rng.normal(size=(rows, 5)), rng.normal(size=(options, 5)) * 3
    available = rng.random((rows, options)) < 0.7
    available[:, 0] = True
    utility = np.empty((rows, options))
    kernel.utilities(features, coefficients, available, utility)
    assert np.array_equal(utility, kernel.utilities_numpy(features, coefficients, available))

    noise = rng.gumbel(size=(rows, options))
    option, probability, nothing = np.empty(rows, np.int64), np.empty(rows), np.empty(rows)
    kernel.choose(utility, noise, option, probability, nothing)
    wanted = kernel.choose_numpy(utility, noise)
    assert np.array_equal(option, wanted[0])
    np.testing.assert_allclose(probability, wanted[1], rtol=1e-14)
    np.testing.assert_allclose(nothing, wanted[2], rtol=1e-14)
    assert available[np.arange(rows), option].all()


def test_huge_utilities_stay_finite():
    utility = np.asarray([[0.0, 5000.0, -5000.0], [0.0, -np.inf, -np.inf]])
    option, probability, nothing = np.empty(2, np.int64), np.empty(2), np.empty(2)
    kernel.choose(utility, np.zeros((2, 3)), option, probability, nothing)
    assert option.tolist() == [1, 0]
    assert probability.tolist() == [1.0, 1.0]
    assert nothing.tolist() == [0.0, 1.0]
