"""Work on rows in parallel: a row's result is its own, so how rows are split over threads changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from oasis.errors import ScenarioError

__all__ = ["available", "in_parts", "pool"]

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

    `work` must release the interpreter's lock to gain from it, as kernels do. Within `work`, and in what `pool` runs,
    `in_parts` works on all rows at once: their thread is busy, and so are the others.
    """
    threads = 1 if getattr(_here, "busy", False) else min(available(), rows // rows_worth_a_thread)
    if threads <= 1:
        work(slice(0, rows))
        return
    parts = min(threads * _PARTS_PER_THREAD, rows // rows_worth_a_thread)
    bounds = [rows * part // parts for part in range(parts + 1)]
    slices = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    list(pool().map(work, slices))


@cache
def pool() -> ThreadPoolExecutor:
    """Return the threads that all parallel work shares."""
    return ThreadPoolExecutor(available(), "oasis-work", initializer=setattr, initargs=(_here, "busy", True))


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=pool.cache_clear)
