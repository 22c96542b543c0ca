"""Generations of cascades: how many reposts each repost brings, by distance from the source."""

from __future__ import annotations

import numpy as np
import polars as pl

from oasis.runs.cascades import depths, repost_tree

__all__ = ["branching", "generations"]


def generations(posts: pl.DataFrame) -> pl.DataFrame:
    """Return how many posts each cascade has at each distance from its source.

    Parameters
    ----------
    posts : polars.DataFrame
        As in `oasis.experiments.measures.cascade_growth`.

    Returns
    -------
    polars.DataFrame
        ``root_id``, ``generation`` (0 is the root), ``posts``, ``next_posts`` (of the next generation), by root and
        generation.
    """
    kind, root, parent = repost_tree(posts)
    inside = (kind < 2) & (kind[root] == 0)
    return (
        pl.DataFrame({"root_id": root[inside].astype(np.int32), "generation": depths(parent)[inside].astype(np.int32)})
        .group_by("root_id", "generation")
        .agg(posts=pl.len())
        .sort("root_id", "generation")
        .with_columns(next_posts=pl.col("posts").shift(-1).over("root_id").fill_null(0))
    )


def branching(table: pl.DataFrame) -> pl.DataFrame:
    """Return the branching factor per generation: reposts per post of the generation before, over all cascades given.

    The Lotka-Nagaev estimator of the mean offspring of a branching process (Nagaev 1967), a ratio of sums rather than
    a mean of ratios. Posts near the end of a run had less time to be reposted, so it falls short there.

    Parameters
    ----------
    table : polars.DataFrame
        Rows of `generations`.

    Returns
    -------
    polars.DataFrame
        ``generation``, ``posts``, ``next_posts``, ``branching``.
    """
    return (
        table.group_by("generation")
        .agg(pl.col("posts", "next_posts").sum())
        .sort("generation")
        .with_columns(branching=pl.col("next_posts") / pl.col("posts"))
    )
