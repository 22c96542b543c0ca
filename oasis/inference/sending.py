"""What the process of `oasis.inference.sender` does: it sends requests, and reads responses."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any

from oasis.inference.batches import AT_ONCE, Batches
from oasis.inference.http import HttpTransport
from oasis.inference.transport import TransportError

__all__: list[str] = []


class _Sending:
    """Sends what it is given, until the other end is closed."""

    def __init__(self) -> None:
        self._transports: list[HttpTransport] = []
        self._unsent: dict[int, tuple[int, int, float, bytes]] = {}
        self._is_sending = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.ended = asyncio.Event()
        self._batches = Batches(self._take, self.ended.set)

    async def serve(self, there: socket.socket) -> None:
        """Work until the other end is closed."""
        await asyncio.get_running_loop().create_connection(lambda: self._batches, sock=there)
        await self.ended.wait()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for transport in self._transports:
            await transport.close()

    def _take(self, items: Sequence[Any]) -> None:
        """Take servers (a list, which comes first), requests (tuples), and numbers of those that are given up."""
        for item in items:
            if isinstance(item, int):
                self._unsent.pop(item, None)
                if (task := self._tasks.pop(item, None)) is not None:
                    task.cancel()
            elif isinstance(item, list):
                self._transports = [HttpTransport(url, "", key) for url, key in item]
                self._batches.put((0, None))  # ready
            else:
                self._unsent[item[0]] = item
        if self._unsent and not self._is_sending:
            self._is_sending = True
            asyncio.get_running_loop().call_soon(self._send_some)

    def _send_some(self) -> None:
        """Send a few requests, and the others after a look at what has come: else hundreds are sent, then hundreds of
        answers read, and whoever decides has nothing to do meanwhile."""
        for number in list(islice(self._unsent, AT_ONCE)):
            self._tasks[number] = asyncio.create_task(self._send(*self._unsent.pop(number)))
        self._is_sending = bool(self._unsent)
        if self._is_sending:
            asyncio.get_running_loop().call_soon(self._send_some)

    async def _send(self, number: int, server: int, timeout_s: float, body: bytes) -> None:
        try:
            reply = await self._transports[server].post(body, timeout_s)
            self._batches.put((number, tuple(getattr(reply, name) for name in reply.__slots__)))
        except TransportError as error:
            self._batches.put((number, error.kind, error.reason, error.retry_after_s))
        finally:
            self._tasks.pop(number, None)


async def _main(there: socket.socket) -> None:
    await _Sending().serve(there)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, to all its processes: the one that asks decides
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    asyncio.run(_main(socket.socket(fileno=int(sys.argv[1]))))
