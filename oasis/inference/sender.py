"""Requests sent by a process of their own, so that one core does HTTP while another decides what to ask."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from oasis.inference.batches import Batches
from oasis.inference.transport import Reply, TransportError
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
        self._waiting: dict[int, tuple[asyncio.Future[Reply], float]] = {}
        self.asked = 0

    def serve(self, url: str, api_key: str | None) -> int:
        """Take note of a server and return its number."""
        self._servers.append((url, api_key))
        return len(self._servers) - 1

    @property
    def ready(self) -> bool:
        """Whether it takes requests of the running event loop. Asked before each."""
        if self._is_ready:
            if self._loop is asyncio.get_running_loop():
                return True
            self.end()
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self._start()
        return False

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
        loop, batches = self._loop, self._batches
        if loop is None or batches is None:
            raise SenderGoneError
        self.asked += 1
        number, future = self.asked, loop.create_future()
        self._waiting[number] = future, loop.time() + timeout_s + GRACE_S
        batches.put((number, server, timeout_s, body))
        try:
            return await future
        except asyncio.CancelledError:
            if self._waiting.pop(number, None) is not None:
                batches.put(number)
            raise

    def end(self) -> None:
        """End the process and tell those who wait; it is not started again."""
        batches, self._batches = self._batches, None
        process, self._process = self._process, None
        waiting, self._waiting = self._waiting, {}
        self._is_ready, self._left = False, 0
        if self._loop is not None and not self._loop.is_closed():
            for future, _ in waiting.values():
                if not future.done():
                    future.set_exception(SenderGoneError())
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
        for number, *found in items:
            future, _ = self._waiting.pop(number, (None, 0.0))
            if future is None or future.done():
                continue
            if len(found) == 1:
                future.set_result(Reply(*found[0]))
            else:
                future.set_exception(TransportError(*found))

    def _watch(self, loop: asyncio.AbstractEventLoop, batches: Batches) -> None:
        """Give up a process that hangs."""
        if batches is not self._batches:
            return
        if any(due < loop.time() for _, due in self._waiting.values()):
            self.end()
        else:
            loop.call_later(GRACE_S, self._watch, loop, batches)
