"""The first difference between what was recorded of a step and what came out when it was executed again."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from oasis.runs.step_differences import step_differences

__all__ = ["first_difference"]


def first_difference(recorded: Mapping[str, pa.Table], made: Mapping[str, pa.Table]) -> str | None:
    """Return the first difference in words: agent, field, what was recorded and what came out; None without one.

    Parameters
    ----------
    recorded, made : mapping
        ``events``, ``impressions`` and ``interviews`` of a step; of impressions those of agents that both keep count.
    """
    names = ("events", "impressions", "interviews")
    before, after = ({name: pl.DataFrame(tables[name]) for name in names} for tables in (recorded, made))
    found = step_differences(before, after, same_agents_kept=False)
    return found[0].sentence("what came out now") if found else None
