"""Work on rows in parallel: a row's result is its own, so how rows are split over threads changes nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

from oasis.errors import ScenarioError

__all__ = ["aside", "available", "both", "each", "in_parts"]

T = TypeVar("T")
R = TypeVar("R")

_PARTS_PER_THREAD = 4  # rows differ in cost: who is done early takes another part
_here = threading.local()


@cache
def available() -> int:
    """Return how many threads to use: ``$OASIS_THREADS``, else as many as there are cores for this process.

    Raises
    ------
    ScenarioError
        If the variable is no number above 0.
    """
    wanted = os.environ.get("OASIS_THREADS", "")
    if wanted:
        if not (wanted.isascii() and wanted.isdigit() and int(wanted) > 0):
            raise ScenarioError(f"OASIS_THREADS is {wanted!r}; allowed: a number of threads, 1 or more")
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parts(rows: int, work: Callable[[slice], None], rows_worth_a_thread: int = 256) -> None:
    """Call `work` with slices that cover ``range(rows)``, in parallel where there are enough rows.

    `work` must release the interpreter's lock to gain from it, as kernels do. Within work that runs in
    parallel already it works on all rows at once.
    """
    threads = 1 if getattr(_here, "busy", False) else min(available(), rows // rows_worth_a_thread)
    if threads <= 1:
        work(slice(0, rows))
        return
    parts = min(threads * _PARTS_PER_THREAD, rows // rows_worth_a_thread)
    bounds = [rows * part // parts for part in range(parts + 1)]
    slices = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    list(_pool().map(work, slices))


def each(items: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """Return ``work(item)`` of each item, in their order; in parallel where there are several."""
    if len(items) == 1 or available() == 1 or getattr(_here, "busy", False):
        return [work(item) for item in items]
    return list(_pool().map(work, items))


def both(one: Callable[[], T], other: Callable[[], R]) -> tuple[T, R]:
    """Return what two pieces of work return, done at the same time."""
    if available() == 1 or getattr(_here, "busy", False):
        return one(), other()
    beside = _pool().submit(other)
    try:
        return one(), beside.result()
    finally:
        wait([beside])


async def aside(work: Callable[[], R]) -> R:
    """Return ``work()``, done beside the event loop; it ends before this does, also when this is cancelled."""
    done = asyncio.get_running_loop().run_in_executor(_pool(), work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available(), "oasis-work", initializer=setattr, initargs=(_here, "busy", True))


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
