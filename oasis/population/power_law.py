"""Power laws in the tails of degrees: exponent and where the tail begins.

After Clauset, Shalizi and Newman (2009), "Power-law distributions in empirical data", for whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import zeta

__all__ = ["PowerLaw", "fit_tail"]

F64 = npt.NDArray[np.float64]

_FEWEST = 50  # values in a tail, as below that any law fits (Clauset et al. 2009, section 3.1, say so of the estimate)
_CANDIDATES = 300  # beginnings that are tried: all of few, evenly spread in rank over many
_H = 1e-3  # of differences, which are then right to eight digits


@dataclass(frozen=True)
class PowerLaw:
    """Probability in proportion to ``x ** -exponent`` from `x_min` on.

    Attributes
    ----------
    exponent, error : float
        Of largest likelihood (their equation 3.5), and its standard error (3.6).
    x_min : int
        The one with the smallest distance.
    tail : int
        How many values are at least `x_min`.
    distance : float
        Of Kolmogorov and Smirnov (3.9).
    """

    exponent: float
    error: float
    x_min: int
    tail: int
    distance: float

    def survival(self, x: npt.ArrayLike) -> F64:
        """Return the probability of at least `x`, given at least `x_min`."""
        return np.asarray(zeta(self.exponent, x) / zeta(self.exponent, self.x_min))


def fit_tail(degrees: npt.NDArray[np.integer]) -> PowerLaw | None:
    """Return the law of the tail; None where fewer than 50 values are above 0, or all tails have one value only."""
    count = np.bincount(degrees[degrees > 0])
    value = np.flatnonzero(count).astype(np.float64)
    count = count[count > 0]
    if len(value) < 2:
        return None
    tail = np.cumsum(count[::-1])[::-1]
    tried = np.flatnonzero(tail[:-1] >= _FEWEST)
    if not len(tried):
        return None
    if len(tried) > _CANDIDATES:
        tried = tried[np.unique(np.linspace(0, len(tried) - 1, _CANDIDATES).astype(np.int64))]
    logs = np.cumsum((count * np.log(value))[::-1])[::-1]
    exponent, error = _likeliest(value[tried], logs[tried] / tail[tried], tail[tried])
    distance = np.array(
        [_distance(a, value[i:], count[i:], int(tail[i])) for a, i in zip(exponent, tried, strict=True)]
    )
    best = int(np.argmin(distance))
    i = tried[best]
    return PowerLaw(float(exponent[best]), float(error[best]), int(value[i]), int(tail[i]), float(distance[best]))


def _likeliest(x_min: F64, mean_log: F64, tail: npt.NDArray[np.integer]) -> tuple[F64, F64]:
    """Return exponents and errors for each x_min: Newton's method on the derivative of the likelihood per value."""
    exponent = np.minimum(1.0 + 1.0 / (mean_log - np.log(x_min - 0.5)), 30.0)  # their approximation, equation 3.7
    for _ in range(20):
        low, at, high = (np.log(zeta(exponent + step, x_min)) for step in (-_H, 0.0, _H))
        curvature = (high - 2.0 * at + low) / _H**2
        step = ((high - low) / (2.0 * _H) + mean_log) / curvature
        exponent = np.clip(exponent - step, (1.0 + exponent) / 2.0, 30.0)  # stays above 1
    return exponent, 1.0 / np.sqrt(tail * curvature)


def _distance(exponent: float, value: F64, count: npt.NDArray[np.integer], tail: int) -> float:
    """Return the greatest difference of the two cumulated distributions, over all whole numbers."""
    below = np.r_[0.0, np.cumsum(count)] / tail
    total = zeta(exponent, value[0])
    at = 1.0 - zeta(exponent, value + 1.0) / total
    before = 1.0 - zeta(exponent, value[1:]) / total  # just below the next value
    return float(max(np.abs(at - below[1:]).max(), np.abs(before - below[1:-1]).max(initial=0.0)))
