"""Parameters inferred from simulations: those draws from the prior are kept whose outcome is near the data.

Rejection by distance (Pritchard et al. 1999, "Population growth of human Y chromosomes"; Beaumont, Zhang and Balding
2002, Genetics 162:2025), with cross-validation (Csillery, Francois and Blum 2012, "abc: an R package for approximate
Bayesian computation").

Axes: ``n`` draws, ``p`` parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError

__all__ = ["IDENTIFIED", "Posterior", "cross_validated", "nearest", "posterior"]

F64 = npt.NDArray[np.float64]

IDENTIFIED = 0.5
"""A parameter counts as identified where its standard deviation is at most this share of the prior's, and its error in
cross-validation too."""


@dataclass(frozen=True)
class Posterior:
    """What the kept draws say, a value per parameter.

    Attributes
    ----------
    mean, low, high : ndarray, shape (p,)
        Mean and central interval of the kept draws.
    narrowed : ndarray, shape (p,)
        Their standard deviation over that of all draws: near 1 where the data say nothing.
    correlation : ndarray, shape (p, p)
        Among the kept draws: near 1 or -1 where only a combination of two parameters is known.
    """

    mean: F64
    low: F64
    high: F64
    narrowed: F64
    correlation: F64


def nearest(distance: npt.ArrayLike, share: float, least: int = 20) -> npt.NDArray[np.int64]:
    """Return the draws that are kept, nearest first: `share` of those with a distance, and at least `least`.

    Raises
    ------
    InputError
        If fewer than `least` draws have a distance.
    """
    away = np.asarray(distance, np.float64)
    known = int((~np.isnan(away)).sum())
    if known < least:
        raise InputError(f"{known} draws can be compared with the data; {least} are needed at least")
    return np.argsort(away, kind="stable")[: max(least, round(share * known))]


def posterior(draws: npt.ArrayLike, kept: npt.ArrayLike, level: float = 0.95) -> Posterior:
    """Return what the kept draws say, the prior being all draws.

    Parameters
    ----------
    draws : array_like, shape (n, p)
    kept : array_like of int
        Rows of `draws`.
    level : float
        Of the interval: quantiles, interpolated linearly, so with few draws it is rather too narrow.
    """
    every = np.asarray(draws, np.float64)
    some = every[np.asarray(kept)]
    low, high = np.quantile(some, [(1 - level) / 2, (1 + level) / 2], axis=0)
    correlation = np.atleast_2d(np.corrcoef(some, rowvar=False))
    return Posterior(some.mean(axis=0), low, high, some.std(axis=0, ddof=1) / every.std(axis=0, ddof=1), correlation)


def cross_validated(
    draws: npt.ArrayLike,
    truths: npt.ArrayLike,
    distances: npt.ArrayLike,
    share: float,
    least: int = 20,
    level: float = 0.95,
) -> tuple[F64, F64]:
    """Take some draws for the truth, in turn, and infer each from all others.

    Parameters
    ----------
    draws : array_like, shape (n, p)
    truths : array_like of int, shape (t,)
        Rows of `draws`: those that are kept, to see what can be known where the data are.
    distances : array_like, shape (t, n)
        Of each draw's outcome (columns) from that of each truth (rows); NaN where they cannot be compared.

    Returns
    -------
    error : ndarray, shape (p,)
        Mean squared error of the posterior mean over the variance of the prior: 0 is exact, 1 no better than the
        prior's mean (Csillery, Francois and Blum 2012).
    covered : ndarray, shape (p,)
        Share of truths inside their interval; `level` if the intervals are right.
    """
    every, rows, away = np.asarray(draws, np.float64), np.asarray(truths), np.array(distances, np.float64)
    away[np.arange(len(rows)), rows] = np.nan
    found = [posterior(every, nearest(each, share, least), level) for each in away]
    means, lows, highs = (np.stack([getattr(f, name) for f in found]) for name in ("mean", "low", "high"))
    error = ((means - every[rows]) ** 2).mean(axis=0) / every.var(axis=0)
    return error, ((lows <= every[rows]) & (every[rows] <= highs)).mean(axis=0)
