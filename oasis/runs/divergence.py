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
    if not found:
        return None
    first = found[0]
    who = "the outside" if first.agent_id < 0 else f"agent {first.agent_id}"
    field = f"{first.table.removesuffix('s')} {first.position}" if first.field == "row" else first.field
    return f"{who}, {field}: recorded {_told(first.baseline)}, now {_told(first.value)}"


def _told(value: object) -> str:
    return "nothing" if value is None else str(value)
