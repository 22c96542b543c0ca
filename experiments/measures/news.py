"""True against false news: who was reached, and how much was posted, over time.

News is an original post with a topic and a veracity; what repeats it counts as its root. A pair is a topic with both.
"""

from __future__ import annotations

import polars as pl

__all__ = ["news_labels", "news_pairs", "posts_over_time", "reach_over_time"]

_NEWS = ["topic", "veracity"]


def news_labels(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``post_id``, ``topic``, ``veracity`` (true: 1, false: 0) of all posts whose root has both."""
    roots = posts.filter(pl.col("post_id") == pl.col("root_id")).select("root_id", *_NEWS).drop_nulls(_NEWS)
    return posts.select("post_id", "root_id").join(roots, on="root_id").select("post_id", *_NEWS)


def reach_over_time(impressions: pl.LazyFrame, labels: pl.LazyFrame) -> pl.DataFrame:
    """Return how many distinct agents each piece of news was shown to, up to each step in which that number grew.

    Parameters
    ----------
    impressions : polars.LazyFrame
        ``step``, ``agent_id``, ``post_id``.
    labels : polars.LazyFrame
        Of `news_labels`.

    Returns
    -------
    polars.DataFrame
        ``topic``, ``veracity``, ``step``, ``reach`` (agents, cumulative), in that order.
    """
    return (
        impressions.join(labels, on="post_id")
        .group_by(*_NEWS, "agent_id")
        .agg(pl.col("step").min())
        .group_by(*_NEWS, "step")
        .agg(new=pl.len())
        .collect(engine="streaming")
        .sort(*_NEWS, "step")
        .select(*_NEWS, "step", reach=pl.col("new").cast(pl.Int64).cum_sum().over(_NEWS))
    )


def posts_over_time(posts: pl.LazyFrame, labels: pl.LazyFrame) -> pl.DataFrame:
    """Return how many posts each piece of news has, up to each step in which that number grew.

    Returns
    -------
    polars.DataFrame
        ``topic``, ``veracity``, ``step``, ``posts``, ``reposts``, ``quotes`` (posts: all kinds; cumulative).
    """
    kind = pl.col("kind").cast(pl.String)
    counts = {"posts": pl.len(), "reposts": (kind == "repost").sum(), "quotes": (kind == "quote").sum()}
    return (
        posts.select("post_id", "kind", "step")
        .join(labels, on="post_id")
        .group_by(*_NEWS, "step")
        .agg(**counts)
        .collect(engine="streaming")
        .sort(*_NEWS, "step")
        .with_columns(pl.col(name).cast(pl.Int64).cum_sum().over(_NEWS) for name in counts)
    )


def news_pairs(over_time: pl.DataFrame, labels: pl.LazyFrame, value: str, until: int | None = None) -> pl.DataFrame:
    """Return a cumulative number of the true and the false news of each pair, and their difference.

    Parameters
    ----------
    over_time : polars.DataFrame
        Of `reach_over_time` or `posts_over_time`.
    labels : polars.LazyFrame
        Of `news_labels`: which pairs there are, seen or not.
    value : str
        ``reach``, ``posts``, ``reposts`` or ``quotes``.
    until : int, optional
        The last step that counts.

    Returns
    -------
    polars.DataFrame
        ``topic``, ``true``, ``false``, ``difference`` (false - true), by topic. A run's effect is the mean difference
        over its pairs, as one number per run.
    """
    rows = over_time if until is None else over_time.filter(pl.col("step") <= until)
    last = rows.group_by(_NEWS).agg(pl.col(value).max())
    every = labels.select(_NEWS).unique().collect().join(last, on=_NEWS, how="left").fill_null(0)
    sides = [every.filter(pl.col("veracity") == v).select("topic", pl.col(value).alias(name)) for v, name in _SIDES]
    return sides[0].join(sides[1], on="topic").sort("topic").with_columns(difference=pl.col("false") - pl.col("true"))


_SIDES = ((1, "true"), (0, "false"))
