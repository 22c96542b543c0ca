"""CSV: a folder with a file per table, safe to open in a spreadsheet."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from oasis.runs.export.tables import EXPORTED, exported_table, text_columns
from oasis.runs.reading import Run

__all__ = ["FORMULA_STARTS", "export_csv", "guard_formulas", "lists_as_json"]

FORMULA_STARTS = r"^[\s'\u{FEFF}]*[=+\-@\u{FF1D}\u{FF0B}\u{FF0D}\u{FF20}]|^[\t\r\n]"
"""What a spreadsheet may take for a formula: OWASP, "CSV Injection" (=, +, -, @, tab, CR, LF, and their full-width
forms), also behind spaces and apostrophes."""


def export_csv(run: Run, out: Path, handles: bool = False) -> None:
    """Write a folder with ``<table>.csv`` for every table; lists are JSON, nulls are empty.

    A text that a spreadsheet may take for a formula gets an apostrophe in front, also in data that nobody will open in
    one: who reads the files with a program removes the first character of texts that start with ``'``.
    """
    out.mkdir()
    for name in EXPORTED:
        frame = lists_as_json(exported_table(run, name, handles))
        guard_formulas(frame).sink_csv(out / f"{name}.csv")


def guard_formulas(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Put an apostrophe in front of texts (and of column names) that a spreadsheet may take for a formula."""
    texts = pl.col(text_columns(frame))
    guarded = frame.with_columns(
        pl.when(texts.str.contains(FORMULA_STARTS)).then(pl.lit("'") + texts).otherwise(texts).name.keep()
    )
    names = {name: f"'{name}" for name in frame.collect_schema() if name[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")}
    return guarded.rename(names)


def lists_as_json(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Write lists as JSON text, null where there is none."""
    nested = [column for column, kind in frame.collect_schema().items() if kind.is_nested()]
    # A whole struct is what polars encodes: {"x":[1,2]} less its first five characters and its last.
    encoded = (pl.struct(x=column).struct.json_encode().str.slice(5).str.head(-1) for column in nested)
    return frame.with_columns(
        pl.when(pl.col(column).is_not_null()).then(text).alias(column)
        for column, text in zip(nested, encoded, strict=True)
    )
