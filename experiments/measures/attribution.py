"""Cascades as they are reconstructed from who follows whom, where nobody recorded which post was seen."""

from __future__ import annotations

import numpy as np
import polars as pl

from oasis.runs.cascades import depths

__all__ = ["followed_cascades"]


def followed_cascades(posts: pl.DataFrame, follows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per cascade: scale, and the depth of the tree in which reposts hang below somebody followed.

    The parent of a user's first repost is the earliest sharer of an earlier step whom the user follows, the source
    included; the source where there is none. That is the shallowest tree that a follow graph allows: Goel et al.
    (2016), "The structural virality of online diffusion", take the latest such sharer.

    Parameters
    ----------
    posts : polars.DataFrame
        Of one run: ``post_id``, ``author_id``, ``kind``, ``root_id``, ``step``; quotes are no part of a cascade.
    follows : polars.DataFrame
        ``follower_id``, ``followee_id``.

    Returns
    -------
    polars.DataFrame
        ``root_id``, ``scale`` (users, source included), ``depth`` (reposts), by root.
    """
    inside = posts.filter(pl.col("kind").cast(pl.String) != "quote").sort("root_id", "post_id")
    firsts = inside.unique(["root_id", "author_id"], keep="first", maintain_order=True).with_row_index("row")
    firsts = firsts.with_columns(top=pl.col("row").first().over("root_id"))
    above = firsts.select("root_id", "step", by="row", followee_id="author_id")
    seen = (
        firsts.filter(pl.col("row") != pl.col("top"))
        .join(follows, left_on="author_id", right_on="follower_id")
        .join(above, on=["root_id", "followee_id"], suffix="_above")
        .filter(pl.col("step_above") < pl.col("step"))
        .group_by("row")
        .agg(pl.col("by").min())
    )
    tree = firsts.join(seen, on="row", how="left", maintain_order="left")
    parent = tree["by"].fill_null(tree["top"]).to_numpy().astype(np.int64)
    parent[(tree["row"] == tree["top"]).to_numpy()] = -1
    return (
        tree.with_columns(depth=pl.Series(depths(parent)))
        .group_by("root_id", maintain_order=True)
        .agg(scale=pl.len().cast(pl.Int32), depth=pl.col("depth").max().cast(pl.Int32))
        .with_columns(pl.col("root_id").cast(pl.Int32))
    )
