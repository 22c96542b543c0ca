"""GraphML: agents and who follows whom, for networkx, Gephi and igraph."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import polars as pl

from oasis.runs.export.tables import exported_table
from oasis.runs.reading import Run

__all__ = ["export_graphml", "xml_text"]

_BATCH = 100_000
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">\n'
)
_NOT_IN_XML = r"[^\t\n\r\x20-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]"


def export_graphml(run: Run, out: Path, handles: bool = False) -> None:
    """Write a directed graph: a node per agent (id: ``agent_id``) with its columns, an edge per follow with its step.

    The text is built in columns and streamed, so a graph of millions of edges needs little memory.
    """
    users = exported_table(run, "users", handles)
    schema = {
        name: kind for name, kind in users.collect_schema().items() if name != "agent_id" and not kind.is_nested()
    }
    with open(out, "wb") as file:
        file.write(_HEAD.encode())
        for number, (name, kind) in enumerate(schema.items()):
            label = xml_name(name)
            file.write(f'<key id="n{number}" for="node" attr.name="{label}" attr.type="{_type(kind)}"/>\n'.encode())
        file.write(b'<key id="e0" for="edge" attr.name="step" attr.type="int"/>\n<graph edgedefault="directed">\n')
        data = [_data(f"n{number}", name, kind) for number, (name, kind) in enumerate(schema.items())]
        node = pl.concat_str(pl.format('<node id="{}">', "agent_id"), *data, pl.lit("</node>"))
        _write(users.select(node), file)
        edge = '<edge source="{}" target="{}"><data key="e0">{}</data></edge>'
        _write(run.follows.select(pl.format(edge, "follower_id", "followee_id", "step")), file)
        file.write(b"</graph>\n</graphml>\n")


def xml_text(text: pl.Expr) -> pl.Expr:
    """Return text safe within an XML element: what XML 1.0 cannot hold removed, the rest escaped."""
    clean = text.str.replace_all(_NOT_IN_XML, "").str.replace_all("&", "&amp;", literal=True)
    clean = clean.str.replace_all("<", "&lt;", literal=True).str.replace_all(">", "&gt;", literal=True)
    return clean.str.replace_all('"', "&quot;", literal=True).str.replace_all("\r", "&#13;", literal=True)


def xml_name(name: str) -> str:
    """Return one text by the rule of `xml_text`."""
    text: str = pl.select(xml_text(pl.lit(name))).item()
    return text


def _data(key: str, column: str, kind: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if kind.is_float():
        value = value.fill_nan(None)
    text = xml_text(value) if kind == pl.String else value.cast(pl.String)
    return pl.format(f'<data key="{key}">{{}}</data>', text).fill_null("")


def _type(kind: pl.DataType) -> str:
    if kind == pl.Boolean:
        return "boolean"
    if kind.is_integer() and kind != pl.UInt64:  # which a long cannot hold
        return "long"
    return "double" if kind.is_float() else "string"


def _write(lines: pl.LazyFrame, file: BinaryIO) -> None:
    for batch in lines.collect_batches(chunk_size=_BATCH, maintain_order=True):
        series = batch.to_series()
        if len(series):
            file.write("\n".join(series.to_list()).encode() + b"\n")
