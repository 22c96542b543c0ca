"""What recording, checkpoints and replay cost, in counts: bytes written, calls made. Times are in `benchmarks/`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from oasis import Scenario, Simulation
from oasis.inference import build
from oasis.runs.checkpoints import Checkpoints, checkpoint_folders
from oasis.simulation import StepResult
from oasis.simulation.again import replay
from oasis.testing.servers import StubServer


def test_a_second_checkpoint_writes_only_what_changed(tmp_path: Path) -> None:
    """Of 20,000 agents 5% act in a step: graph and profiles stay, what agents have seen does not."""
    simulation = Simulation(
        Scenario.from_dict(
            {
                "simulation": {"steps": 2},
                "recsys": {"kind": "interest", "embedder": "hashed-ngrams"},
                "population": {"agents": 20_000, "mean_active": 0.05},
            }
        )
    )
    kept = Checkpoints(tmp_path, keep=2, sync=False)

    def write(_: StepResult) -> None:
        kept.write(simulation.point().to_checkpoint())

    simulation.run_sync(write)
    first, second = ({f.name: f.stat() for f in folder.iterdir()} for folder in checkpoint_folders(tmp_path))
    linked = {name for name, file in second.items() if file.st_nlink == 2}
    assert {first[name].st_ino for name in linked} == {second[name].st_ino for name in linked}
    for table in ("attributes", "follows@base.00", "follows@base.01", "users.00"):
        assert any(name.startswith(table) for name in linked), (table, sorted(linked))
    written = sum(file.st_size for name, file in second.items() if name not in linked)
    assert written < 0.65 * sum(file.st_size for file in first.values())


def test_a_replay_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request reaches the server, no client for one is built, and no socket is opened towards anything."""
    with StubServer() as server:
        tables: dict[str, Any] = {
            "simulation": {"steps": 4},
            "population": {"agents": 40, "mean_active": 0.3},
            "policies": [{"kind": "llm"}],
            "llm": {"endpoints": [server.url], "model": "stub"},
            "output": {"report": False, "sync": False},
        }
        summary = Simulation(Scenario.from_dict(tables), tmp_path / "run").run_sync()
        asked = len(server.requests)
        assert asked

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a replay asks nobody")

        monkeypatch.setattr(build, "HttpTransport", refuse)
        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, refuse)
        for by_answers in (False, True):
            assert replay(tmp_path / "run", by_answers=by_answers) == summary.state_hash
        assert len(server.requests) == asked
