"""Components of variance: how much of the variance of runs comes from the seed, the wording of prompts, the model.

Random-effects model ``y = mu + sum over factors of (effect of its level) + rest``, all effects independent with mean
0. The components are estimated by moments, without bias whatever the numbers of runs: Henderson (1953), "Estimation of
variance and covariance components", Biometrics 9, method 1; Searle, Casella and McCulloch (1992), "Variance
components", chapter 5. For one factor and equal numbers that is the analysis of variance. A nested factor is one
whose levels have different names in each level of the outer one; interactions are part of the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from oasis.errors import InputError

__all__ = ["COMPONENTS", "variance_components"]

COMPONENTS = pa.schema(
    [
        ("factor", pa.large_string()),
        ("levels", pa.int64()),
        ("variance", pa.float64()),  # in the outcome's unit squared; negative by chance; null: it does not vary
        ("share", pa.float64()),  # of the sum of variances, negative ones taken as 0
    ]
)
"""A row per factor, and one named ``rest``."""

REST = "rest"


def variance_components(runs: pl.DataFrame, factors: list[str], value: str = "value") -> pa.Table:
    """Return the component of variance of each factor.

    A factor that differs in every run (a seed used once) cannot be told from the rest: its row then holds both, and
    the row ``rest`` is null.

    Parameters
    ----------
    runs : polars.DataFrame
        A row per run: a column per factor (any type) and the outcome; runs without a value are left out.
    factors : list of str
        Such as ``["model", "paraphrase", "seed"]``.

    Raises
    ------
    InputError
        If a column is missing, fewer than two runs have a value, or two factors vary together and cannot be told apart.
    """
    missing = [name for name in (*factors, value) if name not in runs.columns]
    if missing:
        raise InputError(f"no column {missing[0]!r} in the table of runs; there are {', '.join(runs.columns)}")
    known = runs.filter(pl.col(value).is_not_null() & pl.col(value).is_finite())
    n = known.height
    if n < 2:
        raise InputError(f"components of variance need at least two runs with a value, got {n}")
    levels = {name: np.unique(known[name].cast(pl.String).fill_null(""), return_inverse=True)[1] for name in factors}
    count = {name: int(code.max()) + 1 for name, code in levels.items()}
    each = [name for name in factors if count[name] == n]
    if len(each) > 1:
        raise InputError(f"factors {each[0]!r} and {each[1]!r} both differ in every run and cannot be told apart")
    varying = [name for name in factors if 1 < count[name] < n]
    y = known[value].cast(pl.Float64).to_numpy()
    solved = _moments(y, [levels[name] for name in varying], varying)
    found = dict(zip([*varying, each[0] if each else REST], solved, strict=True))
    total = sum(max(v, 0.0) for v in found.values())
    names = [*factors, REST]
    return pa.table(
        {
            "factor": names,
            "levels": [count.get(name) for name in names],
            "variance": [found.get(name) for name in names],
            "share": [max(found[name], 0.0) / total if name in found and total > 0 else None for name in names],
        },
        COMPONENTS,
    )


def _moments(y: npt.NDArray[np.float64], codes: list[npt.NDArray[np.int64]], names: list[str]) -> list[float]:
    """Solve the equations of expected sums of squares; the last component is that of the rest.

    With sums over the levels of a grouping G, ``T(G) = sum n y_mean^2`` has the expectation
    ``N mu^2 + sum over factors F of k(G, F) var(F) + |G| var(rest)``, ``k(G, F) = sum over levels of G of
    (sum over levels of F of n(G, F)^2) / n(G)``.
    """
    y = y - y.mean()  # the equations do not depend on mu; sums of squares lose fewer digits
    n = len(y)
    groupings = [np.zeros(n, np.int64), *codes, np.arange(n)]
    totals, rows = [], []
    for grouping in groupings:
        size = np.bincount(grouping).astype(np.float64)
        totals.append(float((np.bincount(grouping, y) ** 2 / size).sum()))
        row = []
        for code in codes:
            width = int(code.max()) + 1
            cell, together = np.unique(grouping * width + code, return_counts=True)
            row.append(float((together.astype(np.float64) ** 2 / size[cell // width]).sum()))
        rows.append([*row, float(len(size))])
    # differences to the grand mean take N mu^2 away
    left = np.array(rows[1:]) - np.array(rows[0])
    right = np.array(totals[1:]) - totals[0]
    if np.linalg.matrix_rank(left) < len(left):
        raise InputError(f"factors {', '.join(map(repr, names))} vary together and cannot be told apart in these runs")
    return [float(v) for v in np.linalg.solve(left, right)]
