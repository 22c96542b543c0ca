"""One run of an experiment, from its scenario to what was measured in it; taken up where it was left."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oasis.errors import OasisError, RunStoppedError
from oasis.experiments.folder import ERROR, OUTCOMES, RUN, ExperimentFolder
from oasis.experiments.interfaces import Cell, Measured
from oasis.runs import open_run
from oasis.runs.manifest import write_atomically
from oasis.simulation import Simulation
from oasis.simulation.again import resume

__all__ = ["TABLES", "make_cell"]

TABLES = "tables"
_stopping = False
_KEPT = ("manifest.json", "metrics.parquet")


def make_cell(folder: Path, number: int) -> str | None:
    """Make a run and measure it, unless that is done; return what went wrong, in words, or None.

    For a process of its own: SIGINT ends the run in order.

    Parameters
    ----------
    number : int
        Of the run, in `ExperimentFolder.cells`.
    """
    experiment = ExperimentFolder.open(folder)
    cell = experiment.cells[number]
    place = experiment.place(cell)
    if (place / OUTCOMES).exists():
        return None
    begun = time.monotonic()
    signal.signal(signal.SIGINT, _note)
    try:
        (place / ERROR).unlink(missing_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        _run(experiment, cell, place / RUN)
        run = open_run(place / RUN)
        measured = experiment.kind.measure(run, cell, experiment.setting)
        _keep(experiment, cell, measured, run.manifest.model_dump(mode="json"), time.monotonic() - begun)
    except OasisError as error:
        if not isinstance(error, RunStoppedError) or "on request" not in str(error):
            write_atomically(place / ERROR, str(error).encode())
        return str(error)
    return None


def _run(experiment: ExperimentFolder, cell: Cell, place: Path) -> None:
    """Make the run, or what is missing of it."""
    if _stopping:
        raise RunStoppedError("stopped on request")
    if place.exists():
        if open_run(place).manifest.status == "done":
            return
        simulation = resume(place)
    else:
        simulation = Simulation(experiment.scenario(cell), place)
    try:
        asyncio.run(_execute(simulation))
    finally:
        signal.signal(signal.SIGINT, _note)  # the event loop took it


def _note(number: int, frame: object) -> None:
    global _stopping
    _stopping = True


async def _execute(simulation: Simulation) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, simulation.request_stop)
    await simulation.run()


def _keep(
    experiment: ExperimentFolder, cell: Cell, measured: Measured, manifest: Mapping[str, Any], seconds: float
) -> None:
    place = experiment.place(cell)
    if measured.tables:
        (place / TABLES).mkdir(exist_ok=True)
    for name, table in measured.tables.items():
        table.write_parquet(place / TABLES / f"{name}.parquet")
    content = {
        "arm": cell.arm,
        "point": dict(cell.point),
        "replicate": cell.replicate,
        "seed": cell.seed,
        "outcomes": {k: None if v is None or v != v else float(v) for k, v in measured.outcomes.items()},
        "seconds": round(seconds, 3),
        **{key: manifest[key] for key in ("coverage", "tokens", "state_hash", "steps_done", "model")},
    }
    write_atomically(place / OUTCOMES, json.dumps(content, indent=1).encode())
    if not experiment.design.experiment.keep_runs:
        _forget(place / RUN)


def _forget(run: Path) -> None:
    """Remove a run but for its manifest and metrics: to have it whole again, `oasis run --from-manifest`."""
    for path in run.iterdir():
        if path.name not in _KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
