"""Split a batch of agents over threads. Each agent's rows are its own, so how a batch is split changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["in_parts"]

_ROWS_WORTH_A_THREAD = 256


def in_parts(rows: int, work: Callable[[slice], None]) -> None:
    """Call `work` with slices that cover ``range(rows)``, on as many threads as there are cores for this process.

    `work` must release the interpreter's lock (a Numba kernel with ``nogil``) to gain from it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = max(1, min(cores, rows // _ROWS_WORTH_A_THREAD))
    if parts == 1:
        work(slice(0, rows))
        return
    bounds = [rows * part // parts for part in range(parts + 1)]
    slices = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, slices))
