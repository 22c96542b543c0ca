"""The first rows that two executions of a step have differently: agent, field and both values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from oasis.runs.handles import without_mentions, without_names

__all__ = ["Difference", "step_differences"]

_AT = {
    "outside": ["agent_id", "turn", "order"],
    "interviews": ["agent_id", "question_id", "order"],
    "impressions": ["agent_id", "turn", "position"],
    "events": ["agent_id", "turn", "order"],
}
"""Tables in the order in which a step makes them, and what says that two of their rows are the same one."""
_ASKED = ["policy", "action", "target_kind", "target_id", "arg_id", "content"]
_SHOWN = ["post_id", "comment_id", "message_id"]
_FIELDS = {
    "outside": [*_ASKED, "outcome", "created_id"],
    "interviews": ["question", "value", "text", "policy", "outcome"],
    "impressions": [*_SHOWN, "source", "score"],
    "events": [*_ASKED, "outcome", "created_id", "probability"],
}


@dataclass(frozen=True)
class Difference:
    """A row of a step that two runs have differently.

    Attributes
    ----------
    table : {"outside", "interviews", "impressions", "events"}
        ``outside`` are the events of interventions.
    agent_id : int
    turn, position : int or None
        Which of its rows: position in the feed, or place among its actions.
    field : str
        The first column that differs; ``row`` where only one of them has the row.
    baseline, value : object
        What stands there in the first and in the second run, None for a null or no row.
    """

    table: str
    agent_id: int
    turn: int | None
    position: int | None
    field: str
    baseline: Any
    value: Any

    def sentence(self, second: str) -> str:
        """Return the difference in words; `second` names the second run."""
        place = {
            "outside": f"intervention {self.position} of the step",
            "interviews": f"agent {self.agent_id}, interviewed",
            "impressions": f"agent {self.agent_id} was shown at position {self.position}"
            + (f" of turn {self.turn}" if self.turn else ""),
            "events": f"agent {self.agent_id}, action {self.position}" + (f" of turn {self.turn}" if self.turn else ""),
        }[self.table]
        values = [("nothing" if self.field == "row" else "null") if v is None else str(v)
                  for v in (self.baseline, self.value)]  # fmt: skip
        name = "" if self.field == "row" else f"{self.field} "
        return f"{place}: {name}{values[0]}, in {second} {values[1]}"


def step_differences(
    baseline: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame], same_agents_kept: bool = True
) -> list[Difference]:
    """Return the first difference of each table that differs, in the order in which a step makes them.

    Rows meet by agent, turn and place, so one more row shifts no other. Names of accounts are left out.

    Parameters
    ----------
    baseline, other : mapping
        Rows of one step, of ``events``, ``impressions`` and ``interviews``.
    same_agents_kept : bool
        Whether both keep the impressions of the same agents; else those of agents with some in both are compared.
    """
    found = []
    for table in _AT:
        rows = [_rows(table, tables["events" if table == "outside" else table]) for tables in (baseline, other)]
        if table == "impressions" and not same_agents_kept:
            both = set(rows[0]["agent_id"].unique()) & set(rows[1]["agent_id"].unique())
            rows = [frame.filter(pl.col("agent_id").is_in(list(both))) for frame in rows]
        difference = _first(table, *rows)
        if difference is not None:
            found.append(difference)
    return found


def _rows(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with labels as text and with their place among the agent's own."""
    if table in ("outside", "events"):
        outside = pl.col("agent_id") < 0
        frame = frame.filter(outside if table == "outside" else ~outside).with_columns(without_names()).sort("seq")
        frame = frame.with_columns(order=pl.int_range(pl.len()).over("agent_id", "turn"))
    elif table == "interviews":
        frame = frame.with_columns(order=pl.int_range(pl.len()).over("agent_id", "question_id"))
    frame = frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).with_columns(without_mentions(pl.col(pl.String)))
    return frame.select(*_AT[table], *(name for name in _FIELDS[table] if name in frame.columns), there=pl.lit(True))


def _first(table: str, a: pl.DataFrame, b: pl.DataFrame) -> Difference | None:
    """Return the first difference: what was asked for or shown goes before what came of it and how it was scored."""
    joined = a.join(b, on=_AT[table], how="full", suffix="_other", coalesce=True, nulls_equal=True).sort(_AT[table])
    fields = ["there", *(f for f in _FIELDS[table] if f in a.columns and f in b.columns)]
    first = [f for f in fields if f in ("there", *_ASKED, *_SHOWN)]
    for looked_at in (first, fields):
        differs = [pl.col(f).ne_missing(pl.col(f"{f}_other")) for f in looked_at]
        rows = joined.filter(pl.any_horizontal(differs))
        if rows.height:
            return _difference(table, rows.row(0, named=True), looked_at)
    return None


def _difference(table: str, row: dict[str, Any], fields: list[str]) -> Difference:
    position = row.get("position", row.get("order"))
    turn = row.get("turn")
    if row["there"] is None or row["there_other"] is None:
        name, values = "row", [_whole(table, row, ""), _whole(table, row, "_other")]
    else:
        name = next(f for f in fields if not _same(row[f], row[f"{f}_other"]))
        values = [row[name], row[f"{name}_other"]]
    return Difference(table, int(row["agent_id"]), turn, position, name, *values)


def _same(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)  # NaN is the same as NaN, as in polars


def _whole(table: str, row: dict[str, Any], suffix: str) -> str | None:
    """Return a row in a few words; None where it is not there."""
    if row[f"there{suffix}"] is None:
        return None
    said = [(name, row.get(f"{name}{suffix}")) for name in _FIELDS[table] if name not in ("policy", "probability")]
    return ", ".join(f"{name} {value}" for name, value in said if value is not None)
