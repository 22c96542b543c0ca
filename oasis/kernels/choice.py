"""Discrete choice: similarities, utilities, and the option of each occasion.

Axes: ``r`` occasions (an agent before a post, a comment, an author, or a blank page), ``f`` features, ``o`` options.
All sums run in the order of their columns, in float64; rows do not meet.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = [
    "choose",
    "choose_numpy",
    "pair_products",
    "pair_products_numpy",
    "signed_log1p",
    "signed_log1p_numpy",
    "utilities",
    "utilities_numpy",
]

I8 = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel()
def pair_products(a: I8, b: I8, rows: I64, columns: I64, out: I64) -> None:
    """Fill ``out[i]`` with the inner product of ``a[rows[i]]`` and ``b[columns[i]]``, exactly."""
    for i in range(len(rows)):
        x, y = a[rows[i]], b[columns[i]]
        total = np.int32(0)
        for k in range(len(x)):
            total += np.int32(x[k]) * np.int32(y[k])
        out[i] = total


def pair_products_numpy(a: I8, b: I8, rows: I64, columns: I64) -> I64:
    """Return what `pair_products` fills in, with NumPy alone."""
    return np.einsum("ij,ij->i", a[rows].astype(np.int64), b[columns].astype(np.int64))


@kernel()
def signed_log1p(values: F64, out: F64) -> None:
    """Fill `out` with sign(x) log(1 + |x|)."""
    for i in range(len(values)):
        x = values[i]
        out[i] = math.log1p(x) if x >= 0.0 else -math.log1p(-x)


def signed_log1p_numpy(values: F64) -> F64:
    """Return what `signed_log1p` fills in, with NumPy alone (log1p may differ by an ulp)."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), np.float64)


@kernel()
def utilities(features: F64, coefficients: F64, available: Bool, out: F64) -> None:
    """Fill `out` (r, o) with the sum over f of features (r, f) times coefficients (o, f); -inf where not available."""
    for i in range(features.shape[0]):
        for j in range(coefficients.shape[0]):
            if not available[i, j]:
                out[i, j] = -np.inf
                continue
            total = 0.0
            for k in range(features.shape[1]):
                total += features[i, k] * coefficients[j, k]
            out[i, j] = total


def utilities_numpy(features: F64, coefficients: F64, available: Bool) -> F64:
    """Return what `utilities` fills in, with NumPy alone."""
    total = np.zeros(available.shape)
    for k in range(features.shape[1]):
        total += features[:, k, None] * coefficients[None, :, k]
    return np.where(available, total, -np.inf)


@kernel()
def choose(utility: F64, noise: F64, option: I64, probability: F64, nothing: F64) -> None:
    """Choose the option with the largest utility plus noise; option 0 is "nothing".

    With standard Gumbel noise this draws from the multinomial logit (McFadden 1974),
    ``P(j) = exp(V_j) / sum_k exp(V_k)``.

    Parameters
    ----------
    utility : ndarray, shape (r, o), float64
        -inf for options that are not available; option 0 always is.
    noise : ndarray, shape (r, o), float64
    option : ndarray, shape (r,), int64
        Filled with the chosen column.
    probability, nothing : ndarray, shape (r,), float64
        Filled with the probability of the chosen column, and of column 0.
    """
    for i in range(utility.shape[0]):
        best, highest = 0, utility[i, 0]
        for j in range(1, utility.shape[1]):
            if utility[i, j] + noise[i, j] > utility[i, best] + noise[i, best]:
                best = j
            if utility[i, j] > highest:
                highest = utility[i, j]
        total = 0.0
        for j in range(utility.shape[1]):
            total += math.exp(utility[i, j] - highest)
        option[i] = best
        probability[i] = math.exp(utility[i, best] - highest) / total
        nothing[i] = math.exp(utility[i, 0] - highest) / total


def choose_numpy(utility: F64, noise: F64) -> tuple[I64, F64, F64]:
    """Return what `choose` fills in, with NumPy alone (exp may differ by an ulp)."""
    option = np.argmax(utility + noise, axis=1)
    weight = np.exp(utility - utility.max(axis=1, keepdims=True))
    share = weight / weight.sum(axis=1, keepdims=True)
    return option, np.take_along_axis(share, option[:, None], axis=1)[:, 0], share[:, 0]
