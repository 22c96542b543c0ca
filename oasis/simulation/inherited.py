"""Answers that the parent of a branch was given after they parted: kept with the branch while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oasis.records import LLM_CALLS
from oasis.runs.directory import INHERITED, write_parquet
from oasis.runs.journal import later_calls

__all__ = ["inherit_answers", "inherited_answers"]

_FILE = "llm_calls.parquet"


def inherit_answers(parent: Path, step: int, branch: Path) -> None:
    """Put what the parent was answered after `step` into a branch's directory."""
    rows = later_calls(parent, step)
    (branch / INHERITED).mkdir()
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["step"]), LLM_CALLS)
    write_parquet(table, branch / INHERITED / _FILE, rows_per_group=10_000)  # a step is read at a time


def inherited_answers(branch: Path, step: int) -> list[dict[str, Any]]:
    """Return the parent's calls of a step, marked as reused."""
    path = branch / INHERITED / _FILE
    if not path.exists():
        return []
    rows = pq.read_table(path, schema=LLM_CALLS, filters=[("step", "=", step)]).to_pylist()
    return [{**row, "reused": True} for row in rows]
