"""Agreement, against statsmodels and the tables of its authors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as reference

from oasis.errors import InputError
from oasis.experiments.statistics import cohens_kappa, intraclass_correlation, jackknife, paired_t

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_kappa_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 300)
    b = np.where(rng.uniform(size=300) < 0.6, a, rng.integers(0, 4, 300))
    table = np.zeros((4, 4))
    np.add.at(table, (a, b), 1)
    assert cohens_kappa(a, b) == pytest.approx(reference(table).kappa)
    assert cohens_kappa(["x", "y"], ["x", "y"]) == 1
    assert np.isnan(cohens_kappa(["x"], ["x"]))
    assert np.isnan(cohens_kappa([], []))
    with pytest.raises(InputError, match="same length"):
        cohens_kappa([1, 2], [1])


def test_the_correlation_of_shrout_and_fleiss() -> None:
    assert intraclass_correlation(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)  # their table 4
    rng = np.random.default_rng(1)
    truth, noise = rng.normal(size=(4000, 1)), rng.normal(size=(4000, 2))
    assert intraclass_correlation(truth + noise) == pytest.approx(0.5, abs=0.04)
    assert intraclass_correlation(truth + noise + [0.0, 2.0]) == pytest.approx(
        1 / (1 + 1 + 2), abs=0.04
    )  # a harsh rater
    assert np.isnan(intraclass_correlation([[5, 5], [5, 5]]))
    assert np.isnan(intraclass_correlation([[5, 4]]))


def pooled_kappa(groups: Sequence[np.ndarray]) -> float:
    return cohens_kappa(*np.concatenate(groups, axis=1))


def test_the_jackknife_of_a_mean_is_student_s_interval() -> None:
    groups = np.random.default_rng(2).normal(size=(7, 4))
    found = jackknife(lambda some: float(np.mean(some)), list(groups))
    student = paired_t(groups.mean(axis=1), np.zeros(7))
    assert (found.estimate, found.low, found.high) == pytest.approx((student.estimate, student.low, student.high))
    four = jackknife(lambda some: float(np.mean(some)), list(groups[:4]))
    assert (four.low, four.high, four.n) == (None, None, 4)
    assert four.estimate is not None
    same = jackknife(lambda some: 0.3, list(groups))
    assert (same.low, same.high) == (0.3, 0.3)
    assert jackknife(lambda some: float("nan"), list(groups)).estimate is None
    assert jackknife(lambda some: float("nan") if len(some) < 7 else 1.0, list(groups)).low is None


def test_intervals_of_kappa_cover_the_truth_where_replicates_differ() -> None:
    """Second answers repeat the first with a chance of each replicate's own, 0.6 in the mean, else are drawn anew."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        repeats = rng.beta(6, 4, 10)
        groups = []
        for chance in repeats:
            first, anew = rng.integers(0, 2, (2, 40))
            groups.append(np.stack([first, np.where(rng.uniform(size=40) < chance, first, anew)]))
        found = jackknife(pooled_kappa, groups, within=(-1.0, 1.0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.6 <= found.high
    assert covered / 300 == pytest.approx(0.95, abs=0.035)
