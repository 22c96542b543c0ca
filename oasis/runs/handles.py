"""Names of accounts: real people's may be among them, so they are shown only where asked for."""

from __future__ import annotations

import polars as pl

__all__ = ["NAME_COLUMNS", "without_mentions"]

NAME_COLUMNS = ("username", "name")
"""Columns of ``users`` that name an account."""

_MENTION = r"@[\p{L}\p{N}_]+"


def without_mentions(text: pl.Expr) -> pl.Expr:
    """Return texts in which ``@someone`` has become ``@…``. What they say about people in other words stays."""
    return text.str.replace_all(_MENTION, "@…")
