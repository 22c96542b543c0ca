"""Lines of JSON that know whether they are whole: each ends with a checksum of what comes before it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["checked_line", "content_of"]

_CHECKSUM = "crc32"
_MARK = f',"{_CHECKSUM}":'.encode()


def checked_line(content: Mapping[str, Any]) -> bytes:
    """Return an object as a line of JSON with a checksum."""
    text = orjson.dumps(content)
    return b"%s%s%d}\n" % (text[:-1], _MARK, zlib.crc32(text))


def content_of(line: bytes) -> dict[str, Any]:
    """Return the object in a line, without its checksum; a line that has none is taken as it is.

    Raises
    ------
    ValueError
        If it is no whole line.
    """
    content = orjson.loads(line)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    checksum = content.pop(_CHECKSUM, None)
    if checksum is not None and checksum != zlib.crc32(line[: line.rindex(_MARK)] + b"}"):
        raise ValueError("another checksum")
    return content
