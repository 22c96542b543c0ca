"""What makes runs comparable: steps and metrics that all have, and what must be said about the others.

Every function raises `InputError` for what cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.errors import InputError, nearest
from oasis.runs.comparison.arms import Arm
from oasis.runs.comparison.series import Series, sort_metrics
from oasis.runs.reading import Run, open_run

__all__ = ["baseline_first", "check_ignored", "common_steps", "metric_names", "notes_on", "open_runs"]


def open_runs(directories: Sequence[str | Path]) -> list[Run]:
    """Open at least two runs, each named once."""
    runs: dict[Path, Run] = {}
    for directory in directories:
        run = open_run(directory)
        place = run.path.resolve()
        if place in runs:
            raise InputError(f"{directory}: given twice; name each run once")
        runs[place] = run
    if len(runs) < 2:
        raise InputError(f"a comparison takes at least two runs, got {len(runs)}")
    return list(runs.values())


def baseline_first(arms: list[Arm], baseline: str | Path | None, runs: Sequence[Run]) -> list[Arm]:
    """Return the arms, that of the run `baseline` first."""
    if baseline is None:
        return arms
    place = Path(baseline).resolve()
    for arm in arms:
        if any(run.path.resolve() == place for run in arm.runs):
            return [arm, *(other for other in arms if other is not arm)]
    known = ", ".join(str(run.path) for run in runs[:5]) + (", ..." if len(runs) > 5 else "")
    raise InputError(f"--baseline {baseline}: is none of the runs compared ({known})")


def common_steps(
    runs: Sequence[Run], series: dict[Path, Series], from_step: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], list[str]]:
    """Return the steps that all runs have done, which of them are measured, and what to say about the others."""
    warm_up = max(series[run.path].warm_up for run in runs)
    last = {run: series[run.path].last_step for run in runs}
    common = min(last.values())
    shortest = min(last, key=lambda run: last[run])
    if common <= warm_up:
        what = "no step" if not common else f"steps 1 to {common}, all of them warm-up (1 to {warm_up})"
        raise InputError(f"{shortest.path}: has done {what}, so there is nothing to compare; leave it out, or wait")
    steps = np.arange(1, common + 1)
    shared = _shared_past(runs)
    first = max(warm_up, shared) + 1 if from_step is None else from_step
    if not 1 <= first <= common:
        given = f"--from-step {from_step}" if from_step is not None else "the end of the past that branches share"
        raise InputError(f"{given}: steps 1 to {common} are there to compare, so nothing is left to measure")
    longer = sum(done > common for done in last.values())
    notes = []
    if longer:
        notes.append(
            f"compared are steps up to {common:,}, which all runs have done; {longer} of {len(runs)} runs did more "
            f"(up to {max(last.values()):,})"
        )
    if from_step is None and shared > warm_up:
        notes.append(f"steps 1 to {shared:,} are the past that branches share: what is measured begins after them")
    return steps, steps >= first, notes


def _shared_past(runs: Sequence[Run]) -> int:
    """Return up to which step all runs are one: each is a branch off that step or a later one, or a parent of some."""
    branches = [(run, run.manifest.parent) for run in runs if run.manifest.parent is not None]
    at = [parent.step for _, parent in branches if parent is not None]
    parents = {parent.run_id for _, parent in branches if parent is not None}
    related = all(run.manifest.parent is not None or run.manifest.run_id in parents for run in runs)
    return min(at) if at and related else 0


def metric_names(series: dict[Path, Series], wanted: Sequence[str], notes: list[str]) -> list[str]:
    """Return the wanted metrics, else those that every run has; `notes` tells of the others."""
    everywhere = [
        name for name in next(iter(series.values())).values if all(name in one.values for one in series.values())
    ]
    somewhere = {name for one in series.values() for name in one.values} - set(everywhere)
    for name in wanted:
        if name in somewhere:
            lacking = next(path for path, one in series.items() if name not in one.values)
            raise InputError(f"--metric {name}: {lacking} has no such metric, so it cannot be compared")
        if name not in everywhere:
            allowed = ", ".join(sort_metrics(everywhere))
            raise InputError(f"--metric {name}: unknown metric{nearest(name, everywhere)}; there are {allowed}")
    if somewhere and not wanted:
        notes.append(f"not in every run, so not compared: {', '.join(sorted(somewhere))}")
    return sort_metrics([name for name in everywhere if not wanted or name in wanted])


def notes_on(runs: Sequence[Run]) -> list[str]:
    """Return what is to be said about runs before any number."""
    notes = []
    for run in runs:
        if run.state != "done":
            planned = run.manifest.steps_planned
            notes.append(f"{run.path} is not done ({run.state}): {run.steps_done:,} of {planned:,} steps")
        for entry in run.manifest.resumed:
            if told := entry.get("differences"):
                notes.append(
                    f"{run.path} went on after step {entry.get('after_step')} by other means: {'; '.join(told)}"
                )
    minutes = {run.manifest.step_minutes for run in runs}
    if len(minutes) > 1:
        notes.append(f"steps are of different length ({', '.join(f'{m:g}' for m in sorted(minutes))} minutes); "
                     "they are compared by number")  # fmt: skip
    versions = [{**run.manifest.versions, "code_revision": run.manifest.code_revision or ""} for run in runs]
    names = dict.fromkeys(name for one in versions for name in one)
    if other := [name for name in names if len({one.get(name) for one in versions}) > 1]:
        notes.append(f"the runs were made with different versions or machines ({', '.join(other)})")
    return notes


def check_ignored(runs: Sequence[Run], ignored: Sequence[str]) -> None:
    """Refuse a key that no scenario has."""
    known = {part for run in runs for key in _keys(run.manifest.scenario) for part in _beginnings(key)}
    for key in ignored:
        if key not in known:
            raise InputError(f"--ignore {key}: no such key in the scenarios{nearest(key, known)}")


def _keys(table: Mapping[str, Any], at: str = "") -> list[str]:
    keys = []
    for name, value in table.items():
        keys += _keys(value, f"{at}{name}.") if isinstance(value, Mapping) and value else [f"{at}{name}"]
    return keys


def _beginnings(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
