"""Tables for a terminal: aligned, one line a row, whatever is in the texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from oasis.world.text import normalise_one

__all__ = ["one_line", "text_table"]


def one_line(text: str, width: int = 80) -> str:
    """Return a text without line breaks and control characters (which could steer a terminal), cut to `width`."""
    clean = " ".join(normalise_one(text).split())
    return clean if len(clean) <= width else clean[: width - 1] + "…"


def text_table(frame: pl.DataFrame, columns: Iterable[str] | None = None, width: int = 80) -> str:
    """Return a frame as text; numbers to the right, "-" for null, texts cut to `width` characters."""
    names = list(frame.columns if columns is None else columns)
    cells = [[name.replace("_", " ") for name in names]]
    cells += [[_cell(value, width) for value in row] for row in frame.select(names).iter_rows()]
    right = [frame.schema[name].is_numeric() for name in names]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    lines = []
    for row in cells:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: Any, width: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e3 else f"{value:,.2f}" if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else one_line(str(value), width)
