"""Effects: paired differences between arms over replicates, with intervals, p and q."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa

from oasis.errors import InputError
from oasis.experiments.statistics.families import within_families
from oasis.experiments.statistics.intervals import Interval, bootstrap_t, paired_t
from oasis.experiments.statistics.pairs import paired_values
from oasis.randomness import Draws

__all__ = ["EFFECTS", "Contrast", "Method", "effects_table"]

EFFECTS = pa.schema(
    [
        ("outcome", pa.large_string()),
        ("arm", pa.large_string()),
        ("baseline", pa.large_string()),
        ("estimate", pa.float64()),  # mean of arm - baseline over pairs; null with fewer than 5 pairs
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),  # pairs with both values
        ("p", pa.float64()),  # two-sided, of no difference
        ("q", pa.float64()),  # within the family; null outside families
    ]
)
"""``effects.parquet``: a row per contrast."""

Method = Literal["t", "bootstrap-t"]


@dataclass(frozen=True)
class Contrast:
    """A declared comparison of one outcome in two arms.

    Attributes
    ----------
    family : str or None
        Comparisons that answer one question together; their q is computed together. None: no q.
    """

    outcome: str
    arm: str
    baseline: str
    family: str | None = None


def effects_table(
    values: pl.DataFrame,
    contrasts: Sequence[Contrast],
    *,
    method: Method = "t",
    level: float = 0.95,
    seed: int = 0,
) -> pa.Table:
    """Return one row of `EFFECTS` per contrast, in the order given.

    A row with fewer than `MIN_REPLICATES` pairs has nulls and its `n`, and does not count in its family. A bootstrap's
    resamples follow from the seed and the names of the contrast, so a further contrast leaves the others as they are.

    Parameters
    ----------
    values : polars.DataFrame
        Columns of `oasis.experiments.statistics.VALUES`.
    method : {"t", "bootstrap-t"}
        See `oasis.experiments.statistics.intervals`.

    Raises
    ------
    InputError
        If an outcome or arm is not there, a replicate stands twice, a contrast stands twice, or a value is infinite.
    """
    if method not in get_args(Method):
        raise InputError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
    if len({(c.outcome, c.arm, c.baseline) for c in contrasts}) < len(contrasts):
        raise InputError("a contrast (outcome, arm, baseline) is declared twice; it belongs to one family")
    found = [_estimate(values, contrast, method, level, seed) for contrast in contrasts]
    p = np.array([np.nan if row.p is None else row.p for row in found], np.float64)
    q = within_families(p, [contrast.family for contrast in contrasts])
    columns = {
        **{name: [getattr(contrast, name) for contrast in contrasts] for name in ("outcome", "arm", "baseline")},
        **{name: [getattr(row, name) for row in found] for name in ("estimate", "low", "high", "n", "p")},
        "q": [None if np.isnan(value) else float(value) for value in q],
    }
    return pa.table(columns, EFFECTS)


def _estimate(values: pl.DataFrame, contrast: Contrast, method: Method, level: float, seed: int) -> Interval:
    value, base = paired_values(values, contrast.outcome, contrast.arm, contrast.baseline)
    if method == "t":
        return paired_t(value, base, level)
    names = "\x1f".join(("effects.bootstrap", contrast.outcome, contrast.arm, contrast.baseline))
    generator = np.random.Generator(np.random.Philox(int(Draws(seed).key(names, 0))))
    return bootstrap_t(value, base, generator, level)
