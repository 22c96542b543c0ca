"""Whether two runs are the same in all that has to be: rows of every table, metrics, state hash, counts."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from oasis.runs import open_run
from oasis.runs.reading import TABLES

__all__ = ["run_differences"]

_OF_THE_ATTEMPT = ("latency_ms", "endpoint", "attempt", "error")
_COUNTS_OF_CALLS = ("llm_calls",)


def run_differences(directory: Path, reference: Path, *, same_calls: bool = True) -> list[str]:
    """Return what differs between two runs that ended, a sentence each; wall-clock times may.

    Parameters
    ----------
    same_calls : bool
        Whether calls of language models must be the same, attempt by attempt. If not, those with an answer must.
    """
    run, wanted = open_run(directory), open_run(reference)
    found = [
        f"{field} is {got}, not {want}"
        for field in ("status", "steps_done", "steps_planned", "state_hash", "coverage", "tokens", "injected")
        if (got := getattr(run.manifest, field)) != (want := getattr(wanted.manifest, field))
    ]
    for name in TABLES:
        got, want = (_rows(r.table(name), name, same_calls) for r in (run, wanted))
        if got.equals(want):
            continue
        if got.columns != want.columns or got.height != want.height:
            found.append(f"{name}: {got.height} rows of {got.columns}, not {want.height} of {want.columns}")
            continue
        for column in got.columns:
            rows = (~got[column].eq_missing(want[column])).arg_true()
            if len(rows):
                row = rows[0]
                found.append(f"{name}.{column}, row {row}: {got[column][row]!r}, not {want[column][row]!r}")
    return found


def _rows(frame: pl.LazyFrame, name: str, same_calls: bool) -> pl.DataFrame:
    rows = frame.collect()
    rows = rows.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    if name == "metrics":
        return rows.drop(pl.selectors.starts_with("seconds_"), *(() if same_calls else _COUNTS_OF_CALLS))
    if name == "llm_calls":
        # ids of the answer are the same, whoever was asked, and how fast
        rows = rows.drop("latency_ms", "endpoint") if same_calls else rows.filter(pl.col("status") == "ok")
        order = ("step", "agent_id", "turn", "purpose", "prompt_hash")
        return rows if same_calls else rows.drop(*_OF_THE_ATTEMPT).sort(order)
    return rows
