"""Runs stopped by signals, full disks and each other, through the command line, are resumed to the same end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from oasis import Scenario, open_run


@pytest.fixture(scope="module")
def case(cases: Any) -> Any:
    return cases.get(2)


@pytest.fixture
def file(case: Any, tmp_path: Path) -> str:
    """Return the scenario as a file."""
    path = tmp_path / "scenario.toml"
    path.write_text(_toml(case.scenario), "utf-8")
    assert Scenario.load(path) == Scenario.from_dict(case.scenario)
    return str(path)


def _toml(values: dict[str, Any]) -> str:
    lines = []
    for table, content in values.items():
        for entry in content if isinstance(content, list) else [content]:
            lines.append(f"[[{table}]]" if isinstance(content, list) else f"[{table}]")
            lines += [f"{key} = {_value(value)}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def resumed(case: Any, run: Path, nursery: Any, cases: Any, said: Path, **same: bool) -> None:
    assert nursery.run(args=["resume", str(run)], said=str(said)) == 0, said.read_text()
    cases.check(case, run, **same)


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 9))])
def test_a_signal_stops_a_run(
    number: int, case: Any, file: str, cases: Any, nursery: Any, server: Any, tmp_path: Path
) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    draw = random.Random(number)
    arguments = ["run", file, "--out", str(run)]
    for kind in (signal.SIGTERM, signal.SIGINT):
        server.begin()
        server.signal = kind
        server.kill_at = draw.randint(2, 12)
        server.pid = nursery.start(args=arguments, said=str(said))
        status = nursery.wait()
        server.begin()
        assert status == 1, said.read_text()
        stopped = open_run(run)
        assert (stopped.state, stopped.manifest.status) == ("stopped", "stopped")
        assert "stopped on request" in (stopped.manifest.message or "")
        arguments = ["resume", str(run)]
    resumed(case, run, nursery, cases, said, same_calls=False)


@pytest.mark.parametrize(
    "bytes_", [2500, *(pytest.param(n, marks=pytest.mark.slow) for n in (700, 1200, 4000, 6000, 8000, 12_000, 16_000))]
)
def test_a_full_disk_stops_a_run_and_a_resume(
    bytes_: int, case: Any, file: str, cases: Any, nursery: Any, server: Any, tmp_path: Path
) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    server.begin()
    first = nursery.run(args=["run", file, "--out", str(run)], largest_file=bytes_, said=str(said))
    assert first in (1, 2), said.read_text()
    assert "Traceback" not in said.read_text()
    if not run.exists():
        assert "cannot be made" in said.read_text()
        assert not list(tmp_path.glob(".run*"))
        assert nursery.run(args=["run", file, "--out", str(run)], said=str(said)) == 0
        cases.check(case, run)
        return
    done = open_run(run).steps_done
    again = nursery.run(args=["resume", str(run)], largest_file=bytes_ + 400, said=str(said))
    assert again in (1, 2), said.read_text()
    assert "Traceback" not in said.read_text()
    assert open_run(run).steps_done >= done
    resumed(case, run, nursery, cases, said, same_calls=False)


def _until_written_by(pid: int, run: Path) -> None:
    while True:
        with contextlib.suppress(OSError, ValueError):
            if json.loads((run / "process.json").read_text())["pid"] == pid:
                return
        time.sleep(0.01)


def test_one_process_writes(case: Any, file: str, cases: Any, nursery: Any, server: Any, tmp_path: Path) -> None:
    from oasis.errors import RunDirectoryError
    from oasis.simulation.again import resume

    run, said = tmp_path / "run", tmp_path / "said"
    server.begin()
    server.stub.delay_s = 0.3
    try:
        pid = nursery.start(args=["run", file, "--out", str(run)], said=str(said))
        _until_written_by(pid, run)
        with pytest.raises(RunDirectoryError, match=f"process {pid} on .* writes it"):
            resume(run)
        os.kill(pid, signal.SIGKILL)
        assert nursery.wait() == -signal.SIGKILL
        server.begin()
        pid = nursery.start(args=["resume", str(run)], said=str(said))
        _until_written_by(pid, run)
        with pytest.raises(RunDirectoryError, match=f"process {pid} on .* writes it"):
            resume(run)
    finally:
        server.stub.delay_s = 0.004
    assert nursery.wait() == 0, said.read_text()
    cases.check(case, run)


def test_a_run_goes_on_elsewhere(case: Any, file: str, cases: Any, nursery: Any, server: Any, tmp_path: Path) -> None:
    run, said = tmp_path / "run", tmp_path / "said"
    server.begin()
    server.kill_at = case.asked.total() // 2
    server.pid = nursery.start(args=["run", file, "--out", str(run)], said=str(said))
    assert nursery.wait() == -signal.SIGKILL
    server.begin()
    shutil.copytree(run, tmp_path / "elsewhere" / "copy")
    run.rename(tmp_path / "moved")
    resumed(case, tmp_path / "elsewhere" / "copy", nursery, cases, said)
    resumed(case, tmp_path / "moved", nursery, cases, said)
