"""Social influence bias: what a first vote from outside does to an item's final score."""

from __future__ import annotations

import polars as pl

from oasis.errors import InputError

__all__ = ["SEEDED_VOTES", "herding_values", "net_scores"]

SEEDED_VOTES = {"up": 1, "control": 0, "down": -1}
"""The vote from outside by treatment (Muchnik, Aral and Taylor 2013, "Social influence bias: a randomized experiment",
Science 341)."""


def net_scores(items: pl.DataFrame) -> pl.DataFrame:
    """Return each item's final score net of the seeded vote: ``likes - dislikes - seeded``, in votes.

    Parameters
    ----------
    items : polars.DataFrame
        A row per item: ``treatment`` (up, control, down), ``likes``, ``dislikes`` as shown at the end, the seeded vote
        among them.

    Returns
    -------
    polars.DataFrame
        `items` with ``net_score``.

    Raises
    ------
    InputError
        If a treatment has another name.
    """
    unknown = set(items["treatment"].cast(pl.String)) - set(SEEDED_VOTES)
    if unknown:
        names = ", ".join(SEEDED_VOTES)
        raise InputError(f"treatment must be one of {names}; got {sorted(map(str, unknown))[0]!r}")
    seeded = pl.col("treatment").cast(pl.String).replace_strict(SEEDED_VOTES, return_dtype=pl.Int64)
    return items.with_columns(net_score=pl.col("likes").cast(pl.Int64) - pl.col("dislikes").cast(pl.Int64) - seeded)


def herding_values(items: pl.DataFrame) -> pl.DataFrame:
    """Return a run's mean net score by treatment, as rows for effects: treatments are arms, ``control`` the baseline.

    One run gives one number per treatment, so items of a run are not counted as independent: the effect of an up-vote
    is the mean over replicates of (up - control).

    Returns
    -------
    polars.DataFrame
        ``arm``, ``outcome`` (``net_score``), ``value`` (votes; null without items), ``items``; add ``replicate``.
    """
    means = (
        net_scores(items)
        .group_by(arm=pl.col("treatment").cast(pl.String))
        .agg(value=pl.col("net_score").mean(), items=pl.len())
    )
    arms = pl.DataFrame({"arm": list(SEEDED_VOTES), "outcome": "net_score"})
    return arms.join(means, on="arm", how="left", maintain_order="left").with_columns(
        items=pl.col("items").fill_null(0).cast(pl.Int64)
    )
