"""Names of accounts: real people's may be among them, so they are shown only where asked for."""

from __future__ import annotations

import polars as pl

__all__ = ["NAME_COLUMNS", "without_mentions", "without_names"]

NAME_COLUMNS = ("username", "name", "key")
"""Columns of ``users`` that name an account. Stable keys are made from names in some populations, so a guess of a name
could be tried on them; those of posts are made from their authors'."""

_NAME_IN_JSON = r'"(username|name)":\s*"(?:[^"\\]|\\.)*"'
_MENTION = r"@[\p{L}\p{N}_]+"


def without_mentions(text: pl.Expr) -> pl.Expr:
    """Return texts in which ``@someone`` has become ``@…``. What they say about people in other words stays."""
    return text.str.replace_all(_MENTION, "@…")


def without_names() -> pl.Expr:
    """Return the ``content`` of events, without the names that arguments of sign-ups and edited profiles hold."""
    profile = pl.col("action").cast(pl.String).is_in(["sign_up", "edit_profile"]) & (pl.col("agent_id") < 0)
    emptied = pl.col("content").str.replace_all(_NAME_IN_JSON, '"$1": null')
    return pl.when(profile).then(emptied).otherwise("content").alias("content")
