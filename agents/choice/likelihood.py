"""Likelihood of recorded choices under the multinomial logit, where the occasion itself may not have arisen.

Axes: ``r`` occasions, ``f`` features, ``o`` options (0 is "nothing", utility 0).

With e the probability that an occasion arises (the post was examined) and P(k) = exp V(k) / (1 + sum exp V(j)), V = B x
(McFadden 1974), an action k has probability e P(k), and nothing has 1 - e + e P(0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

__all__ = ["PRIOR_SD", "Estimate", "estimate", "log_likelihoods", "probabilities"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

PRIOR_SD = 3.0
"""Standard deviation of the normal prior round the coefficients that a fit begins from: 3 is a factor of 20 in odds.

It keeps the coefficients of actions that nobody took finite (ridge penalty, Hoerl and Kennard 1970)."""


@dataclass(frozen=True)
class Estimate:
    """Coefficients that fit.

    Attributes
    ----------
    coefficients : ndarray, shape (o, f), float64
    free : ndarray, shape (o, f), bool
        Which were fitted; the others are as they were.
    error : ndarray, shape (o, f), float64
        Standard errors, robust to likeness of an agent's choices (sandwich, White 1982; clusters, Liang and Zeger
        1986); NaN where not fitted.
    known : ndarray, shape (o, f), bool
        Whether the data say more than the prior: the posterior variance is less than half of the prior's.
    log_likelihood : float
        Without the prior.
    """

    coefficients: F64
    free: Bool
    error: F64
    known: Bool
    log_likelihood: float


def probabilities(coefficients: F64, features: F64, available: Bool) -> F64:
    """Return P of each option given that the occasion arose, shape (r, o)."""
    utility = features @ coefficients.T
    utility[~available] = -np.inf
    utility -= utility.max(axis=1, keepdims=True)
    odds = np.exp(utility)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def log_likelihoods(chances: F64, chosen: I64, examined: F64) -> F64:
    """Return the log-likelihood of each occasion, shape (r,)."""
    taken = np.take_along_axis(chances, chosen[:, None], axis=1)[:, 0]
    likely = np.where(chosen > 0, examined * taken, 1 - examined + examined * taken)
    return np.log(np.maximum(likely, 1e-300))


def estimate(
    start: F64, features: F64, available: Bool, chosen: I64, examined: F64, agent: I64, free: Bool, errors: bool = True
) -> Estimate:
    """Return the coefficients of the largest penalised likelihood, those of `free` fitted.

    Parameters
    ----------
    start : ndarray, shape (o, f)
        Where to begin, and the mean of the prior.
    errors : bool
        Whether standard errors are wanted.
    """
    at = np.nonzero(free)

    def table(values: F64) -> F64:
        full = start.copy()
        full[at] = values
        return full

    def slopes(values: F64) -> tuple[F64, F64]:
        """Return log-likelihoods (r,) and their derivatives by utilities (r, o)."""
        chances = probabilities(table(values), features, available)
        found = log_likelihoods(chances, chosen, examined)
        nothing = chances[:, 0]
        arose = np.where(chosen > 0, 1.0, examined * nothing / np.maximum(1 - examined + examined * nothing, 1e-300))
        by_utility = -chances
        by_utility[np.arange(len(chosen)), chosen] += 1
        return found, by_utility * arose[:, None]

    def objective(values: F64) -> tuple[float, F64]:
        found, by_utility = slopes(values)
        off = (values - start[at]) / PRIOR_SD**2
        penalty = 0.5 * float(off @ (values - start[at]))
        return penalty - float(found.sum()), off - (by_utility.T @ features)[at]

    solved = minimize(objective, start[at], jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-9})
    best = np.asarray(solved.x)
    found, by_utility = slopes(best)
    error, known = np.full(start.shape, np.nan), np.zeros(start.shape, np.bool_)
    if errors and len(best):
        hessian = _hessian(objective, best)
        inverse = np.linalg.inv(hessian)
        scores = _by_agent(by_utility, features, agent, at)
        clusters = len(scores)
        spread = scores.T @ scores * (clusters / max(clusters - 1, 1))
        error[at] = np.sqrt(np.maximum(np.diag(inverse @ spread @ inverse), 0))
        known[at] = np.diag(inverse) < 0.5 * PRIOR_SD**2
    return Estimate(table(best), free, error, known, float(found.sum()))


def _hessian(objective: object, at: F64) -> F64:
    """Return the derivative of the objective's gradient, by central differences."""
    size = 1e-4
    columns = []
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = size
        columns.append((objective(at + step)[1] - objective(at - step)[1]) / (2 * size))  # type: ignore[operator]
    found = np.stack(columns, axis=1)
    return np.asarray((found + found.T) / 2)


def _by_agent(by_utility: F64, features: F64, agent: I64, at: tuple[I64, ...]) -> F64:
    """Return each agent's sum of derivatives by the fitted coefficients, shape (agents, fitted)."""
    distinct, row = np.unique(agent, return_inverse=True)
    out = np.empty((len(distinct), len(at[0])))
    for column, (option, feature) in enumerate(zip(*at, strict=True)):
        out[:, column] = np.bincount(row, by_utility[:, option] * features[:, feature], len(distinct))
    return out
