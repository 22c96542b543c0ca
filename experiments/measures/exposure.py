"""Who gets seen, by whom: impressions by post, author or group, as group-bys that stream over files.

What is shown is judged by its root: a repost exposes agents to whom it repeats. Functions take impressions as a
LazyFrame (columns ``agent_id``, ``post_id``, and ``step``, ``turn`` where feeds are told apart); filter it first for
steps after the warm-up or for feeds alone (``turn == 0``).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.errors import InputError, nearest

__all__ = ["cross_group_share", "exposure_table", "gini", "post_labels"]

_OF_POSTS = {"post": "root_id", "author": "author_id"}


def post_labels(posts: pl.LazyFrame, users: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Return what each post counts as.

    Parameters
    ----------
    posts, users : polars.LazyFrame
        Of a run.
    by : str
        ``post`` (its root), ``author`` (of its root), a column of posts (its root's, such as ``topic``) or of users
        (of its root's author, such as ``group``).

    Returns
    -------
    polars.LazyFrame
        ``post_id``, ``label`` (null: none).

    Raises
    ------
    InputError
        If neither table has the column.
    """
    mine, theirs = posts.collect_schema().names(), users.collect_schema().names()
    column = _OF_POSTS.get(by, by)
    roots = posts.filter(pl.col("post_id") == pl.col("root_id"))
    if column in mine:
        of_root = roots.select("root_id", label=pl.col(column))
    elif column in theirs:
        authors = users.select(author_id="agent_id", label=pl.col(column))
        of_root = roots.select("root_id", "author_id").join(authors, on="author_id", how="left").drop("author_id")
    else:
        known = ["post", "author", *mine, *theirs]
        raise InputError(f"posts cannot be told apart by {by!r}{nearest(by, known)}; columns are {', '.join(known)}")
    return posts.select("post_id", "root_id").join(of_root, on="root_id", how="left").select("post_id", "label")


def exposure_table(impressions: pl.LazyFrame, labels: pl.LazyFrame) -> pl.DataFrame:
    """Return how often, and to how many agents, each label was shown.

    With labels by author the viewers are a creator's reach.

    Parameters
    ----------
    labels : polars.LazyFrame
        Of `post_labels`.

    Returns
    -------
    polars.DataFrame
        ``label``, ``impressions``, ``viewers`` (distinct agents); labels that were never shown have zeros. By label.
    """
    pairs = (
        impressions.filter(pl.col("post_id").is_not_null())
        .join(labels.drop_nulls("label"), on="post_id")
        .group_by("label", "agent_id")
        .agg(pl.len())
    )
    shown = pairs.group_by("label").agg(impressions=pl.col("len").sum(), viewers=pl.len())
    return (
        labels.select(pl.col("label").drop_nulls().unique())
        .join(shown, on="label", how="left")
        .with_columns(pl.col("impressions", "viewers").fill_null(0).cast(pl.Int64))
        .sort("label")
        .collect(engine="streaming")
    )


def gini(counts: npt.ArrayLike) -> float:
    """Return the Gini coefficient: 0 if all have the same, near 1 if one has all; NaN if nobody has any.

    Gini (1912), as ``(2 sum i x(i)) / (n sum x) - (n + 1) / n`` over ascending x(1) to x(n). Give those that have
    nothing as zeros; per-step metrics of runs leave them out.

    Raises
    ------
    InputError
        If a count is negative.
    """
    x = np.sort(np.asarray(counts, np.float64))
    if len(x) and x[0] < 0:
        raise InputError(f"a Gini coefficient is of counts of at least 0, got {x[0]:g}")
    total, n = x.sum(), len(x)
    if not total > 0:
        return float("nan")
    return float(2 * (np.arange(1, n + 1) * x).sum() / (n * total) - (n + 1) / n)


def cross_group_share(impressions: pl.LazyFrame, labels: pl.LazyFrame, groups: pl.LazyFrame) -> float | None:
    """Return the share of impressions by an author of another group, among those where both have one; None for none.

    Bakshy, Messing and Adamic (2015), "Exposure to ideologically diverse news and opinion on Facebook", Science 348
    ("exposed" stage). It depends on the groups' sizes: compare arms on one population only.

    Parameters
    ----------
    labels : polars.LazyFrame
        Of `post_labels` by the users' attribute.
    groups : polars.LazyFrame
        ``agent_id``, ``label``: the viewers' attribute.
    """
    shown = impressions.join(labels.drop_nulls("label"), on="post_id").join(
        groups.drop_nulls("label"), on="agent_id", suffix="_viewer"
    )
    crossing = pl.col("label").cast(pl.String) != pl.col("label_viewer").cast(pl.String)
    value = shown.select(crossing.mean()).collect(engine="streaming").item()
    return None if value is None else float(value)
