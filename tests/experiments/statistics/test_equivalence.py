"""Equivalence against statsmodels and its definition, and how often it errs."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics import EQUIVALENCES, Claim, Equivalence, equivalence, equivalence_table


def pairs(shift, n=12, seed=0):
    generator = np.random.default_rng(seed)
    baseline = generator.normal(0, 3, n)
    return baseline + generator.normal(shift, 1, n), baseline


@pytest.mark.parametrize("shift", [-2.0, -0.4, 0.0, 0.3, 5.0])
@pytest.mark.parametrize("margin", [0.2, 1.0, 4.0])
def test_p_is_that_of_statsmodels(shift, margin):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats", reason="statsmodels is not installed")
    value, baseline = pairs(shift)
    expected = weightstats.ttost_paired(value, baseline, -margin, margin)[0]
    assert equivalence(value, baseline, margin).p == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("shift", [-1.2, 0.0, 0.4, 0.9])
def test_p_and_interval_are_two_one_sided_tests(shift):
    value, baseline = pairs(shift)
    found = equivalence(value, baseline, 1.0)
    difference = value - baseline
    tests = [
        stats.ttest_1samp(difference, -1.0, alternative="greater").pvalue,
        stats.ttest_1samp(difference, 1.0, alternative="less").pvalue,
    ]
    assert found.p == pytest.approx(max(tests))
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_rel(value, baseline).confidence_interval(0.9)))
    assert found.equivalent == (found.p <= 0.05) == (found.low > -1 and found.high < 1)


def test_arms_at_the_margin_pass_no_more_often_than_stated():
    passed = sum(equivalence(*pairs(1.0, seed=seed), 1.0).equivalent for seed in range(400))
    assert 10 <= passed <= 31  # 400 x 0.05, and three standard deviations
    assert sum(equivalence(*pairs(0.0, n=20, seed=seed), 1.0).equivalent for seed in range(100)) > 90


def test_degenerate_pairs():
    few = equivalence([1, 1, 1, 1], [1, 1, 1, 1], 0.5)
    assert few == Equivalence(None, None, None, 4, None, None)
    same = np.arange(5.0)
    assert equivalence(same, same, 0.5) == Equivalence(0.0, 0.0, 0.0, 5, 2**-5, True)
    assert equivalence(same + 2, same, 0.5) == Equivalence(2.0, 2.0, 2.0, 5, 1.0, False)
    assert equivalence(same + 2, same, 2.0).equivalent is False  # the margin itself is outside


@pytest.mark.parametrize("margin", [0, -1, float("nan"), float("inf")])
def test_a_margin_is_a_positive_number(margin):
    with pytest.raises(InputError, match="margin must be a positive number"):
        equivalence([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], margin)


def test_the_table_has_a_row_per_claim():
    rows = [
        {"arm": arm, "replicate": r, "outcome": "scale", "value": float(v)}
        for arm, values in zip(("a", "b"), pairs(0.1), strict=True)
        for r, v in enumerate(values)
    ]
    table = equivalence_table(pl.DataFrame(rows), [Claim("scale", "a", "b", 2.0), Claim("scale", "a", "b", 0.01)])
    assert table.schema == EQUIVALENCES
    assert table["equivalent"].to_pylist() == [True, False]
    assert table["estimate"][0].as_py() == pytest.approx(equivalence(*pairs(0.1), 2.0).estimate)
