"""The state of a run after any of its steps: from a checkpoint, and the steps since then executed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from oasis.errors import RunDirectoryError
from oasis.inference import RecordedAnswers
from oasis.runs import Manifest, Run
from oasis.runs.checkpoints import checkpoint_folders, read_checkpoint
from oasis.scenario import Intervention, Scenario
from oasis.simulation.earlier import Earlier
from oasis.simulation.point import Point
from oasis.simulation.recorded import RecordedSteps
from oasis.simulation.simulation import Simulation

__all__ = ["OnStep", "Segment", "execute_again", "injected", "newest_point", "passed_on", "segments"]

OnStep = Callable[[int], None]
Segment = tuple[int, Scenario]
"""A scenario, and the last step that is made with it."""


def segments(run: Run) -> list[Segment]:
    """Return the scenarios that made a run's steps: a branch's ancestors', then its own."""
    past = [(part.last_step, Scenario.from_dict(part.scenario)) for part in run.manifest.past]
    current = Scenario.from_dict(run.manifest.scenario)
    return [*past, (max(current.simulation.steps, run.steps_done), current)]


def injected(manifest: Manifest) -> list[Intervention]:
    """Return what came from Python while a run went on."""
    return [Intervention.from_keys(entry) for entry in manifest.injected]


def newest_point(
    directory: Path, until: int, digests: Mapping[int, str] | None = None, damage: list[str] | None = None
) -> tuple[Point, Path] | None:
    """Return the newest checkpoint after step `until` or before that is whole, and its folder; None if there is none.

    Parameters
    ----------
    digests : mapping, optional
        Step to ``step_digest``, which it must have.
    damage : list of str, optional
        What is wrong with newer ones is appended.
    """
    said = [] if damage is None else damage
    for folder in reversed(checkpoint_folders(directory)):
        if int(folder.name) > until:
            continue
        try:
            point = Point.from_checkpoint(read_checkpoint(folder))
        except RunDirectoryError as error:
            said.append(str(error))
            continue
        except (KeyError, TypeError, AttributeError) as error:
            said.append(f"{folder}: damaged: {type(error).__name__}: {error}")
            continue
        if digests is not None and digests.get(point.step, point.digest) != point.digest:
            said.append(f"{folder}: is of other steps than those that are recorded")
            continue
        return point, folder
    return None


def execute_again(
    run: Run,
    point: Point | None,
    until: int,
    digests: Mapping[int, str],
    on_step: OnStep | None = None,
    *,
    by_answers: bool = False,
) -> tuple[Point | None, Simulation | None]:
    """Execute recorded steps again in memory, asking nobody, and compare each with what was recorded.

    Parameters
    ----------
    point : Point or None
        Where to begin; None for the population at the start.
    until : int
        The last step.
    by_answers : bool
        Whether policies that ask a language model decide again from its recorded answers.

    Returns
    -------
    point : Point or None
        The state after step `until`, as the scenario of the next step takes it up.
    simulation : Simulation or None
        The one that did the last step; None where there was nothing to do.

    Raises
    ------
    ReplayError
        If a step comes out differently; it names the first difference.
    """
    steps = RecordedSteps(run)
    simulation = None
    begins = 0
    before: Scenario | None = None
    for last, scenario in segments(run):
        at = 0 if point is None else point.step
        if before is not None and at == begins and point is not None:
            point = passed_on(point, before, scenario)
        end = min(last, until)
        if at < end:
            earlier = Earlier(
                point,
                repeat_until=end,
                steps=steps,
                by_answers=by_answers,
                digests=digests,
                answers=RecordedAnswers(of_step=lambda step: steps.rows("llm_calls", step).to_pylist()),
                injected=injected(run.manifest),
                offline=True,
                last_step=end,
                on_repeated=on_step,
            )
            simulation = Simulation(scenario, earlier=earlier)
            with ThreadPoolExecutor(1) as thread:  # so that it can be called inside an event loop, as in a notebook
                thread.submit(simulation.run_sync).result()
            point = simulation.point()
        begins, before = last, scenario
    return point, simulation


def passed_on(point: Point, before: Scenario, after: Scenario) -> Point:
    """Return a point as another scenario takes it up.

    A recommender that an intervention put there stays, unless ``[recsys]`` is another. Agents keep their policies,
    unless ``[[policies]]`` names or assigns others.
    """
    if before == after:
        return point
    recommender = point.recommender if before.recsys == after.recsys else None
    assigned = [[(p.kind, p.name, p.select, p.share) for p in s.policies] for s in (before, after)]
    reassign = point.reassign or assigned[0] != assigned[1]
    return replace(point, recommender=recommender, altered=True, reassign=reassign)
