"""Intervals against scipy, by how often they cover, and where differences have no spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics import Interval, bootstrap_t, mean_t, paired_t

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=5, max_size=30), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_t_interval_is_that_of_scipy(pairs, level):
    value, baseline = np.array(pairs).T
    if np.ptp(value - baseline) < 1e-3:
        return
    found = paired_t(value, baseline, level)
    expected = stats.ttest_rel(value, baseline)
    bounds = expected.confidence_interval(level)
    assert found.n == len(pairs)
    assert found.estimate == pytest.approx((value - baseline).mean(), rel=1e-9, abs=1e-9)
    assert (found.low, found.high, found.p) == pytest.approx((bounds.low, bounds.high, expected.pvalue), rel=1e-6)


def covered(interval_of, draw, truth, experiments=1000, n=10):
    generator = np.random.default_rng(7)
    count = 0
    for number in range(experiments):
        baseline = generator.normal(0, 3, n)  # shared by both arms, as draws are
        value = baseline + draw(generator, n)
        found = interval_of(value, baseline, number)
        count += found.low <= truth <= found.high
    return count


INTERVALS = {
    "t": lambda value, baseline, number: paired_t(value, baseline),
    "bootstrap-t": lambda value, baseline, number: bootstrap_t(
        value, baseline, np.random.default_rng(number), resamples=999
    ),
}


@pytest.mark.parametrize("name", INTERVALS)
@pytest.mark.parametrize("effect", [0.0, 0.7])
def test_intervals_cover_as_often_as_they_say(name, effect):
    count = covered(INTERVALS[name], lambda g, n: g.normal(effect, 1, n), effect)
    assert 929 <= count <= 971  # 950, and three standard deviations


def test_the_bootstrap_covers_where_t_does_not():
    def skewed(generator, n):
        return generator.lognormal(0, 1.2, n)

    truth = np.exp(1.2**2 / 2)
    t, bootstrap = (covered(INTERVALS[name], skewed, truth, n=15) for name in ("t", "bootstrap-t"))
    assert t < 850  # the case is one that needs the bootstrap
    assert bootstrap > t + 50


@given(st.lists(st.integers(-4, 6), min_size=5, max_size=12), st.integers(0, 5))
def test_the_bootstraps_p_and_interval_agree(differences, seed):
    found = bootstrap_t(np.array(differences), np.zeros(len(differences)), np.random.default_rng(seed), resamples=999)
    if np.ptp(differences) > 0:
        assert found.low <= found.estimate <= found.high
        if found.low > 0 or found.high < 0:
            assert found.p <= 0.05
        if found.p > 0.05:
            assert found.low <= 0 <= found.high


def test_the_bootstrap_follows_its_generator():
    value, baseline = np.arange(8.0), np.array([3, 1, 4, 1, 5, 9, 2, 6.0])
    first, again, other = (bootstrap_t(value, baseline, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_bound_that_nothing_bounds_is_infinite():
    # a third of the resamples of these have no spread
    found = bootstrap_t([0, 0, 0, 0, 1], np.zeros(5), np.random.default_rng(0))
    assert found.high == np.inf
    assert found.p > 0.05


@pytest.mark.parametrize("name", INTERVALS)
class TestDegenerate:
    def test_below_five_pairs_there_is_only_the_count(self, name):
        interval = INTERVALS[name]
        assert interval([1, 2, 3, 4], [0, 0, 0, 0], 0) == Interval(None, None, None, 4, None)
        assert interval([1, 2, 3, 4, np.nan], [0] * 5, 0) == Interval(None, None, None, 4, None)
        assert interval([], [], 0) == Interval(None, None, None, 0, None)
        assert interval([1, 2, 3, 4, 6], [0] * 5, 0).estimate is not None

    def test_a_pair_that_is_not_known_is_left_out_of_both_arms(self, name):
        value, baseline = [1, 2, 9, 3, 4, 7, 5], [0, np.nan, 1, 1, 1, 2, 2]
        without = [1, 9, 3, 4, 7, 5], [0, 1, 1, 1, 2, 2]
        assert INTERVALS[name](value, baseline, 3) == INTERVALS[name](*without, 3)

    def test_equal_arms(self, name):
        same = np.random.default_rng(0).normal(size=6)
        assert INTERVALS[name](same, same, 0) == Interval(0.0, 0.0, 0.0, 6, 1.0)

    def test_equal_differences(self, name):
        assert INTERVALS[name]([3, 4, 5, 6, 7], [1, 2, 3, 4, 5], 0) == Interval(2.0, 2.0, 2.0, 5, 2**-4)

    def test_differences_that_rounding_alone_sets_apart_are_equal(self, name):
        baseline = np.array([0.1, 0.2, 0.3, 0.7, 1e3])
        value = baseline + 0.1
        assert np.ptp(value - baseline) > 0
        found = INTERVALS[name](value, baseline, 0)
        assert found.low == found.high == pytest.approx(0.1)
        assert found.p == 2**-4

    def test_bad_input(self, name):
        with pytest.raises(InputError, match="infinite"):
            INTERVALS[name]([np.inf] * 5, [0] * 5, 0)
        with pytest.raises(InputError, match="one length"):
            INTERVALS[name]([1] * 5, [0] * 6, 0)


def test_levels():
    with pytest.raises(InputError, match="between 0 and 1"):
        paired_t([1] * 5, [0] * 5, 95)
    with pytest.raises(InputError, match="too few"):
        bootstrap_t([1] * 5, [0] * 5, np.random.default_rng(0), level=0.95, resamples=38)
    assert bootstrap_t([1, 2, 3, 4, 9], [0] * 5, np.random.default_rng(0), level=0.95, resamples=39).low is not None


def test_a_mean_that_only_rounding_left_is_none():
    assert np.mean(np.subtract([2.3, 1.9, 2.1, 2.4, 1.8], [2.1] * 5)) != 0
    assert paired_t([2.3, 1.9, 2.1, 2.4, 1.8], [2.1] * 5).estimate == 0
    assert paired_t([2.3, 1.9, 2.1, 2.4, 1.8 + 1e-6], [2.1] * 5).estimate == pytest.approx(2e-7, rel=1e-6)


def test_a_mean_has_the_interval_of_the_t_test_and_none_of_too_few():
    values = np.array([1.0, 2.0, 4.0, 4.5, 7.0, np.nan])
    at = mean_t(values, 0.9)
    known = values[:5]
    low, high = stats.t.interval(0.9, 4, known.mean(), stats.sem(known))
    assert (at.n, at.estimate) == (5, pytest.approx(3.7))
    assert (at.low, at.high) == (pytest.approx(low), pytest.approx(high))
    few = mean_t([1.0, 3.0])
    assert (few.n, few.estimate, few.low, few.high) == (2, 2.0, None, None)
    assert mean_t([]).estimate is None
