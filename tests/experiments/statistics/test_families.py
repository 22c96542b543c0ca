"""q values against statsmodels and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from oasis.errors import InputError
from oasis.experiments.statistics import benjamini_hochberg, within_families

P = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(P)
def test_q_is_that_of_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p), rel=1e-12)


def test_q_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p = np.random.default_rng(0).beta(0.3, 1, 50)
    assert benjamini_hochberg(p) == pytest.approx(multitest.multipletests(p, method="fdr_bh")[1], rel=1e-12)


@given(P, st.integers(1, 5))
def test_what_was_not_tested_does_not_count(p, more):
    with_nan = np.concatenate([p, np.full(more, np.nan)])
    q = benjamini_hochberg(with_nan)
    assert np.array_equal(q[: len(p)], benjamini_hochberg(p))
    assert np.isnan(q[len(p) :]).all()


def test_families_are_adjusted_by_themselves():
    q = within_families([0.01, 0.04, 0.03, 0.5, 0.02], ["a", "b", "a", "b", None])
    assert q[:4] == pytest.approx([0.02, 0.08, 0.03, 0.5])
    assert np.isnan(q[4])


def test_none_and_bad():
    assert benjamini_hochberg([]).shape == (0,)
    with pytest.raises(InputError, match=r"got 1\.5"):
        benjamini_hochberg([0.1, 1.5])
    with pytest.raises(InputError, match="2 p, 1 families"):
        within_families([0.1, 0.2], ["a"])
