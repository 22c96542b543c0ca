"""Live progress of a run on standard error; silent where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from oasis.simulation import StepResult
from oasis.simulation.load import ServerLoad

__all__ = ["RunProgress", "load_figures"]


class RunProgress:
    """Steps, active agents, decisions a second, tokens, failures, how servers do, and time left."""

    def __init__(self, steps: int, quiet: bool = False, done: int = 0) -> None:
        console = Console(stderr=True)
        self._loads: Callable[[], Sequence[ServerLoad]] = tuple
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            _LoadColumn(self),
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

    def watch(self, loads: Callable[[], Sequence[ServerLoad]]) -> None:
        """Show from now on, also within a step, what `loads` returns."""
        self._loads = loads

    @property
    def loads(self) -> Sequence[ServerLoad]:
        """How servers do now."""
        return self._loads()

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


class _LoadColumn(ProgressColumn):
    """How servers do now, which goes on while a step does."""

    max_refresh = 1.0

    def __init__(self, progress: RunProgress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(load_figures(self._progress.loads))


def load_figures(loads: Sequence[ServerLoad]) -> str:
    """Return cache hits and queues of all servers together, in a few words; nothing where none tells."""
    told = [load for load in loads if load.prompt_tokens]
    figures = []
    if told:
        share = sum(load.cached_tokens or 0 for load in told) / sum(load.prompt_tokens or 0 for load in told)
        figures.append(f"cache hits {share:.0%}")
    if any(load.running is not None or load.waiting is not None for load in loads):
        running = sum(load.running or 0 for load in loads)
        waiting = sum(load.waiting or 0 for load in loads)
        figures.append(f"{running:,} running, {waiting:,} waiting")
    return "".join(f"· {figure} " for figure in figures).rstrip()
