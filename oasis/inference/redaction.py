"""A secret taken out of texts that others wrote: whatever a server repeats, in whatever encoding."""

from __future__ import annotations

import base64
import re
from typing import Any

__all__ = ["HIDDEN", "Redaction"]

HIDDEN = "[api key]"
SHORTEST_SECRET = 8
"""Shorter ones stand for "none" ("EMPTY", "sk-no") and are words of ordinary texts."""


class Redaction:
    """Replaces a key by `HIDDEN`: as it is, percent-encoded, escaped for JSON or HTML, or in base64.

    Parameters
    ----------
    key : str or None
        ASCII. Nothing is replaced where it is shorter than `SHORTEST_SECRET`.

    Examples
    --------
    >>> Redaction("sk-012/345")("Bearer sk-012%2F345 is unknown")
    'Bearer [api key] is unknown'
    """

    def __init__(self, key: str | None) -> None:
        self._pattern = re.compile(_pattern(key)) if key and len(key) >= SHORTEST_SECRET else None

    def __call__(self, text: str) -> str:
        """Return a text without the key; the same object where it has none."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def everywhere(self, value: Any) -> Any:
        """Return decoded JSON without the key in any of its texts."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, list):
            return [self.everywhere(each) for each in value]
        if isinstance(value, dict):
            return {self(key): self.everywhere(each) for key, each in value.items()}
        return value


def _pattern(key: str) -> str:
    encoded = (form for skipped in range(3) for form in _base64(key.encode(), skipped))
    return "|".join(["".join(map(_character, key)), *dict.fromkeys(map(re.escape, encoded))])


def _character(character: str) -> str:
    """Return what matches a character in the notations of URLs, JSON and HTML, and in another case."""
    code = ord(character)
    byte = f"(?i:{code:02x})"
    forms = [re.escape(character.lower()), re.escape(character.upper()), rf"\\+{re.escape(character)}", f"%{byte}"]
    forms += [rf"\\+u00{byte}", rf"\\+x{byte}", f"&#0*{code};", f"&#[xX]0*{byte};"]
    forms += {"&": ["&amp;"], "<": ["&lt;"], ">": ["&gt;"], '"': ["&quot;"], " ": [r"\+"]}.get(character, [])
    return f"(?:{'|'.join(forms)})"


def _base64(data: bytes, skipped: int) -> list[str]:
    """Return base64 of data that begin `skipped` bytes into a group of three, without digits of their neighbours."""
    digits = base64.b64encode(bytes(skipped) + data).decode()
    whole = digits[-(-8 * skipped // 6) : 8 * (skipped + len(data)) // 6]
    return [whole, whole.replace("+", "-").replace("/", "_")]
