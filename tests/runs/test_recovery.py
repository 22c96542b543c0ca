"""A run is looked at while another process adds to it, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import oasis.runs.journal as journal
import oasis.runs.recovery as recovery
import oasis.simulation.recorded as recorded
from oasis.runs import open_run
from oasis.testing.runs import MadeUpRun


def _first(patch: pytest.MonkeyPatch, module: Any, name: str, happens: Any) -> None:
    """Let something happen before the first call of a function."""
    original = getattr(module, name)

    def called(*arguments: Any) -> Any:
        patch.setattr(module, name, original)
        happens()
        return original(*arguments)

    patch.setattr(module, name, called)


def _another_block(made: MadeUpRun) -> None:
    made.record(2)
    for work in made.recorder._waiting:
        work.result()


def test_a_block_in_progress_becomes_parquet_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeUpRun(tmp_path / "run", steps=20).record(6)
    _first(monkeypatch, recovery, "check_stream", lambda: _another_block(made))
    found = recovery.whole_part(open_run(made.path))
    assert (found.last_step, found.damage) == (6, [])
    made.finish(report=False)


def test_a_run_ends_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeUpRun(tmp_path / "run", steps=9).record(6)
    run = open_run(made.path)
    made.finish(report=False)
    found = recovery.whole_part(run)
    assert (found.last_step, found.damage) == (9, [])


def test_rows_move_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeUpRun(tmp_path / "run", steps=20).record(6)
    run = open_run(made.path)
    _first(monkeypatch, recorded, "read_recorded", lambda: _another_block(made))
    rows = recorded.RecordedSteps(run).rows("events", 5)
    assert rows.num_rows == made.recorded[4]["events"].num_rows
    made.finish(report=False)


def test_answers_move_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeUpRun(tmp_path / "run", steps=4, steps_per_block=3).record(1)
    answered = made.recorded[0]["llm_calls"].num_rows
    _first(monkeypatch, journal, "_rows_of", lambda: _another_block(made))
    assert len(journal.later_calls(made.path, 0)) == answered > 0
    made.finish(report=False)
