"""SQLite: a table per table of the run, with keys and indexes, and the manifest as rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import sqlite_utils

from oasis.runs.export.csv_files import lists_as_json
from oasis.runs.export.tables import EXPORTED, KEYS, exported_table
from oasis.runs.reading import Run

__all__ = ["export_sqlite"]

_BATCH = 100_000
_FOREIGN_KEYS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "posts": (("author_id", "users", "agent_id"), ("root_id", "posts", "post_id"), ("parent_id", "posts", "post_id")),
    "comments": (
        ("post_id", "posts", "post_id"),
        ("author_id", "users", "agent_id"),
        ("parent_comment_id", "comments", "comment_id"),
    ),
    "follows": (("follower_id", "users", "agent_id"), ("followee_id", "users", "agent_id")),
    "impressions": (("agent_id", "users", "agent_id"), ("post_id", "posts", "post_id")),
    "interviews": (("agent_id", "users", "agent_id"),),
    "llm_calls": (("agent_id", "users", "agent_id"),),
}
"""Events have none: agent -1 is the outside, and a target is of its ``target_kind`` and may never have existed."""
_INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "posts": (("author_id",), ("root_id",)),
    "comments": (("post_id",),),
    "follows": (("followee_id",),),
    "events": (("step", "agent_id"), ("action", "outcome"), ("target_kind", "target_id")),
    "impressions": (("step", "agent_id"), ("post_id",)),
    "llm_calls": (("step", "agent_id"),),
}


def export_sqlite(run: Run, out: Path, handles: bool = False) -> None:
    """Write one SQLite file. Lists are JSON, 64-bit hashes are 16 hex digits, the manifest is the table ``run``."""
    database = sqlite_utils.Database(out)
    try:
        for name in EXPORTED:
            frame = _storable(exported_table(run, name, handles))
            schema = frame.collect_schema()
            keys: Any = KEYS.get(name)
            if name == "follows":
                keys = ("follower_id", "followee_id")
            database.table(name).create(
                {column: _python_type(kind) for column, kind in schema.items()},
                pk=keys[0] if keys and len(keys) == 1 else keys,
                foreign_keys=_FOREIGN_KEYS.get(name, ()),
            )
            columns = ", ".join(f"[{column}]" for column in schema)
            slots = ", ".join("?" for _ in schema)
            with database.conn:
                for batch in frame.collect_batches(chunk_size=_BATCH, maintain_order=True):
                    database.conn.executemany(f"INSERT INTO [{name}] ({columns}) VALUES ({slots})", batch.iter_rows())
            for index in _INDEXES.get(name, ()):
                database.table(name).create_index(index)
        manifest = run.manifest.model_dump(mode="json")
        rows = [{"key": key, "value": _text(value)} for key, value in manifest.items()]
        database.table("run").insert_all(rows, pk="key", columns={"value": str})
    finally:
        database.close()


def _storable(frame: pl.LazyFrame) -> pl.LazyFrame:
    unsigned = [column for column, kind in frame.collect_schema().items() if kind == pl.UInt64]
    return lists_as_json(frame).with_columns(_hex(column) for column in unsigned)


def _hex(column: str) -> pl.Expr:
    """Return an unsigned 64-bit number as 16 hex digits: SQLite's integers are signed."""
    places = (pl.col(column).floordiv(16**place).mod(16).cast(pl.Int64) for place in range(15, -1, -1))
    digits = [digit.replace_strict(list(range(16)), list("0123456789abcdef")) for digit in places]
    return pl.concat_str(digits).alias(column)


def _python_type(kind: pl.DataType) -> type:
    if kind.is_integer() or kind == pl.Boolean:
        return int
    return float if kind.is_float() else str


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
