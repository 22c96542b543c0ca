"""How many follow each generated agent, whom it follows back, and how many it follows without being followed back.

Axes: ``n`` agents, ``g`` groups. All are expectations, in follows; `oasis.population.follows` draws whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from oasis.kernels import population as kernels
from oasis.kernels import rank
from oasis.randomness import Draws, Keys

__all__ = ["Expected", "FollowParameters", "assortativity", "expect", "within_for"]

F64 = npt.NDArray[np.float64]

MOST_OF_ALL = 0.5  # of all others follow the most popular agent at most, as the power law has no end of its own
DENSEST = 0.25  # of all others are followed on average at most: small populations have no room for more


class FollowParameters(Protocol):
    """What of `GenerateParameters` shapes the graph."""

    mean_follows: float
    follows_sigma: float
    popularity_exponent: float
    reciprocity: float
    assortativity: float
    triadic_closure: float


@dataclass(frozen=True)
class Expected:
    """Expected follows of each agent, shape (n,) each.

    Attributes
    ----------
    followers : ndarray
        All that the agent receives.
    mutual : ndarray
        Those that are mutual.
    one_way : ndarray
        Those that it makes and that are not returned.
    """

    followers: F64
    mutual: F64
    one_way: F64

    @property
    def weights(self) -> tuple[F64, F64]:
        """By what mutual and one-way follows are drawn."""
        return self.mutual, np.maximum(self.followers - self.mutual, 0.0)


def expect(draws: Draws, keys: Keys, parameters: FollowParameters) -> Expected:
    """Return what each agent can expect.

    Followers are Pareto with density exponent a, ``u^(-1 / (a - 1))`` (inversion), so the in-degree has this tail: the
    fitness model of Caldarelli et al. (2002), with a directed edge. At most `MOST_OF_ALL` follow one agent.

    Of its followers, an agent follows a share ``sqrt(reciprocity)`` back, up to a number that is the same for all and
    that makes the share of mutual edges what is asked; so the popular return fewer. One-way follows are lognormal.
    """
    n = len(keys)
    mean = min(parameters.mean_follows, DENSEST * (n - 1))
    weight, spread = np.empty(n), np.empty(n)
    rank.log(draws.uniform("population.popularity", 0, keys), weight)
    kernels.exp(weight * (-1.0 / (parameters.popularity_exponent - 1.0)), weight)
    followers = _capped(weight, mean * n, MOST_OF_ALL * (n - 1))
    share = parameters.reciprocity**0.5
    mutual = share * np.minimum(followers, _limit(followers, share))

    sigma = parameters.follows_sigma
    kernels.normal(
        draws.uniform("population.follows", 0, keys, 0), draws.uniform("population.follows", 0, keys, 1), spread
    )
    kernels.exp(sigma * spread, spread)
    one_way = _capped(spread, (1.0 - parameters.reciprocity) * mean * n, MOST_OF_ALL * (n - 1))
    return Expected(followers, mutual, one_way)


def _capped(weight: F64, total: float, cap: float) -> F64:
    """Return ``min(cap, c * weight)`` with the one factor c that makes the sum `total` (below ``n * cap``)."""
    falling = np.sort(weight)[::-1]
    rest = np.cumsum(falling[::-1])[::-1]  # NumPy's sum depends on the processor, this does not
    clipped = np.arange(len(weight))
    factor = np.maximum(total - clipped * cap, 0.0) / rest  # if so many of the largest are clipped
    enough = factor * falling <= cap
    return np.asarray(np.minimum(cap, factor[np.argmax(enough)] * weight)) if total > 0 else np.zeros(len(weight))


def _limit(values: F64, share: float) -> float:
    """Return the limit at which ``min(values, limit)`` keeps a share of their sum."""
    rising = np.sort(values)
    below = np.r_[0.0, np.cumsum(rising)]
    above = len(rising) - np.arange(len(rising) + 1)
    wanted = share * below[-1]
    if share >= 1.0:
        return float(rising[-1])
    kept = below[:-1] + above[:-1] * rising  # with the limit at each value
    at = int(np.searchsorted(kept, wanted))
    return float((wanted - below[at]) / above[at])


def assortativity(mixing: F64) -> float:
    """Return the coefficient of a mixing matrix whose sum is 1, shape (g, g): Newman (2003), equation 2; NaN if all
    edges are in one group."""
    chance = float(np.cumsum(mixing.sum(axis=1) * mixing.sum(axis=0))[-1])
    return (float(np.trace(mixing)) - chance) / (1.0 - chance) if chance < 1.0 else float("nan")


def within_for(wanted: float, reciprocity: float, mutual: F64, sent: F64, received: F64) -> float:
    """Return the share of follows to draw within the own group so that the coefficient is `wanted`, at most 1.

    Parameters
    ----------
    mutual, sent, received : ndarray, shape (g,)
        Each group's share of mutual edges, of one-way edges sent, and of the weights by which those are drawn.
    """
    if np.count_nonzero(mutual + sent) < 2:
        return 0.0

    def reached(within: float) -> float:
        both = within * np.diag(mutual) + (1.0 - within) * np.outer(mutual, mutual)
        one = within * np.diag(sent) + (1.0 - within) * np.outer(sent, received)
        return assortativity(reciprocity * both + (1.0 - reciprocity) * one)

    low, high = 0.0, 1.0
    for _ in range(50):  # the coefficient rises with the share
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < wanted else (low, middle)
    return high
