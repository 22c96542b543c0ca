"""Going on with a run that stopped or was killed, and executing one again to see that it comes out the same."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oasis.errors import ReplayError, RunDirectoryError, ScenarioError
from oasis.inference import RecordedAnswers
from oasis.runs import Run, RunDirectory, open_run, world_tables
from oasis.runs.checkpoints import checkpoint_folders
from oasis.runs.continuing import continue_run
from oasis.runs.journal import later_calls
from oasis.runs.process import WriterLock
from oasis.runs.recovery import Whole, whole_part
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts
from oasis.simulation.earlier import Earlier
from oasis.simulation.inherited import inherited_answers
from oasis.simulation.point import Point
from oasis.simulation.provenance import differences, provenance
from oasis.simulation.rebuild import OnStep, execute_again, injected, newest_point
from oasis.simulation.recorded import RecordedSteps
from oasis.simulation.servers import describe_servers
from oasis.simulation.simulation import Simulation

__all__ = ["Resumption", "replay", "resume"]

_MAY_CHANGE = (
    "budget.",
    "output.",
    "llm.endpoints",
    "llm.backend",
    "llm.model_path",
    "llm.concurrency",
    "llm.timeout_s",
    "llm.attempts",
    "llm.failure",
)


class Resumption:
    """The place of a run that goes on; implements `oasis.simulation.place.Place`.

    Nothing on disk changes until the steps since the last checkpoint have been executed again and came out the same.

    Attributes
    ----------
    path : Path
    checkpoint : Path or None
        From which the world is taken up.
    steps_done : int
        Steps that are recorded, whole.
    damage : list of str
        What was found damaged; it is done without.
    """

    def __init__(self, run: Run, lock: WriterLock, overrides: Sequence[str], allow_changes: bool) -> None:
        self.path = run.path
        self._run, self._lock = run, lock
        self._overrides, self._allow_changes = list(overrides), allow_changes
        self._whole: Whole = whole_part(run)
        self.damage = list(self._whole.damage)
        found = newest_point(run.path, self.steps_done, self._whole.digests, self.damage)
        self._point: Point | None = None if found is None else found[0]
        self.checkpoint: Path | None = None if found is None else found[1]
        self._differences: list[str] = []

    @property
    def steps_done(self) -> int:
        """Steps that are recorded, whole."""
        return self._whole.last_step

    def simulation(self, on_repeated: OnStep | None = None) -> Simulation:
        """Return the run that goes on; `on_repeated` is called with each step that is executed again first.

        Raises
        ------
        RunDirectoryError
            If it would go on by other means than it was made by, unless that was allowed.
        InputError
            If something that it needs is not there.
        """
        run, done = self._run, self.steps_done
        past = run.manifest.past
        if past and (self._point is None or self._point.step <= past[-1].last_step):
            # the steps of its ancestors, by their scenarios
            self._point, _ = execute_again(run, self._point, min(past[-1].last_step, done), self._whole.digests)
        steps = RecordedSteps(run)
        answers = RecordedAnswers(
            later_calls(run.path, done),
            retry_after_step=done,
            of_step=lambda step: (
                steps.rows("llm_calls", step).to_pylist() if step <= done else inherited_answers(run.path, step)
            ),
        )
        earlier = Earlier(
            self._point,
            repeat_until=done,
            steps=steps,
            digests=self._whole.digests,
            answers=answers,
            injected=injected(run.manifest),
            on_repeated=on_repeated,
        )
        scenario = Scenario.from_dict(run.manifest.scenario).with_overrides(self._overrides)
        simulation = Simulation(scenario, self, earlier=earlier)
        made_of = {**provenance(simulation.parts), "servers": describe_servers(scenario, simulation.parts)}
        self._differences = differences(run.manifest, made_of)
        if self._differences and not self._allow_changes:
            listed = "\n".join(f"  {sentence}" for sentence in self._differences)
            raise RunDirectoryError(
                f"{self.path}: cannot go on as it began:\n{listed}\n"
                "restore that, or accept that later steps are made by other means than earlier ones: --allow-changes"
            )
        return simulation

    def make(self, parts: Parts) -> RunDirectory:
        """Make the directory one that runs again."""
        directory = RunDirectory(self.path, self._run.manifest, self._lock)
        manifest = directory.manifest
        event: dict[str, Any] = {
            "after_step": self.steps_done,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "set": self._overrides,
            "differences": self._differences,
            "damage": self.damage,
        }
        changes: dict[str, Any] = {"resumed": [*manifest.resumed, event]}
        if self._differences:  # from now on it is made of what is here
            changes |= provenance(parts)
        if self._overrides:
            changes["scenario"] = parts.scenario.with_absolute_paths().to_dict()
        world = world_tables(parts.world, parts.policy_names)
        try:
            continue_run(directory, self._whole, world, **changes)
            for folder in checkpoint_folders(self.path):  # newer ones are damaged, or of steps that are not whole
                if self.checkpoint is None or int(folder.name) > int(self.checkpoint.name):
                    shutil.rmtree(folder)
        except OSError as error:
            raise RunDirectoryError(f"{error.filename or self.path}: cannot be written: {error.strerror}") from None
        return directory

    def leave(self) -> None:
        """Give the run back as it was."""
        self._lock.release(remove=self._run.manifest.status != "running")


def resume(
    directory: str | Path,
    overrides: Sequence[str] = (),
    *,
    allow_changes: bool = False,
    on_repeated: OnStep | None = None,
) -> Simulation:
    """Return the rest of a run that was stopped or killed; its end is that of the run left alone.

    Steps since the last checkpoint are executed again first, with the recorded decisions, and compared.

    Parameters
    ----------
    directory : path
        Locked from now on, until the simulation has ended.
    overrides : sequence of str
        ``table.key=value`` of what does not change what was done: budget, output, and how endpoints are reached.
    allow_changes : bool
        Go on although versions, model, embedder, prompt templates or input files are others than before; the manifest
        says so then.
    on_repeated : callable, optional
        Called with each step that is executed again. The simulation hands out only those that come after.

    Raises
    ------
    RunDirectoryError
        If the run is done, or another process writes it, or it cannot go on as it began, or `directory` is no run.
    ScenarioError
        For an override that would change what was done.

    Examples
    --------
    ``oasis.resume("runs/x_day").run_sync()``
    """
    path = Path(directory)
    found = open_run(path)
    _check_not_done(found)
    for override in overrides:
        if not override.strip().startswith(_MAY_CHANGE):
            raise ScenarioError(
                f"--set {override}: would change steps that are done; allowed when resuming: "
                + ", ".join(f"{key}*" if key.endswith(".") else key for key in _MAY_CHANGE)
                + "; for anything else use 'oasis branch'"
            )
    lock = WriterLock.acquire(path)
    try:
        run = open_run(path)
        _check_not_done(run)
        return Resumption(run, lock, overrides, allow_changes).simulation(on_repeated)
    except BaseException:
        lock.release(remove=found.manifest.status != "running")
        raise


def replay(directory: str | Path, on_step: OnStep | None = None, *, by_answers: bool = False) -> str:
    """Execute a recorded run again in memory, asking nobody, and return its state hash, which is the recorded one.

    Parameters
    ----------
    on_step : callable, optional
        Called with each step.
    by_answers : bool
        Whether agents of language models decide again from the recorded answers, every prompt rendered again, instead
        of by their recorded decisions.

    Raises
    ------
    ReplayError
        If a step, or the world at the end, comes out differently; it names the first difference.
    RunDirectoryError
        If `directory` is no run, has no step that is done, or is damaged.
    """
    run = open_run(directory)
    whole = whole_part(run)
    if whole.damage:
        raise RunDirectoryError(f"{directory}: cannot be replayed: " + "; ".join(whole.damage))
    if whole.last_step == 0:
        raise RunDirectoryError(f"{directory}: has no step that is done, so there is nothing to replay")
    _, simulation = execute_again(run, None, whole.last_step, whole.digests, on_step, by_answers=by_answers)
    assert simulation is not None
    got = simulation.summary.state_hash
    assert got is not None
    wanted = run.manifest.state_hash
    if wanted is not None and wanted != got:
        raise ReplayError(f"{directory}: the world at the end is {got}, recorded was {wanted}")
    return got


def _check_not_done(run: Run) -> None:
    if run.manifest.status == "done":
        raise RunDirectoryError(
            f"{run.path}: is done; there is nothing to resume; 'oasis branch' goes on from it with more steps"
        )
