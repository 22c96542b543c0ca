"""Asynchronous work done together: all of it, or the error that explains why not; and so much at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from oasis.errors import OasisError

__all__ = ["Places", "together"]

T = TypeVar("T")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all, in order, whatever order they end in.

    If one fails the others are cancelled, and it is raised: of several the first deliberate one, an `OasisError`.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as failures:
        deliberate = [e for e in failures.exceptions if isinstance(e, OasisError)]
        raise (deliberate or failures.exceptions)[0] from None
    return [task.result() for task in tasks]


class Places:
    """Room for so much work at a time, first come, first served; in whatever event loop it is used.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._semaphore = asyncio.Semaphore(count)

    def here(self) -> asyncio.Semaphore:
        """Return what work in the running event loop enters."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._semaphore = loop, asyncio.Semaphore(self._count)
        return self._semaphore
