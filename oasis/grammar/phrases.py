"""The phrases of the grammar as Arrow arrays, read once from ``phrases.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["TOPICS", "Form", "Topics", "form", "tags_of_topics", "topic_phrases", "unknown_subjects"]

_DATA: Final[dict[str, Any]] = tomllib.loads((files("oasis.grammar") / "phrases.toml").read_text("utf-8"))

TOPICS: Final[tuple[str, ...]] = tuple(_DATA["topics"])
"""Names of the topics; an interest is an index into this tuple. Append, never reorder: indices are stored."""


@dataclass(frozen=True)
class Form:
    """A text as ``opener core closer``, every core split around its slots.

    Attributes
    ----------
    openers, closers : pyarrow.LargeStringArray
        With the space that parts them from the core.
    slots : ndarray, shape (n_cores, n_slots), int64
        Which slot stands at each place of a core: the position of its letter in the letters asked for; -1 for none.
    pieces : tuple of pyarrow.LargeStringArray, n_slots + 1 of length n_cores
        What stands before, between and after the slots.
    """

    openers: pa.LargeStringArray
    closers: pa.LargeStringArray
    slots: npt.NDArray[np.int64]
    pieces: tuple[pa.LargeStringArray, ...]

    @property
    def cores(self) -> int:
        """How many cores there are."""
        return len(self.slots)


@dataclass(frozen=True)
class Topics:
    """Phrases of all topics in a row, and where each topic's begin.

    Attributes
    ----------
    names : pyarrow.LargeStringArray, length n_topics
    a, b : pyarrow.LargeStringArray
        All first and second subjects, topic after topic.
    per_topic : int
        Phrases per topic and slot, the same for all.
    keywords : tuple of tuple of str
        Words that give a topic away, in lower case; its phrases among them.
    """

    names: pa.LargeStringArray
    a: pa.LargeStringArray
    b: pa.LargeStringArray
    per_topic: int
    keywords: tuple[tuple[str, ...], ...]


@cache
def form(kind: str) -> Form:
    """Return the form of ``posts``, ``replies`` or ``bios``."""
    table = _DATA[kind]
    letters = {"posts": "AB", "replies": "SA", "bios": "TAB"}[kind]
    slots, pieces = [], []
    for core in table["cores"]:
        marks = sorted((core.index(f"{{{letter}}}"), i) for i, letter in enumerate(letters) if f"{{{letter}}}" in core)
        parts, at = [], 0
        for place, _ in marks:
            parts.append(core[at:place])
            at = place + 3
        parts.append(core[at:])
        missing = len(letters) - len(marks)
        slots.append([i for _, i in marks] + [-1] * missing)
        pieces.append(parts + [""] * missing)
    openers = table["roles"] if kind == "bios" else table["openers"]
    closers = table["tails"] if kind == "bios" else table["closers"]
    mark = "." if kind == "bios" else ""
    return Form(
        _strings([f"{o}{mark} " if o else "" for o in openers]),
        _strings([f" {c}" if c else "" for c in closers]),
        np.asarray(slots, np.int64),
        tuple(_strings(list(column)) for column in zip(*pieces, strict=True)),
    )


@cache
def topic_phrases() -> Topics:
    """Return the phrases of all topics."""
    tables = list(_DATA["topics"].values())
    per_topic = len(tables[0]["a"])
    a = [phrase for t in tables for phrase in t["a"]]
    b = [phrase for t in tables for phrase in t["b"]]
    keywords = tuple(
        tuple(dict.fromkeys(word.lower() for word in (name, *t["keywords"], *t["a"], *t["b"])))
        for name, t in zip(TOPICS, tables, strict=True)
    )
    return Topics(_strings(list(TOPICS)), _strings(a), _strings(b), per_topic, keywords)


@cache
def tags_of_topics() -> pa.LargeStringArray:
    """Return a hashtag per topic with the space before it, and an empty string after the last."""
    return _strings([*(f" #{name}" for name in TOPICS), ""])


@cache
def unknown_subjects() -> pa.LargeStringArray:
    """Return subjects for texts about no known topic."""
    return _strings(_DATA["bios"]["unknown"])


def _strings(values: list[str]) -> pa.LargeStringArray:
    return pa.array(values, pa.large_string())
