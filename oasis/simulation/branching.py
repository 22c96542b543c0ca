"""Branching off: a new run that shares another's past up to a step, and is made by a changed scenario after it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oasis.errors import RunDirectoryError, ScenarioError
from oasis.inference import RecordedAnswers
from oasis.paths import check_absent, check_outside
from oasis.runs import Run, RunDirectory, open_run, world_tables
from oasis.runs.manifest import Parent, Past
from oasis.runs.recovery import Whole, whole_part
from oasis.runs.sharing import share_past
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts
from oasis.simulation.earlier import Earlier
from oasis.simulation.inherited import inherit_answers, inherited_answers
from oasis.simulation.point import Point
from oasis.simulation.provenance import differences, provenance
from oasis.simulation.rebuild import OnStep, execute_again, injected, newest_point, passed_on, segments
from oasis.simulation.simulation import Simulation

__all__ = ["BranchPlace", "branch", "branch_to"]

_OF_SCENARIO = ("components", "embedder", "model", "prompt_templates", "inputs")

_FIXED = {
    "population": "agents are there already; 'sign_up', 'edit_profile' and 'follow' are interventions that change them",
    "simulation.start": "it dates the steps that are done",
    "simulation.step_minutes": "it dates the steps that are done",
    "platform.kind": "the world is of one platform",
}


class BranchPlace:
    """The directory of a branch; implements `oasis.simulation.place.Place`.

    Attributes
    ----------
    path : Path
    checkpoint : Path or None
        In it, linked to the parent's.
    taken_up : int
        The step from which the parent's state was taken: that of the checkpoint, or 0.
    differences : list of str
        What is other than when the parent was made, besides the change.
    """

    def __init__(
        self, path: Path, parent: Run, whole: Whole, step: int, checkpoint: Path | None, reuse_answers: bool = True
    ) -> None:
        self.path = path
        self._reuse_answers = reuse_answers
        self._parent, self._whole, self._step = parent, whole, step
        self._source = checkpoint
        self.taken_up = 0 if checkpoint is None else int(checkpoint.name)
        self.differences: list[str] = []
        self.checkpoint = None if checkpoint is None else path / checkpoint.relative_to(parent.path)

    def make(self, parts: Parts) -> RunDirectory:
        """Make the directory, with the parent's past in it."""
        parent, step = self._parent, self._step
        scenario = parts.scenario.with_absolute_paths().to_dict()
        past = [*parent.manifest.past]
        if scenario != parent.manifest.scenario and step:
            past.append(Past(last_step=step, scenario=parent.manifest.scenario))
        origin = Parent(
            run_id=parent.manifest.run_id,
            name=parent.manifest.name,
            path=str(parent.path.resolve()),
            step=step,
            step_digest=self._whole.digests.get(step, ""),
        )

        def fill(part: Path) -> None:
            share_past(parent.path, self._whole.marks, step, self._source, part)
            if self._reuse_answers:
                inherit_answers(parent.path, step, part)

        return RunDirectory.create(
            self.path,
            scenario,
            refused_rows=parent.manifest.refused_rows,
            world=world_tables(parts.world, parts.policy_names),
            fill=fill,
            **{
                **provenance(parts),
                "steps_done": step,
                "parent": origin,
                "past": past,
                "injected": parent.manifest.injected,
                "resumed": [*parent.manifest.resumed, *self._event()],
            },
        )

    def _event(self) -> list[dict[str, Any]]:
        return [{"after_step": self._step, "differences": self.differences}] if self.differences else []

    def leave(self) -> None:
        """Do nothing."""


def branch(
    directory: str | Path,
    at_step: int,
    out: str | Path,
    changes: Sequence[str] = (),
    interventions: Sequence[str] = (),
    *,
    allow_changes: bool = False,
    on_step: OnStep | None = None,
) -> Simulation:
    """Return a run that shares the past of another, to be run on by a changed scenario.

    After `at_step` it also shares every draw, and every recorded answer of a language model, that the change does not
    touch. Its directory is complete by itself.

    Parameters
    ----------
    directory : path
        The parent, in whatever state; only read.
    at_step : int
        The last step that both share, 0 to the parent's last.
    out : path
        Run directory, which must not exist.
    changes : sequence of str
        ``table.key=value`` each, as with ``--set``.
    interventions : sequence of str
        Further entries of ``[[interventions]]``: the keys of each as TOML, e.g. ``kind="mute", agents=[3], users=[5]``;
        without ``step`` it happens in the next one.
    allow_changes : bool
        Branch off although versions, model or prompt templates are others than the parent was made with.
    on_step : callable, optional
        Called with each step that is executed again to get to `at_step`.

    Raises
    ------
    InputError
        If that cannot be, with the reason.
    ReplayError
        If the parent's steps come out differently now.

    Examples
    --------
    ``oasis.branch("runs/x_day", 240, "runs/x_day-hot", ["recsys.kind=hot"]).run_sync()``
    """
    run = open_run(directory)
    scenario = _changed(segments(run)[-1][1], at_step, changes, interventions)
    simulation, place = branch_to(scenario, run, at_step, Path(out), on_step)
    if place.differences and not allow_changes:
        raise RunDirectoryError(
            f"{directory}: a branch would differ from its parent by more than the change:\n"
            + "\n".join(f"  {sentence}" for sentence in place.differences)
            + "\nrestore that, or accept it: --allow-changes"
        )
    return simulation


def branch_to(
    scenario: Scenario,
    run: Run,
    at_step: int,
    out: Path,
    on_step: OnStep | None = None,
    *,
    reuse_answers: bool = True,
) -> tuple[Simulation, BranchPlace]:
    """Return a run that shares the past of `run` and goes on by `scenario`, and the place with what else differs.

    Parameters
    ----------
    reuse_answers : bool
        Whether recorded answers of later steps are taken, where a prompt is the same.

    Raises
    ------
    InputError, ReplayError
    """
    check_absent(out, RunDirectoryError)
    check_outside(out, run.path, RunDirectoryError)
    whole = whole_part(run)
    _check_step(run, whole, at_step)
    parent = segments(run)[-1][1]
    found = newest_point(run.path, at_step, whole.digests)
    point: Point | None = None if found is None else found[0]
    point, _ = execute_again(run, point, at_step, whole.digests, on_step)
    if point is not None:
        point = passed_on(point, parent, scenario)
    place = BranchPlace(out, run, whole, at_step, None if found is None else found[1], reuse_answers)
    earlier = Earlier(
        point,
        digests=whole.digests if scenario == parent and reuse_answers else {},
        answers=RecordedAnswers(of_step=lambda step: inherited_answers(place.path, step)),
        injected=injected(run.manifest),
    )
    simulation = Simulation(scenario, place, earlier=earlier)
    place.differences = _differences(run, simulation.parts, scenario == parent)
    return simulation, place


def _differences(run: Run, parts: Parts, same_scenario: bool) -> list[str]:
    """Return what a branch is made of other than its parent; what its scenario may change does not count."""
    now = provenance(parts)
    if not same_scenario:
        now |= {name: getattr(run.manifest, name) for name in _OF_SCENARIO}
    return differences(run.manifest, now)


def _check_step(run: Run, whole: Whole, step: int) -> None:
    began = run.manifest.past[-1].last_step if run.manifest.past else 0
    if 0 <= step < began:
        parent = run.manifest.parent
        where = "" if parent is None else f" ({parent.path})"
        raise RunDirectoryError(
            f"{run.path}: is itself a branch, made by its own scenario after step {began}: branch it off at {began} or"
            f" later, or branch off its parent{where}"
        )
    if not 0 <= step <= whole.last_step:
        damage = "".join(f"; {said}" for said in whole.damage)
        raise RunDirectoryError(
            f"{run.path}: --at-step {step}: must be {began} to {whole.last_step}, the last recorded step{damage}"
        )


def _changed(parent: Scenario, step: int, changes: Sequence[str], interventions: Sequence[str]) -> Scenario:
    """Return the parent's scenario with what is to be another after `step`."""
    scenario = parent.with_overrides(changes)
    values = scenario.to_dict()
    known = parent.to_dict().get("interventions", [])
    for entry in interventions:
        values.setdefault("interventions", []).append(_intervention(entry, step))
    scenario = Scenario.from_dict(values)
    for number, entry in enumerate(values.get("interventions", [])):
        if entry not in known and not (entry["step"] > step or "every" in entry):
            raise ScenarioError(
                f"interventions.{number}.step: {entry['step']} is in the past that is shared; a branch off step {step}"
                f" can change what happens from step {step + 1} on"
            )
    for key, why in _FIXED.items():
        table, _, name = key.partition(".")
        before, after = parent.to_dict().get(table, {}), values.get(table, {})
        if (before.get(name) != after.get(name)) if name else (before != after):
            raise ScenarioError(f"--set {key}: a branch cannot change it: {why}")
    shuffled = [s.baseline is not None and s.baseline.kind == "shuffled-persona" for s in (parent, scenario)]
    if shuffled[0] != shuffled[1]:
        raise ScenarioError(
            "--set baseline: a branch cannot change 'shuffled-persona': agents are there already; begin a run with it"
        )
    if scenario.simulation.steps < min(step, parent.simulation.steps):
        raise ScenarioError(
            f"simulation.steps: {scenario.simulation.steps} is before the step to branch off at ({step})"
        )
    return scenario


def _intervention(text: str, step: int) -> dict[str, Any]:
    try:
        entry = tomllib.loads("entry = {" + text + "}")["entry"]
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(
            f"--intervene {text}: must be the keys of an entry as TOML, e.g. 'kind=\"ban\", agents=[3]': {error}"
        ) from None
    return {"step": step + 1, **entry}
