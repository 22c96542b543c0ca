"""A disk that fills up: whole steps are on disk, and the run goes on to the same end when there is room."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.errors import RunStoppedError
from oasis.runs import recorder
from oasis.runs.checkpoints import Checkpoints
from oasis.simulation.again import resume

SCENARIO = Scenario.from_dict(
    {
        "simulation": {"steps": 5, "seed": 4},
        "population": {"agents": 60, "mean_active": 0.5},
        "output": {"report": False, "steps_per_block": 2},
    }
)
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(scope="module")
def state_hash() -> str | None:
    return Simulation(SCENARIO).run_sync().state_hash


def _resumed(path: Path) -> str | None:
    resume(path).run_sync()
    return open_run(path).manifest.state_hash


@pytest.mark.parametrize("steps", [0, 3])
def test_a_step_that_does_not_fit(
    steps: int, state_hash: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, called = recorder._Stream.append, 0

    def fills_up(*arguments: object) -> int:
        nonlocal called
        called += 1
        if called > 4 * steps + 2:  # in the midst of the next step's four tables
            raise FULL
        return append(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(recorder._Stream, "append", fills_up)
        simulation = Simulation(SCENARIO, tmp_path / "run")
        with pytest.raises(RunStoppedError, match="No space left on device"):
            simulation.run_sync()
    run = open_run(tmp_path / "run")
    assert (run.state, run.steps_done, run.manifest.steps_done, simulation.summary.steps_done) == (
        "stopped",
        *[steps] * 3,
    )
    assert run.manifest.message
    assert run.manifest.state_hash is None
    events = run.events.filter(pl.col("agent_id") >= 0).collect()
    assert events["step"].unique().to_list() == list(range(1, steps + 1))
    assert run.manifest.coverage.registered == 60
    assert run.manifest.coverage.decisions == events.select("step", "agent_id").n_unique()
    assert run.posts.select(pl.col("step").max()).collect().item() <= steps
    assert _resumed(tmp_path / "run") == state_hash


def test_a_checkpoint_that_does_not_fit(
    state_hash: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, called = Checkpoints._write_piece, 0

    def fills_up(*arguments: object) -> str:
        nonlocal called
        called += 1
        if called > 30:  # in the midst of the second
            raise FULL
        return write(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_write_piece", fills_up)
        simulation = Simulation(SCENARIO.with_changes(output={"checkpoint_steps": 2}), tmp_path / "run")
        with pytest.raises(RunStoppedError, match="steps 1 to 4 are on disk"):
            simulation.run_sync()
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["000002"]
    assert _resumed(tmp_path / "run") == state_hash


@pytest.mark.parametrize("what", ["checkpoint", "world"])
def test_an_end_that_does_not_fit(
    what: str, state_hash: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills_up(*_: object) -> None:
        raise FULL

    with monkeypatch.context() as patch:
        if what == "world":
            patch.setattr(recorder, "write_parquet", fills_up)
        else:
            patch.setattr(Checkpoints, "_write_piece", fills_up)
        simulation = Simulation(SCENARIO, tmp_path / "run")
        with pytest.raises(RunStoppedError, match="steps 1 to 5 are on disk"):
            simulation.run_sync()
    assert simulation.summary.status == "stopped"
    run = open_run(tmp_path / "run")
    assert (run.state, run.steps_done) == ("stopped", 5)
    assert _resumed(tmp_path / "run") == state_hash
    assert open_run(tmp_path / "run").state == "done"
