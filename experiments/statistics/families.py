"""Families of comparisons: q values, declared beforehand and adjusted within each family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError

__all__ = ["benjamini_hochberg", "within_families"]

F64 = npt.NDArray[np.float64]


def benjamini_hochberg(p: npt.ArrayLike) -> F64:
    """Return the q value of each p in one family: the smallest false discovery rate at which it is rejected.

    Benjamini and Hochberg (1995): ``q(i) = min over j >= i of p(j) m / j`` for the ordered p, at most 1. A NaN (no
    test was made) stays NaN and does not count in m.

    Parameters
    ----------
    p : array_like, shape (tests,)

    Raises
    ------
    InputError
        If a p lies outside 0 to 1.
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    tested = values[known]
    if ((tested < 0) | (tested > 1)).any():
        raise InputError(f"p must lie between 0 and 1, got {tested[(tested < 0) | (tested > 1)][0]}")
    order = np.argsort(tested, kind="stable")
    scaled = tested[order] * len(tested) / np.arange(1, len(tested) + 1)
    adjusted = np.empty(len(tested))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    q = np.full(values.shape, np.nan)
    q[known] = adjusted
    return q


def within_families(p: npt.ArrayLike, families: Sequence[str | None]) -> F64:
    """Return q values (see `benjamini_hochberg`), each family by itself; NaN for tests of no family."""
    values = np.asarray(p, np.float64)
    names = np.array(families, object)
    if values.shape != names.shape:
        raise InputError(f"every p needs its family: {values.size} p, {names.size} families")
    q = np.full(values.shape, np.nan)
    for family in dict.fromkeys(families):
        if family is not None:
            mine = names == family
            q[mine] = benjamini_hochberg(values[mine])
    return q
