"""Agreement, against statsmodels and the tables of its authors."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as reference

from oasis.errors import InputError
from oasis.experiments.statistics import cohens_kappa, intraclass_correlation

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
