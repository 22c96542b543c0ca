"""Requests sent by a process of their own, so that one core does HTTP while another decides what to ask."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from oasis.inference.batches import Batches
from oasis.inference.transport import Arrival, Landed, Reply, TransportError
from oasis.kernels.threads import available

__all__ = ["Sender", "SenderGoneError"]

WORTHWHILE = 1000
"""Requests after which the process is started: to send them takes about as long as to start it, 0.4 s."""
GRACE_S = 5.0
"""A process that says nothing of a request for this long after its time-out hangs, and is given up."""


class SenderGoneError(Exception):
    """The process ended or hangs: whoever waits for its answer may ask again without it."""


class Sender:
    """Starts the process when it is worth it, and gives it requests.

    Until it is ready, where there is one core, and after it has ended, `ready` is false and requests are to be sent
    from here. The process ends with this one, however that ends. What it is told, keys included, goes through a pair
    of sockets that nobody else has.

    Parameters
    ----------
    worthwhile : int
        Calls of `ready` after which the process is started; never where it is 0.

    Attributes
    ----------
    asked : int
        Requests given to the process so far.
    """

    def __init__(self, worthwhile: int = WORTHWHILE) -> None:
        self._left = worthwhile if os.name == "posix" and available() > 1 else 0
        self._servers: list[tuple[str, str | None]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._batches: Batches | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ready = False
        self._waiting: dict[int, tuple[Any, Landed, float]] = {}
        self.asked = 0

    def serve(self, url: str, api_key: str | None) -> int:
        """Take note of a server and return its number."""
        self._servers.append((url, api_key))
        return len(self._servers) - 1

    @property
    def ready(self) -> bool:
        """Whether it takes requests of the running event loop. Asked before each."""
        if self._is_ready:
            if self.takes:
                return True
            self.end()
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self._start()
        return False

    @property
    def takes(self) -> bool:
        """As `ready`, which is asked besides where it is false."""
        return self._is_ready and self._loop is asyncio.get_running_loop()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    async def ask(self, server: int, body: bytes, timeout_s: float) -> Reply:
        """Send a chat completion's request to a server, by its number.

        Raises
        ------
        TransportError
            As `HttpTransport.send`.
        SenderGoneError
            The request may have been sent.
        """
        if self._loop is None:
            raise SenderGoneError
        future: asyncio.Future[Reply] = self._loop.create_future()
        number = self.start(server, body, timeout_s, future, _resolve)
        try:
            return await future
        except asyncio.CancelledError:
            self.give_up(number)
            raise

    def start(self, server: int, body: bytes, timeout_s: float, token: Any, landed: Landed) -> int:
        """Send a request and return its number; ``landed`` is told of `token` and what came: as `ask` returns or
        raises it."""
        loop, batches = self._loop, self._batches
        if loop is None or batches is None:
            raise SenderGoneError
        self.asked += 1
        self._waiting[self.asked] = token, landed, loop.time() + timeout_s + GRACE_S
        batches.put((self.asked, server, timeout_s, body))
        return self.asked

    def give_up(self, number: int) -> None:
        """Wait no longer for a request."""
        if self._waiting.pop(number, None) is not None and self._batches is not None:
            self._batches.put(number)

    def end(self) -> None:
        """End the process and tell those who wait; it is not started again."""
        batches, self._batches = self._batches, None
        process, self._process = self._process, None
        waiting, self._waiting = self._waiting, {}
        self._is_ready, self._left = False, 0
        if self._loop is not None and not self._loop.is_closed():
            _tell((token, landed, SenderGoneError()) for token, landed, _ in waiting.values())
            if batches is not None:
                batches.close()
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> None:
        here, there = socket.socketpair()
        # The same modules as here, wherever the process is started: no module of the current folder comes first.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        fd = there.fileno()
        command = [sys.executable, "-P", "-m", "oasis.inference.sending", str(fd)]
        try:
            self._process = subprocess.Popen(command, pass_fds=(fd,), env=environment, stdin=subprocess.DEVNULL)
        except OSError:  # no room for a process: all is sent from here
            here.close()
            return
        finally:
            there.close()
        self._loop = asyncio.get_running_loop()
        self._starting = self._loop.create_task(self._connect(here, self._loop))

    async def _connect(self, here: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        _, batches = await loop.create_connection(lambda: Batches(self._take, self.end), sock=here)
        self._batches = batches
        batches.put(self._servers)
        loop.call_later(GRACE_S, self._watch, loop, batches)

    def _take(self, items: Sequence[Any]) -> None:
        self._is_ready = True
        waiting = self._waiting
        arrived: list[tuple[Any, Landed, Reply | Exception]] = []
        for number, *found in items:
            waits = waiting.pop(number, None)
            if waits is not None:
                reply = Reply(*found[0]) if len(found) == 1 else TransportError(*found)
                arrived.append((waits[0], waits[1], reply))
        _tell(arrived)

    def _watch(self, loop: asyncio.AbstractEventLoop, batches: Batches) -> None:
        """Give up a process that hangs."""
        if batches is not self._batches:
            return
        if any(due < loop.time() for *_, due in self._waiting.values()):
            self.end()
        else:
            loop.call_later(GRACE_S, self._watch, loop, batches)


def _tell(arrived: Iterable[tuple[Any, Landed, Reply | Exception]]) -> None:
    """Call each ``landed`` once, with all that is for it."""
    found: dict[Landed, list[Arrival]] = {}
    for token, landed, what in arrived:
        found.setdefault(landed, []).append((token, what))
    for landed, arrivals in found.items():
        landed(arrivals)


def _resolve(arrivals: Sequence[Arrival]) -> None:
    for future, what in arrivals:
        if future.done():
            continue
        if isinstance(what, Exception):
            future.set_exception(what)
        else:
            future.set_result(what)
