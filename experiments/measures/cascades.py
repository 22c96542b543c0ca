"""Cascades as they grow: scale, depth and breadth of all of them at once, and one row of measures for each.

A cascade is an original post and its reposts (`oasis.runs.cascades`). *Scale* counts distinct users, the source
included; *depth* is the greatest distance from the source; *maximum breadth* is the largest number of reposts at one
depth, the root's level excluded. Definitions of Vosoughi, Roy and Aral (2018), "The spread of true and false news
online", Science 359, except that they count the root's level too.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from oasis.experiments.measures.timing import burstiness, half_times
from oasis.runs.cascades import cascade_table, depths, repost_tree

__all__ = ["cascade_growth", "cascade_measures"]


def cascade_growth(posts: pl.DataFrame, step_minutes: float) -> pl.DataFrame:
    """Return the growth of every cascade: a row per cascade and step in which it changed.

    Between the rows of a cascade nothing changes; `oasis.experiments.measures.held` gives its values at any minute.

    Parameters
    ----------
    posts : polars.DataFrame
        Of one run, columns ``post_id`` (the row's number), ``author_id``, ``kind``, ``root_id``, ``parent_id``,
        ``step``.
    step_minutes : float
        Simulated minutes of a step.

    Returns
    -------
    polars.DataFrame
        ``root_id``, ``step``, ``minute`` (since the root was posted), ``scale`` (users), ``depth``, ``max_breadth``
        (reposts), by root and step.

    Raises
    ------
    RunDirectoryError
        If ``post_id`` does not count up from 0.
    """
    kind, root, parent = repost_tree(posts)
    rows = pl.DataFrame(
        {"root_id": root, "step": posts["step"], "author": posts["author_id"], "depth": depths(parent), "kind": kind}
    )
    inside = rows.filter((pl.col("kind") < 2) & pl.Series(kind[root] == 0)).sort("root_id", "step", maintain_order=True)
    grown = inside.with_columns(
        new=pl.struct("root_id", "author").is_first_distinct(),
        breadth=pl.when(pl.col("depth") > 0).then(pl.int_range(1, pl.len() + 1).over("root_id", "depth")).otherwise(0),
    ).select(
        "root_id",
        "step",
        scale=pl.col("new").cast(pl.Int32).cum_sum().over("root_id"),
        depth=pl.col("depth").cum_max().over("root_id"),
        max_breadth=pl.col("breadth").cum_max().over("root_id"),
    )
    return (
        grown.group_by("root_id", "step", maintain_order=True)
        .last()
        .select(
            pl.col("root_id").cast(pl.Int32),
            pl.col("step").cast(pl.Int32),
            minute=(pl.col("step") - pl.col("step").first().over("root_id")) * float(step_minutes),
            scale=pl.col("scale").cast(pl.Int32),
            depth=pl.col("depth").cast(pl.Int32),
            max_breadth=pl.col("max_breadth").cast(pl.Int32),
        )
    )


def cascade_measures(posts: pl.DataFrame, step_minutes: float) -> pl.DataFrame:
    """Return one row per cascade, by root.

    Columns: ``root_id``, ``author_id``, ``step``, ``scale`` (users), ``posts``, ``depth``, ``max_breadth``,
    ``virality`` (structural; Goel et al. 2016, eq. 1: mean distance between posts; null below two posts),
    ``half_minutes`` (`half_times`), ``burstiness`` (`oasis.experiments.measures.burstiness`).

    Parameters
    ----------
    posts : polars.DataFrame
        As in `cascade_growth`.
    """
    counts = (pl.Series(name, np.zeros(posts.height, np.int32)) for name in ("likes", "comments"))  # not asked for here
    table = cascade_table(posts.with_columns(*counts)).select(
        "root_id", "author_id", "step", "depth", "max_breadth", "virality", posts="size"
    )
    growth = cascade_growth(posts, step_minutes)
    scale = growth.group_by("root_id").agg(scale=pl.col("scale").max())
    kind, root, _ = repost_tree(posts)
    shared = pl.DataFrame({"root_id": root.astype(np.int32), "step": posts["step"]}).filter(
        pl.Series((kind < 2) & (kind[root] == 0))
    )
    return (
        table.join(scale, on="root_id", how="left")
        .join(half_times(growth), on="root_id", how="left")
        .join(burstiness(shared, "root_id"), on="root_id", how="left")
        .sort("root_id")
        .select(
            *("root_id", "author_id", "step", "scale", "posts", "depth", "max_breadth"),
            *("virality", "half_minutes", "burstiness"),
        )
    )
