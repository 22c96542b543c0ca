"""Work in parallel: all of it is done once, in whatever thread, and failures come out."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from oasis.kernels.threads import aside, both, each, in_parts


@pytest.mark.parametrize("rows", [0, 1, 255, 1000, 100_003])
def test_parts_cover_all_rows_once(rows: int) -> None:
    done = np.zeros(rows, np.int64)

    def work(part: slice) -> None:
        done[part] += 1

    in_parts(rows, work)
    assert (done == 1).all()


def test_work_may_ask_for_parallel_work() -> None:
    """Nested calls run in their thread; were they queued behind the waiting ones, this would hang."""
    done = np.zeros((8, 5000), np.int64)

    def inner(row: int) -> int:
        def work(part: slice) -> None:
            done[row, part] += 1

        in_parts(5000, work)
        assert each((1, 2), lambda n: n * row) == [row, 2 * row]
        assert both(lambda: row, lambda: "other") == (row, "other")
        return row

    assert each(range(8), inner) == list(range(8))
    assert (done == 1).all()


def test_failures_come_out() -> None:
    def fail(item: object) -> None:
        raise ValueError(str(item))

    with pytest.raises(ValueError, match="7"):
        each((7, 7), fail)
    with pytest.raises(ValueError, match="one"):
        both(lambda: fail("one"), lambda: None)
    with pytest.raises(ValueError, match="other"):
        both(lambda: None, lambda: fail("other"))
    with pytest.raises(ValueError, match="slice"):
        in_parts(10_000, fail)


async def test_cancelled_work_has_ended_when_the_caller_goes_on() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        ended.set()

    task = asyncio.create_task(aside(work))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
