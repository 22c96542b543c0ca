"""Python objects between two processes of ours: some that are put within one turn of the event loop go as one."""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["AT_ONCE", "Batches"]

AT_ONCE = 16
"""Objects that are not kept waiting for more: the other end works on them while this one makes the next."""
_LENGTH = struct.Struct("<Q")


class Batches(asyncio.Protocol):
    """One end of a connection.

    The other end must be trusted: objects are pickled.

    Parameters
    ----------
    take : callable
        ``take(items)``, called with what came together.
    lost : callable
        Called once, when the connection is closed by whichever end.
    """

    def __init__(self, take: Callable[[Sequence[Any]], None], lost: Callable[[], None]) -> None:
        self._take, self._lost = take, lost
        self._out: list[Any] = []
        self._in = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None

    def put(self, item: Any) -> None:
        """Send an object at the end of this turn of the loop, or with the next few; one that cannot be sent any more is
        dropped."""
        self._out.append(item)
        if len(self._out) >= AT_ONCE:
            self._flush()
        elif len(self._out) == 1:
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Close the connection; what was not sent is not."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to send."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        """Say so."""
        self._transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take what has come whole."""
        self._in += data
        while len(self._in) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._in)[0]
            if len(self._in) < end:
                return
            with memoryview(self._in) as view:
                items = pickle.loads(view[_LENGTH.size : end])
            del self._in[:end]
            self._take(items)

    def _flush(self) -> None:
        items, self._out = self._out, []
        if items and self._transport is not None:
            data = pickle.dumps(items, pickle.HIGHEST_PROTOCOL)
            self._transport.writelines((_LENGTH.pack(len(data)), data))
