"""Live progress of a run on standard error; silent where that is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from oasis.simulation import StepResult

__all__ = ["RunProgress"]


class RunProgress:
    """Steps, active agents, decisions a second, tokens, failures and time left."""

    def __init__(self, steps: int, quiet: bool = False, done: int = 0) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not sys.stderr.isatty(),
            transient=True,
        )
        self._task = self._progress.add_task("steps", total=steps, completed=done, figures="")
        self._begun = time.perf_counter()
        self._decisions = self._tokens = self._failures = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, result: StepResult) -> None:
        """Advance by one step."""
        active = len(result.active)
        failed = int((result.failed >= 0).sum())
        self._decisions += active - failed
        self._failures += failed
        self._tokens += int(result.metrics["tokens_in"]) + int(result.metrics["tokens_out"])
        rate = self._decisions / max(time.perf_counter() - self._begun, 1e-9)
        figures = f"{active:,} active · {rate:,.0f} decisions/s"
        if self._tokens:
            figures += f" · {self._tokens:,} tokens"
        if self._failures:
            figures += f" · [red]{self._failures:,} failed[/red]"
        self._progress.update(self._task, advance=1, figures=figures)

    def advance(self, step: int) -> None:
        """Advance to `step`, without figures."""
        self._progress.update(self._task, completed=step)
