"""Rejection against posteriors in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from oasis.errors import InputError
from oasis.experiments.statistics import cross_validated, nearest, posterior

NOISE = 0.5


def simulated(draws: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of two parameters from [-5, 5], and an outcome that the first moves, with normal noise."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-5, 5, (draws, 2))
    return values, values[:, 0] + NOISE * rng.standard_normal(draws)


def test_the_posterior_of_a_normal_mean() -> None:
    values, outcome = simulated(40_000)
    kept = nearest(np.abs(outcome - 1.0), 0.01)
    found = posterior(values, kept)
    assert len(kept) == 400
    assert found.mean[0] == pytest.approx(1.0, abs=3 * NOISE / 20)  # an even prior: normal around the outcome
    assert found.narrowed[0] == pytest.approx(NOISE / (10 / np.sqrt(12)), rel=0.15)
    assert (found.low[0], found.high[0]) == pytest.approx((1 - 1.96 * NOISE, 1 + 1.96 * NOISE), abs=0.2)
    assert found.narrowed[1] == pytest.approx(1.0, abs=0.1)  # nothing was learnt of the other
    assert abs(found.correlation[0, 1]) < 0.2


def test_only_a_sum_is_known() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (20_000, 2))
    found = posterior(values, nearest(np.abs(values.sum(axis=1)), 0.01))
    assert found.correlation[0, 1] < -0.95
    assert (found.narrowed > 0.9).all()


def test_cross_validation_tells_what_can_be_known() -> None:
    values, outcome = simulated(600, seed=2)
    truths = np.arange(0, 600, 2)
    error, covered = cross_validated(values, truths, np.abs(outcome[truths, None] - outcome), 0.05)
    assert error[0] == pytest.approx(NOISE**2 / (100 / 12), rel=0.35)
    assert error[1] == pytest.approx(1.0, abs=0.15)
    assert 0.88 < covered[0] < 0.99
    assert 0.88 < covered[1] < 0.99


def test_draws_that_cannot_be_compared_are_never_kept() -> None:
    distance = np.arange(60.0)
    distance[::2] = np.nan
    assert nearest(distance, 0.1).tolist() == list(range(1, 41, 2))  # at least 20
    with pytest.raises(InputError, match="30 draws .* 31 are needed"):
        nearest(distance, 0.1, least=31)
