"""Executing a recorded run again: to go on where it stopped, or to see that it comes out the same.

Nothing is restored: the steps are executed from the first, with the recorded answers of language models, and each is
compared with what was recorded. So a run can be resumed after any end, of the process or of the machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path

from oasis.errors import FailureLimitError, ReplayError, RunDirectoryError, ScenarioError
from oasis.inference import RecordedAnswers
from oasis.runs import Run, open_run
from oasis.scenario import Scenario
from oasis.simulation.afterwards import AFTERWARDS
from oasis.simulation.earlier import Earlier, recorded_answers
from oasis.simulation.simulation import Simulation

__all__ = ["Resumption", "replay"]

_MAY_CHANGE = ("budget.", "output.", "llm.endpoints", "llm.concurrency", "llm.timeout_s", "llm.attempts", "llm.failure")


class Resumption:
    """A run that goes on.

    Its steps are written into a hidden directory beside it, which takes its place when `commit` is called: until then
    the old one is as it was.

    Parameters
    ----------
    directory : path
        A run that was stopped or killed.
    overrides : sequence of str
        ``table.key=value`` of what does not change what was done: budget, output, and how endpoints are reached.

    Raises
    ------
    RunDirectoryError
        If the run is done or still goes on, or `directory` is no run.
    ScenarioError
        For an override that would change what was done.
    """

    def __init__(self, directory: str | Path, overrides: Sequence[str] = ()) -> None:
        self.directory = Path(directory)
        if not self.directory.exists() and self._old.exists():  # killed between the two renames of `commit`
            self._old.rename(self.directory)
        run = open_run(self.directory)
        _check(run)
        for override in overrides:
            if not override.strip().startswith(_MAY_CHANGE):
                raise ScenarioError(
                    f"--set {override}: would change steps that are done; allowed when resuming: "
                    + ", ".join(f"{key}*" if key.endswith(".") else key for key in _MAY_CHANGE)
                )
        self._killed = self._attempts()
        self._part = self._attempt(len(self._killed) + 1)
        self.steps_done = run.steps_done
        rows = recorded_answers(run)
        for attempt in map(open_run, self._killed):  # what they were answered is not asked again
            if attempt.process_state == "alive":
                raise RunDirectoryError(f"{self.directory}: another process resumes it; stop it, or wait for it")
            rows += recorded_answers(attempt)
        self.simulation = Simulation(
            Scenario.from_dict(run.manifest.scenario).with_overrides(overrides),
            self._part,
            earlier=Earlier.to_resume(run, RecordedAnswers(rows, retry_after_step=run.steps_done)),
        )

    @property
    def _old(self) -> Path:
        return self.directory.with_name(f".{self.directory.name}.old")

    def _attempt(self, number: int) -> Path:
        return self.directory.with_name(f".{self.directory.name}.resuming-{number}")

    def _attempts(self) -> list[Path]:
        """Return the directories of attempts that were killed; they are kept until one has come to its end."""
        return list(takewhile(Path.exists, map(self._attempt, count(1))))

    def commit(self) -> None:
        """Put the resumed run in the place of the old one, if it got at least as far; else remove it."""
        if not self.simulation.ended or self.simulation.summary.steps_done < self.steps_done:
            shutil.rmtree(self._part, ignore_errors=True)
            return
        if (self.directory / AFTERWARDS).exists():
            shutil.copy2(self.directory / AFTERWARDS, self._part / AFTERWARDS)
        shutil.rmtree(self._old, ignore_errors=True)
        self.directory.rename(self._old)
        self._part.rename(self.directory)
        for done_with in (self._old, *self._killed):
            shutil.rmtree(done_with)


def replay(directory: str | Path, on_step: Callable[[int], None] | None = None) -> str:
    """Execute a recorded run again in memory, asking nobody, and return its state hash, which is the recorded one.

    Raises
    ------
    ReplayError
        If a step, or the world at the end, comes out differently.
    RunDirectoryError
        If `directory` is no run, or has no step that is done.
    """
    run = open_run(directory)
    if run.steps_done == 0:
        raise RunDirectoryError(f"{directory}: has no step that is done, so there is nothing to replay")
    simulation = Simulation(Scenario.from_dict(run.manifest.scenario), earlier=Earlier.to_replay(run))
    with suppress(FailureLimitError):  # as it may have ended the first time
        simulation.run_sync(lambda result: on_step(result.step) if on_step else None)
    wanted, got = run.manifest.state_hash, simulation.world.state_hash()
    if wanted is not None and wanted != got:
        raise ReplayError(f"{directory}: the world at the end is {got}, recorded was {wanted}")
    return got


def _check(run: Run) -> None:
    where, manifest = run.path, run.manifest
    if manifest.status == "done":
        raise RunDirectoryError(f"{where}: is done; there is nothing to resume")
    if manifest.status == "running" and run.process_state != "dead":
        raise RunDirectoryError(f"{where}: its process is {run.process_state}; stop it first, or wait for it")
