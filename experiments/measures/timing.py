"""When cascades happen: the time to half their scale, and how bursty their reposts are."""

from __future__ import annotations

import polars as pl

__all__ = ["burstiness", "half_times"]


def half_times(growth: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes from a cascade's root to the first step with at least half of its final scale.

    Resolved to a step. Null for a root that nobody shared. The final scale is that at the end of the run: cascades
    that still grow have theirs too early.

    Parameters
    ----------
    growth : polars.DataFrame
        Of `oasis.experiments.measures.cascade_growth`.

    Returns
    -------
    polars.DataFrame
        ``root_id``, ``half_minutes``.
    """
    final = pl.col("scale").max()
    reached = pl.col("minute").filter(2 * pl.col("scale") >= final).min()
    return growth.group_by("root_id").agg(half_minutes=pl.when(final > 1).then(reached)).sort("root_id")


def burstiness(events: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return the burstiness of the events of each group, from -1 (regular) over 0 (Poisson) to 1 (bursts).

    Goh and Barabasi (2008), "Burstiness and memory in complex systems", EPL 81, 48002, eq. 1:
    ``B = (s - m) / (s + m)``, m and s being mean and standard deviation (over n) of the intervals between successive
    events. It has no unit, so steps serve. Null with fewer than two intervals, or with all events in one step. With
    few events B falls short of its limit (Kim and Jo 2016): compare groups of like size.

    Parameters
    ----------
    events : polars.DataFrame
        Columns `by` and ``step``, in any order.

    Returns
    -------
    polars.DataFrame
        `by`, ``burstiness``.
    """
    between = pl.col("step").cast(pl.Int64).sort().diff().drop_nulls()
    mean, deviation = pl.col("between").list.mean(), pl.col("between").list.std(ddof=0)
    known = (pl.col("between").list.len() > 1) & (mean > 0)
    return (
        events.group_by(by)
        .agg(between=between)
        .select(by, burstiness=pl.when(known).then((deviation - mean) / (deviation + mean)))
        .sort(by)
    )
