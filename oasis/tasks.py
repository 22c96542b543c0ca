"""Asynchronous work done together: all of it, or the error that explains why not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from oasis.errors import OasisError

__all__ = ["together"]

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
