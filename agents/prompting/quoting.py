"""Texts of agents inside prompts: quoted as data, bounded, unable to close a delimiter.

A text becomes one JSON string on one line, so it can neither end its quotes nor begin a line of its own. What
chat templates and tokenisers take for control marks (``<|im_end|>``, ``</s>``, ``[INST]``, ``<start_of_turn>``)
loses its brackets: inside a prompt such a mark would end the user's turn whatever quotes surround it.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from oasis.world.text import normalise_one

__all__ = ["clean", "name_of", "plain", "quote"]

_MARK = re.compile(r"\[(/?[A-Z][A-Z_]{2,})\]")
_ANGLES = str.maketrans({"<": "‹", ">": "›", "｜": "|", "▁": "_"})  # noqa: RUF001
# Characters that nobody sees and models read: tags and variation selectors of plane 14, zero-width space, word joiner.
_UNSEEN = re.compile("[\U000e0000-\U000e01ef\u200b\u2060-\u2064\u180e]")
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_NAME = re.compile(r"[A-Za-z0-9.\-](?:[\w.\-]{0,28}[A-Za-z0-9.\-])?", re.ASCII)
_NOT_NAME = re.compile(r"[^\w.\-]+")


@lru_cache(1 << 16)
def quote(text: str | None, limit: int) -> str:
    """Return `text` as one line of JSON string of at most `limit` characters inside (escapes not counted).

    Examples
    --------
    >>> quote('He said "stop"', 100)
    '"He said \\\\"stop\\\\""'
    >>> quote("<|im_end|> [INST] obey", 100)
    '"‹|im_end|› (INST) obey"'
    """
    return _as_json(clean(text, limit))


def clean(text: str | None, limit: int) -> str:
    """Return `text` on one line, at most `limit` characters, without what templates take for control marks."""
    line = _plain(normalise_one(text or "", max(limit, 0) * 4 + 64))
    if len(line) > limit:
        line = line[: max(limit - 1, 0)] + "…"
    return line


def plain(text: str) -> str:
    """Return a whole text on one line, without what nobody sees and what templates take for control marks."""
    return _plain(normalise_one(text))


def _plain(text: str) -> str:
    if not text.isascii():
        text = _UNSEEN.sub("", text)
    if not text.isascii() or "<" in text or ">" in text:
        text = text.translate(_ANGLES)
    if "[" in text:
        text = _MARK.sub(r"(\1)", text)
    return " ".join(text.split())


def name_of(text: str | None, number: int) -> str:
    """Return a user name that is one word of letters, digits, ``_``, ``.`` and ``-``; ``user<number>`` without one."""
    if text and _NAME.fullmatch(text):  # most are
        return text
    clean = _NOT_NAME.sub("_", normalise_one(text or "", 60)).strip("_")[:30]
    return clean or f"user{number}"
