"""Lines of JSON that know whether they are whole: each ends with a checksum of what comes before it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

__all__ = ["checked_line", "content_of"]

_CHECKSUM = "crc32"


def checked_line(content: Mapping[str, Any]) -> bytes:
    """Return an object as a line of JSON with a checksum."""
    text = _text(content)
    return text[:-1] + f',"{_CHECKSUM}":{zlib.crc32(text)}}}\n'.encode()


def content_of(line: bytes) -> dict[str, Any]:
    """Return the object in a line, without its checksum; a line that has none is taken as it is.

    Raises
    ------
    ValueError
        If it is no whole line.
    """
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    checksum = content.pop(_CHECKSUM, None)
    if checksum is not None and checksum != zlib.crc32(_text(content)):
        raise ValueError("another checksum")
    return content


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(content), separators=(",", ":")).encode()
