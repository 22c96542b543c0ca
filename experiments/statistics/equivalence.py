"""Equivalence: whether two arms differ by less than a margin that was declared beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics.intervals import MIN_REPLICATES, check_level
from oasis.experiments.statistics.pairs import known_pairs, paired_values

__all__ = ["EQUIVALENCES", "Claim", "Equivalence", "equivalence", "equivalence_table"]

EQUIVALENCES = pa.schema(
    [
        ("outcome", pa.large_string()),
        ("arm", pa.large_string()),
        ("baseline", pa.large_string()),
        ("margin", pa.float64()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),  # of the interval at 1 - 2 (1 - level), that lies within the margin if equivalent
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("p", pa.float64()),
        ("equivalent", pa.bool_()),  # null with fewer than 5 pairs
    ]
)
"""A row per claim that two arms do not differ."""


@dataclass(frozen=True)
class Claim:
    """A declared claim of no difference: ``|arm - baseline| < margin``, in the unit of the outcome."""

    outcome: str
    arm: str
    baseline: str
    margin: float


@dataclass(frozen=True)
class Equivalence:
    """Result of two one-sided tests; None where there are too few pairs.

    Attributes
    ----------
    estimate, low, high : float or None
        Mean difference and its interval at ``1 - 2 (1 - level)`` (90% for level 0.95).
    n : int
    p : float or None
        The larger one of the two one-sided tests.
    equivalent : bool or None
        Whether p is at most ``1 - level``. False means not shown, not that the arms differ.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None
    equivalent: bool | None


def equivalence(value: npt.ArrayLike, baseline: npt.ArrayLike, margin: float, level: float = 0.95) -> Equivalence:
    """Test by two one-sided paired t tests (Schuirmann 1987) whether the mean difference lies within ``+- margin``.

    Pairs are treated as in `oasis.experiments.statistics.paired_t`. Where all differences are the same, p is
    2^-n inside the margin (one-sided test by flipped signs around the nearer bound), 1 outside.

    Raises
    ------
    InputError
        If the margin is not positive and finite, or as in `paired_t`.
    """
    check_level(level)
    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"an equivalence margin must be a positive number in the outcome's unit, got {margin}")
    difference, differs = known_pairs(value, baseline)
    n = len(difference)
    if n < MIN_REPLICATES:
        return Equivalence(None, None, None, n, None, None)
    mean = float(difference.mean())
    if not differs:
        mean = float(difference[0])
        p = 2.0**-n if abs(mean) < margin else 1.0
        return Equivalence(mean, mean, mean, n, p, p <= 1 - level)
    error = float(difference.std(ddof=1)) / np.sqrt(n)
    p = float(stats.t.sf((margin - abs(mean)) / error, n - 1))
    half = float(stats.t.ppf(level, n - 1)) * error
    return Equivalence(mean, mean - half, mean + half, n, p, p <= 1 - level)


def equivalence_table(values: pl.DataFrame, claims: Sequence[Claim], *, level: float = 0.95) -> pa.Table:
    """Return one row of `EQUIVALENCES` per claim, in the order given; `values` as in `effects_table`."""
    found = [
        equivalence(*paired_values(values, claim.outcome, claim.arm, claim.baseline), claim.margin, level)
        for claim in claims
    ]
    columns = {
        **{name: [getattr(c, name) for c in claims] for name in ("outcome", "arm", "baseline", "margin")},
        **{name: [getattr(r, name) for r in found] for name in ("estimate", "low", "high", "n", "p", "equivalent")},
    }
    return pa.table(columns, EQUIVALENCES)
