"""Where the spread comes from: how much of an outcome's variance is of the seed, of each swept key, of the rest.

Beside each arm's outcome its difference from the arm that it is compared with is split, since a wording that moves both
alike does not move what is claimed. The split is that of `oasis.experiments.statistics.variance_components`.
"""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Iterator, Sequence

import polars as pl

from oasis.experiments.interfaces import Section
from oasis.experiments.results import Results
from oasis.experiments.statistics import MIN_REPLICATES, variance_components

__all__ = ["spread_section"]

TITLE = "Where the spread comes from"
_REPLICATE = "replicate"


def spread_section(results: Results) -> Section | None:
    """Return the components of variance of each declared outcome; None without a key that is swept over.

    An outcome is split over the replicates in which all points have it (a balanced, crossed design: one run per
    replicate and point), and left out where these are fewer than `MIN_REPLICATES`.
    """
    swept = {key: len(values) for key, values in results.folder.sweep.items() if len(values) > 1}
    if not swept:
        return None
    names = _short(list(swept))
    rows, few, partly = [], 0, 0
    for outcome, of, runs in _series(results, list(swept)):
        known = runs.filter(pl.col("value").is_finite())
        whole = known.filter(pl.len().over(_REPLICATE) == math.prod(swept.values()))
        replicates = whole[_REPLICATE].n_unique()
        if replicates < MIN_REPLICATES:
            few += 1
            continue
        partly += replicates < runs[_REPLICATE].n_unique()
        found = {c["factor"]: c for c in variance_components(whole, [_REPLICATE, *swept]).to_pylist()}
        total = sum(max(c["variance"] or 0.0, 0.0) for c in found.values())
        shares = [found[factor]["share"] for factor in (_REPLICATE, *swept, "rest")]
        rows.append((outcome, of, replicates, math.sqrt(total), *shares))
    if not rows:
        words = (
            f"Not given: it needs at least {MIN_REPLICATES} replicates in which every point of the sweep is done, and"
            " no outcome has them."
        )
        return Section("spread", TITLE, (words,))
    columns = ["share_replicate", *(f"share_{names[key]}" for key in swept), "share_rest"]
    schema = {"outcome": pl.String, "of": pl.String, "replicates": pl.Int64, "deviation": pl.Float64}
    table = pl.DataFrame(rows, {**schema, **dict.fromkeys(columns, pl.Float64)}, orient="row")
    return Section("spread", TITLE, _words(swept, few, partly), table)


def _words(swept: dict[str, int], few: int, partly: int) -> list[str]:
    least = min(swept.values())
    words = [
        "Shares of an outcome's variance between runs: of the replicate (the seed), of each swept key, and of the rest"
        " (what they do together, and chance that the seed does not share). An arm's row is of its outcome, a row A – B"
        " of the difference in the same replicate and point. The deviation is the root of the variance in all.",
        "The design is balanced and crossed: every replicate has one run at every point. Shares come from moments"
        " (Henderson 1953, method 1), without intervals; a component that comes out below 0 by chance is taken as 0.",
        # the variance of s^2 of L normal values is 2 sigma^4 / (L - 1)
        f"Values of a key count as drawn from those that could have been chosen. With {least} values of a key the"
        f" standard error of its component is at least {100 * math.sqrt(2 / (least - 1)):.0f}% of it, if effects are"
        " normal; a wider range of values gives a larger share.",
    ]
    if partly:
        words.append(f"{partly} rows are of fewer replicates: those in which every point has a value.")
    if few:
        words.append(f"{few} rows are left out: fewer than {MIN_REPLICATES} replicates have a value at every point.")
    return words


def _series(results: Results, keys: Sequence[str]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield outcome, arm or difference, and its runs: ``replicate``, a column per key, ``value``."""
    design = results.design
    values = results.values.join(_points(results, keys), on="point", how="inner")
    by = [_REPLICATE, *keys]
    for outcome in design.outcomes:
        mine = values.filter((pl.col("outcome") == outcome.name) & pl.col("value").is_not_null())
        parts = {str(arm): part.select(*by, "value") for (arm,), part in mine.group_by("arm")}
        for arm in design.arms:
            if arm.role == "twin" or arm.name not in parts or not fnmatch.fnmatchcase(arm.name, outcome.arms):
                continue
            yield outcome.name, arm.name, parts[arm.name]
            against = arm.against or design.experiment.baseline
            if outcome.family is not None and arm.name != against and against in parts:
                both = parts[arm.name].join(parts[against], on=by, suffix="_against")
                yield (
                    outcome.name,
                    f"{arm.name} – {against}",
                    both.select(*by, value=pl.col("value") - pl.col("value_against")),
                )


def _points(results: Results, keys: Sequence[str]) -> pl.DataFrame:
    """Return ``point`` as in the values, and a column per key with its value in JSON."""
    found = {
        point: [json.dumps(row["point"].get(key)) for key in keys]
        for point, row in zip(results.points, results.rows, strict=True)
        if point is not None
    }
    rows = [(point, *texts) for point, texts in found.items()]
    return pl.DataFrame(rows, dict.fromkeys(["point", *keys], pl.String), orient="row")


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Return the last part of each key; the whole key where two end alike."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    return {key: name if list(last.values()).count(name) == 1 else key for key, name in last.items()}
