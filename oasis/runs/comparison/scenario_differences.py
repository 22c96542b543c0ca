"""What differs between two scenarios: keys, and entries of lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from oasis.runs.comparison.arms import Arm

__all__ = ["DIFFERENCES", "arm_differences", "scenario_differences"]

DIFFERENCES = {
    "first_step": pl.Int64,
    "last_step": pl.Int64,
    "key": pl.String,
    "change": pl.String,
    "baseline": pl.String,
    "value": pl.String,
}
"""Columns of `arm_differences`; the two values are JSON, null where there is none."""

Row = tuple[str, str, str | None, str | None]
"""Key, change, JSON before and after."""

_REPLICATE = ("simulation.seed", "simulation.name")
_ENTRIES = ("interventions", "injected")


def arm_differences(baseline: Arm, arm: Arm) -> pl.DataFrame:
    """Return what differs in `arm`, for each part of the steps in which both were made with one scenario.

    Returns
    -------
    polars.DataFrame
        Columns of `DIFFERENCES`: ``first_step`` and ``last_step`` (null: to the end), ``key``, ``change`` (``added``,
        ``removed``, ``changed``), and the values in both.
    """
    starts = sorted({part.first for part in (*baseline.periods, *arm.periods)})
    rows = []
    for first, following in zip(starts, [*starts[1:], None], strict=True):
        before, after = ([p for p in a.periods if p.first <= first][-1].scenario for a in (baseline, arm))
        last = None if following is None else following - 1
        rows += [(first, last, *row) for row in scenario_differences(before, after)]
    rows += [(1, None, *row) for row in _files(baseline.inputs, arm.inputs)]
    return pl.DataFrame(rows, DIFFERENCES, orient="row")


def scenario_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Return (key, change, JSON before, JSON after) of what differs; seed and name, which tell replicates, left out."""
    rows: list[Row] = []
    plain = [{k: v for k, v in scenario.items() if k not in _ENTRIES} for scenario in (before, after)]
    old, new = (_flat(scenario) for scenario in plain)
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in _REPLICATE and old.get(key) != new.get(key):
            change = "added" if key not in old else "removed" if key not in new else "changed"
            rows.append((key, change, old.get(key), new.get(key)))
    for table in _ENTRIES:
        rows += _entries(table, before.get(table, []), after.get(table, []))
    return rows


def _files(before: Mapping[str, str], after: Mapping[str, str]) -> list[Row]:
    """Compare the files that runs were made from, by content; the values are the beginnings of SHA-256."""
    rows: list[Row] = []
    for change, files, others in (("removed", before, after), ("added", after, before)):
        for path, digest in files.items():
            if digest in others.values():
                continue
            if path in others:
                if change == "removed":
                    rows.append((f"file {path}", "changed", _json(digest[:12]), _json(others[path][:12])))
                continue
            values = (_json(digest[:12]), None) if change == "removed" else (None, _json(digest[:12]))
            rows.append((f"file {path}", change, *values))
    return rows


def _flat(value: Any, at: str = "") -> dict[str, str]:
    """Return dotted keys and JSON values; lists of tables by place, other lists as one value."""
    if isinstance(value, Mapping) and value:
        items = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        items = [(str(place), part) for place, part in enumerate(value)]
    else:
        return {at: _json(value)}
    return {key: text for name, part in items for key, text in _flat(part, f"{at}.{name}" if at else name).items()}


def _entries(table: str, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Compare lists of interventions: the same entries fall out wherever they stand, others meet by kind and step."""
    old, new = list(before), list(after)
    for entry in before:
        if entry in new:
            old.remove(entry)
            new.remove(entry)
    rows: list[Row] = []
    for entry in old:
        same_kind = [other for other in new if other.get("kind") == entry.get("kind")]
        same_kind.sort(key=lambda other: other.get("step") != entry.get("step"))
        if same_kind:
            new.remove(same_kind[0])
            keys = [*entry, *(key for key in same_kind[0] if key not in entry)]
            for key in (key for key in keys if entry.get(key) != same_kind[0].get(key)):
                was, now = (_json(e[key]) if key in e else None for e in (entry, same_kind[0]))
                change = "added" if was is None else "removed" if now is None else "changed"
                rows.append((f"{_name(table, entry)}.{key}", change, was, now))
        else:
            rows.append((_name(table, entry), "removed", _json(entry), None))
    return rows + [(_name(table, entry), "added", None, _json(entry)) for entry in new]


def _name(table: str, entry: Mapping[str, Any]) -> str:
    return f"{table}[{entry.get('kind')} at step {entry.get('step')}]"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
