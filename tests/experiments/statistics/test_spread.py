"""The range of replicates at each time."""

import numpy as np
import pytest
from scipy.stats import norm

from oasis.errors import InputError
from oasis.experiments.statistics import spread


def test_mean_and_quantiles_by_hand():
    found = spread(np.arange(41.0)[:, None] * [1.0, 10.0])
    assert found.mean == pytest.approx([20, 200])
    assert found.low == pytest.approx([1, 10])
    assert found.high == pytest.approx([39, 390])
    assert found.n.tolist() == [41, 41]


def test_the_range_is_of_runs_and_does_not_narrow_with_more_of_them():
    draws = np.random.default_rng(0).normal(size=(20_000, 2))
    found = spread(draws)
    assert found.low == pytest.approx([norm.ppf(0.025)] * 2, abs=0.05)
    assert found.high == pytest.approx([norm.ppf(0.975)] * 2, abs=0.05)


def test_what_is_not_known_is_left_out():
    found = spread([[1, np.nan, np.nan], [3, 5, np.nan]])
    assert found.n.tolist() == [2, 1, 0]
    assert found.mean[:2].tolist() == [2, 5]
    assert found.low[1] == found.high[1] == 5
    assert np.isnan([found.mean[2], found.low[2], found.high[2]]).all()


def test_bad_input():
    with pytest.raises(InputError, match="shape"):
        spread([1, 2, 3])
    with pytest.raises(InputError, match="share"):
        spread([[1, 2]], share=95)
