"""The generator's kernels equal their plain versions; activity is scaled exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.kernels import population as kernels
from oasis.population.activity import scale_to_mean
from oasis.population.rhythm import DAY
from oasis.randomness import Draws, agent_keys

U, V = (Draws(3).uniform(name, 0, agent_keys(np.arange(5000))) for name in "uv")


def test_logarithms_exponentials_cosines() -> None:
    out = np.empty(len(U))
    kernels.normal(U, V, out)
    # 1e-15 absolute: near a zero of the cosine its argument's rounding counts, not the function's
    np.testing.assert_allclose(out, kernels.normal_numpy(U, V), rtol=1e-14, atol=1e-15)
    assert out.mean() == pytest.approx(0, abs=0.05)
    assert out.std() == pytest.approx(1, abs=0.05)
    exponential = np.empty(len(U))
    kernels.exp(out, exponential)
    np.testing.assert_array_max_ulp(exponential, kernels.exp_numpy(out), 4)
    rhythm = np.empty((len(U), 24))
    kernels.day_rhythm(U, 40 * V - 20, DAY, 0.9, rhythm)
    np.testing.assert_allclose(rhythm, kernels.day_rhythm_numpy(U, 40 * V - 20, DAY, 0.9), rtol=1e-12)


def test_best_items() -> None:
    keys, weight = agent_keys(np.arange(4000)), np.log([4.0, 3.0, 2.0, 1.0])
    out = np.empty((4000, 3), np.int16)
    kernels.best_items(0, 1500, np.uint64(5), keys, weight, out)
    kernels.best_items(1500, 4000, np.uint64(5), keys, weight, out)
    np.testing.assert_array_equal(out, kernels.best_items_numpy(5, keys, weight, 3))
    np.testing.assert_allclose(np.bincount(out[:, 0]) / 4000, [0.4, 0.3, 0.2, 0.1], atol=0.03)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=60), st.integers(1, 40), st.data())
def test_find_is_a_binary_search(weights: list[float], size: int, data: st.DataObject) -> None:
    upper = np.cumsum(np.array(weights) + 1e-3)
    table = np.empty(size, np.int64)
    kernels.guide(upper, table)
    np.testing.assert_array_equal(table, kernels.guide_numpy(upper, size))
    shares = np.array(data.draw(st.lists(st.floats(0, 1), max_size=20)))
    grid = np.arange(size) * (upper[-1] / size)
    at = np.r_[shares * upper[-1], upper, grid, np.nextafter(grid[1:], 0)]  # bounds are where rounding shows
    out = [kernels.find(upper, table, x) for x in at]
    np.testing.assert_array_equal(out, kernels.find_numpy(upper, at))


@settings(max_examples=200)
@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e9)), min_size=24, max_size=24),
    st.floats(1e-3, 1.0),
)
def test_scaled_counts_have_the_mean_and_keep_their_ratios(counts: list[float], mean: float) -> None:
    table = np.array([counts, [1.0] * 24])
    if np.count_nonzero(table) < mean * table.size:
        return
    found = scale_to_mean(table, mean, "here").astype(np.float64)
    assert found.mean() == pytest.approx(mean, rel=1e-6)
    free = found[(found < 1) & (found > 1e-30)] / table[(found < 1) & (found > 1e-30)]
    np.testing.assert_allclose(free, free[0] if len(free) else 0, rtol=1e-5)
    assert np.all(found[table >= table.max()] == found.max())


def test_find_where_the_quotient_is_rounded_up() -> None:
    upper, size = np.arange(1.0, 50.0), 49  # one cell of the guide per weight
    table = np.empty(size, np.int64)
    kernels.guide(upper, table)
    for weight in (0.1, 0.3, 1 / 3, 0.7):
        below = np.nextafter(upper * weight, 0)
        out = [kernels.find(upper * weight, table, x) for x in below]
        np.testing.assert_array_equal(out, kernels.find_numpy(upper * weight, below))


def test_split_sum() -> None:
    assert kernels.split_sum(U, 0.5)[0] == kernels.split_sum_numpy(U, 0.5)[0]
    assert kernels.split_sum(U, 0.5)[1] == pytest.approx(kernels.split_sum_numpy(U, 0.5)[1], rel=1e-12)
