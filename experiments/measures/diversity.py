"""Diversity of feeds: how often two posts of one feed differ."""

from __future__ import annotations

import polars as pl

__all__ = ["feed_diversity"]


def feed_diversity(impressions: pl.LazyFrame, labels: pl.LazyFrame) -> tuple[float | None, int]:
    """Return the mean over feeds of the share of pairs of posts with different labels, and how many feeds that is of.

    Intra-list diversity (Ziegler et al. 2005, "Improving recommendation lists through topic diversification", WWW)
    with the distance 1 between labels that differ and 0 between equal ones: ``1 - sum c (c - 1) / (n (n - 1))``,
    c posts of a label among n. That is Simpson's (1949) unbiased index, so feeds of different length compare.

    Parameters
    ----------
    impressions : polars.LazyFrame
        ``step``, ``agent_id``, ``turn``, ``post_id``; a feed is one turn of an agent in a step.
    labels : polars.LazyFrame
        Of `oasis.experiments.measures.post_labels`, such as by ``topic``, ``author`` or ``group``. Posts without a
        label are left out, and feeds with fewer than two posts.

    Returns
    -------
    diversity : float or None
        From 0 (all alike) to 1 (no two alike); None without a feed.
    feeds : int
    """
    count, n = pl.col("count").cast(pl.Int64), pl.col("count").cast(pl.Int64).sum()
    same = (count * (count - 1)).sum()
    kinds = (  # few, and summed in their order: a sum over all feeds would depend on how the engine splits them
        impressions.join(labels.drop_nulls("label"), on="post_id")
        .group_by("step", "agent_id", "turn", "label")
        .agg(count=pl.len())
        .group_by("step", "agent_id", "turn")
        .agg(n=n, same=same)
        .filter(pl.col("n") > 1)
        .group_by("n", "same")
        .agg(feeds=pl.len())
        .collect(engine="streaming")
        .sort("n", "same")
    )
    feeds = int(kinds["feeds"].sum())
    alike = (kinds["feeds"] * kinds["same"] / (kinds["n"] * (kinds["n"] - 1))).to_numpy()
    return (1.0 - float(alike.sum()) / feeds if feeds else None), feeds
