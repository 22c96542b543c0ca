"""The tables that exports hold, and the names of accounts that they leave out."""

from __future__ import annotations

import polars as pl

from oasis.runs.handles import NAME_COLUMNS, without_mentions, without_names
from oasis.runs.reading import Run

__all__ = ["EXPORTED", "KEYS", "exported_table", "text_columns"]

EXPORTED = (
    "users",
    "posts",
    "comments",
    "follows",
    "events",
    "impressions",
    "llm_calls",
    "interviews",
    "metrics",
)
KEYS = {"users": ("agent_id",), "posts": ("post_id",), "comments": ("comment_id",), "metrics": ("step",)}
"""Columns that name a row of a table, where there are such."""


def exported_table(run: Run, name: str, handles: bool) -> pl.LazyFrame:
    """Return a table for export: labels as text; without `handles`, no names of accounts.

    Then the columns ``username``, ``name`` and ``key`` are left out, mentions in texts (``@someone``) become ``@…``,
    and in the arguments of sign-ups and edited profiles the names are emptied. What a text says about a person in other
    words stays.
    """
    frame = run.table(name)
    schema = frame.collect_schema()
    labels = [column for column, kind in schema.items() if isinstance(kind, pl.Categorical | pl.Enum)]
    frame = frame.with_columns(pl.col(labels).cast(pl.String))
    if handles:
        return frame
    if name == "users":
        frame = frame.drop(NAME_COLUMNS, strict=False)
    if name == "posts":
        frame = frame.drop("key", strict=False)
    if name == "events":
        frame = frame.with_columns(without_names())
    texts = [c for c in text_columns(frame) if c not in labels]
    return frame.with_columns(without_mentions(pl.col(texts)))


def text_columns(frame: pl.LazyFrame) -> list[str]:
    """Return the names of the columns that hold text."""
    return [column for column, kind in frame.collect_schema().items() if kind == pl.String]
