"""How well answers agree with themselves when the same is asked twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError

__all__ = ["cohens_kappa", "intraclass_correlation"]


def cohens_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the agreement of two series of categories beyond chance: ``(p - e) / (1 - e)``.

    p is the share of pairs that agree, e what it would be if each drew from its own shares (Cohen 1960, "A coefficient
    of agreement for nominal scales").

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Categories; no missing ones.

    Returns
    -------
    float
        At most 1; 0 as by chance. NaN without pairs, or where both have one and the same category only.

    Raises
    ------
    InputError
        If they differ in length.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"two series of the same length are needed, got shapes {a.shape} and {b.shape}")
    if not len(a):
        return float("nan")
    categories = np.union1d(a, b)
    shares = [(series[:, None] == categories).mean(axis=0) for series in (a, b)]
    expected = float(shares[0] @ shares[1])
    agreed = float((a == b).mean())
    return float("nan") if expected == 1 else (agreed - expected) / (1 - expected)


def intraclass_correlation(ratings: npt.ArrayLike) -> float:
    """Return ICC(2,1): the share of the variance of single ratings that is between what is rated.

    ``(B - E) / (B + (k - 1) E + k (J - E) / n)`` of the mean squares between rows, between columns and of the rest
    (Shrout and Fleiss 1979, "Intraclass correlations: uses in assessing rater reliability"): a column that rates higher
    throughout counts as disagreement.

    Parameters
    ----------
    ratings : array_like, shape (n, k)
        What is rated, by rating; no missing ones.

    Returns
    -------
    float
        At most 1. NaN with fewer than two rows or columns, or where all ratings are the same.
    """
    values = np.asarray(ratings, np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or np.ptp(values) == 0:
        return float("nan")
    n, k = values.shape
    rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
    between = k * ((rows - mean) ** 2).sum() / (n - 1)
    raters = n * ((columns - mean) ** 2).sum() / (k - 1)
    rest = ((values - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (k - 1))
    return float((between - rest) / (between + (k - 1) * rest + k * (raters - rest) / n))
