"""Amplification: how many more agents a recommender shows something to than a chronological feed does."""

from __future__ import annotations

import polars as pl

from oasis.errors import InputError

__all__ = ["amplification"]


def amplification(
    shown: tuple[pl.LazyFrame, pl.LazyFrame],
    chronological: tuple[pl.LazyFrame, pl.LazyFrame],
    steps_per_day: int,
    size_ratio: float = 1.0,
) -> pl.DataFrame:
    """Return the amplification of each label on each day.

    Huszar et al. (2022), "Algorithmic amplification of politics on Twitter", PNAS 119(1), Methods:
    ``a = (U + 1) / (ratio C + 1) - 1``, U and C being the users who met at least one post of the label on that day,
    with the recommender and in the chronological control, ``ratio`` the size of the first group over the second.
    0.5 is 50% more. Two departures: the groups are two runs of one population, so agents' later behaviour differs too
    (what is amplified gets written about more), and an impression is a post in a feed, whether looked at or not.

    Parameters
    ----------
    shown, chronological : tuple of polars.LazyFrame
        Impressions and labels (`oasis.experiments.measures.post_labels`) of the arm and of its chronological twin.
    steps_per_day : int
        480 for steps of 3 minutes. Step 1 begins day 0.
    size_ratio : float
        Registered agents of the arm over those of its twin.

    Returns
    -------
    polars.DataFrame
        ``label``, ``day``, ``viewers``, ``viewers_chronological``, ``amplification``, by label and day; days on which
        neither showed the label are left out.

    Raises
    ------
    InputError
        If `steps_per_day` or `size_ratio` is not positive.
    """
    if not (steps_per_day > 0 and size_ratio > 0):
        raise InputError(f"steps_per_day and size_ratio must be positive, got {steps_per_day} and {size_ratio}")
    arm, control = (_viewers(*side, steps_per_day) for side in (shown, chronological))
    expected = size_ratio * pl.col("viewers_chronological")
    return (
        arm.join(control, on=["label", "day"], how="full", coalesce=True, suffix="_chronological")
        .with_columns(pl.col("viewers", "viewers_chronological").fill_null(0).cast(pl.Int64))
        .with_columns(amplification=(pl.col("viewers") + 1) / (expected + 1) - 1)
        .sort("label", "day")
    )


def _viewers(impressions: pl.LazyFrame, labels: pl.LazyFrame, steps_per_day: int) -> pl.DataFrame:
    return (
        impressions.join(labels.drop_nulls("label"), on="post_id")
        .select("label", "agent_id", day=(pl.col("step") - 1) // steps_per_day)
        .unique()
        .group_by("label", "day")
        .agg(viewers=pl.len())
        .collect(engine="streaming")
    )
