"""Choices by given rates: so many of an action per activation, whatever an agent is shown, on targets drawn evenly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import rank

__all__ = ["rated_utilities"]

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_MOST = 0.999  # of an occasion: something must be left for doing nothing, and logarithms finite


def rated_utilities(rates: F64, available: Bool, agents: npt.NDArray[np.uint64]) -> F64:
    """Return utilities under which an agent's expected number of each action, over its occasions, is its rate.

    Of ``m`` occasions at which an agent can do an action, each has the probability ``rate / m``. Where those of all
    actions add up to more than 0.999 at an occasion they are cut in proportion, so rates are missed from below.

    Parameters
    ----------
    rates : ndarray, shape (o,), float64
        Per activation; that of option 0, nothing, is not looked at.
    available : ndarray, shape (r, o), bool
    agents : ndarray, shape (r,), uint64
        Whose occasion each is.

    Returns
    -------
    ndarray, shape (r, o), float64
        Log-odds against nothing, -inf where not available or with rate 0.
    """
    owners, row = np.unique(agents, return_inverse=True)
    share = np.zeros(available.shape)
    for option in range(1, available.shape[1]):
        occasions = np.bincount(row, weights=available[:, option], minlength=len(owners))[row]
        np.divide(rates[option], occasions, out=share[:, option], where=available[:, option])
    total = np.zeros(len(available))
    for option in range(1, available.shape[1]):  # in the order of options, whatever the machine adds at once
        total += share[:, option]
    share *= (_MOST / np.maximum(total, _MOST))[:, None]
    share[:, 0] = 1.0 - np.minimum(total, _MOST)
    there = share > 0
    logs = np.empty(int(there.sum()))
    rank.log(share[there], logs)
    out = np.full(available.shape, -np.inf)
    out[there] = logs
    return out
