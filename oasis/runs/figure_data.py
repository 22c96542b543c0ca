"""The numbers behind the figures, one frame each; saved beside them as Parquet.

What happened during warm-up is left out of `activity` and `exposure`.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from oasis.runs.cascades import cascade_table, curve_of, tree_columns
from oasis.runs.reading import Run

__all__ = ["activity", "cascade_curves", "cascade_sizes", "exposure", "figure_data", "followers", "reception"]

_BINS = 96  # points along the time axis: a day of quarter hours
_QUIET = ("do_nothing", "no_decision")
_CURVES = 5
_LORENZ_POINTS = 200


def figure_data(run: Run) -> dict[str, pl.DataFrame]:
    """Return the data of all figures by name."""
    posts = tree_columns(run)
    sizes = cascade_table(posts)
    return {
        "activity": activity(run),
        "exposure": exposure(run),
        "cascade_curves": cascade_curves(run, posts, sizes["root_id"].head(_CURVES).to_list()),
        "cascade_sizes": cascade_sizes(sizes),
        "reception": reception(run),
        "followers": followers(run),
    }


def activity(run: Run) -> pl.DataFrame:
    """Return accepted actions of agents over simulated time.

    Columns: ``hours`` (since the start, middle of the bin), ``action``, ``per_hour`` (actions per simulated hour).
    """
    warm_up = _warm_up(run)
    steps = run.steps_done - warm_up
    per_bin = max(1, -(-steps // _BINS))
    hours_per_step = run.manifest.step_minutes / 60
    counts = (
        run.events.select("step", "agent_id", pl.col("action", "outcome").cast(pl.String))
        .filter(
            (pl.col("step") > warm_up)
            & (pl.col("agent_id") >= 0)
            & (pl.col("outcome") == "accepted")
            & ~pl.col("action").is_in(_QUIET)
        )
        .group_by(bin=(pl.col("step") - 1 - warm_up) // per_bin, action="action")
        .agg(count=pl.len())
        .collect()
    )
    bins = pl.DataFrame({"bin": np.arange(-(-steps // per_bin), dtype=np.int32)}).with_columns(
        steps=pl.min_horizontal(pl.lit(per_bin), steps - pl.col("bin") * per_bin)
    )
    full = bins.join(counts.select("action").unique(), how="cross").join(counts, on=["bin", "action"], how="left")
    return full.select(
        hours=(warm_up + pl.col("bin") * per_bin + pl.col("steps") / 2) * hours_per_step,
        action="action",
        per_hour=pl.col("count").fill_null(0) / (pl.col("steps") * hours_per_step),
    ).sort("action", "hours")


def exposure(run: Run) -> pl.DataFrame:
    """Return how impressions are shared out among the posts that were shown at all (originals, reposts counted in).

    Columns: ``posts`` (share of posts, least shown first), ``impressions`` (their share of all); empty where no
    impressions were kept. It is the Lorenz curve; ``gini`` repeats its Gini coefficient.
    """
    shown = run.impressions.filter(pl.col("step") > _warm_up(run)).group_by("post_id").agg(count=pl.len())
    by_root = (
        shown.join(run.posts.select("post_id", "root_id"), on="post_id", how="inner")
        .group_by("root_id")
        .agg(pl.col("count").sum())
        .collect()
    )
    counts = np.sort(by_root["count"].to_numpy().astype(np.int64))
    n = len(counts)
    if not n:
        return pl.DataFrame(schema={"posts": pl.Float64, "impressions": pl.Float64, "gini": pl.Float64})
    share = np.r_[0.0, np.cumsum(counts) / counts.sum()]
    at = np.unique(np.linspace(0, n, min(n, _LORENZ_POINTS) + 1).round().astype(np.int64))
    rank = np.arange(1, n + 1)
    gini = (2 * (rank * counts).sum() - (n + 1) * counts.sum()) / (n * counts.sum())
    return pl.DataFrame({"posts": at / n, "impressions": share[at], "gini": np.full(len(at), gini)})


def cascade_curves(run: Run, posts: pl.DataFrame, roots: list[int]) -> pl.DataFrame:
    """Return the growth of some cascades: ``root_id``, ``hours`` since it was posted, ``scale``, ``depth``,
    ``max_breadth``."""
    empty = pl.DataFrame(
        schema={"root_id": pl.Int32, "hours": pl.Float64, "scale": pl.Int32, "depth": pl.Int32, "max_breadth": pl.Int32}
    )
    parts = [empty]
    for root in roots:
        curve = curve_of(posts, root, run.steps_done, run.manifest.step_minutes)
        parts.append(
            curve.select(
                pl.lit(root, pl.Int32).alias("root_id"),
                (pl.col("minute") / 60).alias("hours"),
                "scale",
                "depth",
                "max_breadth",
            )
        )
    return pl.concat(parts)


def cascade_sizes(table: pl.DataFrame) -> pl.DataFrame:
    """Return how large cascades are: ``size``, ``share`` of cascades that are at least as large."""
    return _at_least(table["size"], "size")


def reception(run: Run) -> pl.DataFrame:
    """Return how posts are received: ``what`` (likes, comments), ``count``, ``share`` of originals and quotes that have
    at least as many (what was there before the run, or seeded, counts too)."""
    posts = run.posts.filter(pl.col("kind").cast(pl.String) != "repost").select("likes", "comments").collect()
    parts = [
        _at_least(posts[what].fill_null(0), "count").select(pl.lit(what).alias("what"), "count", "share")
        for what in posts.columns
    ]
    return pl.concat(parts)


def followers(run: Run) -> pl.DataFrame:
    """Return how many followers agents have: ``followers``, ``share`` of agents that have at least as many."""
    return _at_least(run.users.select("followers").collect()["followers"], "followers")


def _warm_up(run: Run) -> int:
    """Return the steps of warm-up, 0 for a run that did not get beyond it."""
    steps = run.manifest.warmup_steps
    return steps if steps < run.steps_done else 0


def _at_least(values: pl.Series, name: str) -> pl.DataFrame:
    distinct, counts = np.unique(values.to_numpy().astype(np.int64), return_counts=True)
    above = counts[::-1].cumsum()[::-1]
    return pl.DataFrame({name: distinct, "share": above / max(len(values), 1)})
