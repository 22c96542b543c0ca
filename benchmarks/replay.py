"""A run whose agents all ask a language model, and its replay, as JSON on stdout.

    python benchmarks/replay.py [--agents 10000] [--steps 100] [--model instant|server] [--platform x]

`instant` answers within the process at once, which no model does: the run is then as fast as it can be, so the ratio is
the smallest one. `server` is a stub of an OpenAI-compatible server on this machine (`oasis.testing.servers`), in a
process of its own, that answers at once. Answers are functions of prompt and schema. The run is on disk with the
default ``[output]``.

`calls_in_replay` counts what reached the model or the server while the run was replayed, and `connections_in_replay`
every attempt to connect anywhere. `seconds` are of the steps and all that a run leaves behind; building the population
is part of `replay` and not of `run`, which makes the ratio smaller. `by_answers` is `replay --answers`: every prompt
is made again and answered from the record.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform as machine
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from oasis.inference import build
from oasis.inference.mock import MockTransport
from oasis.inference.transport import Prompt
from oasis.runs import open_run
from oasis.runs.provenance import code_revision
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.simulation.again import replay
from oasis.testing.answers import answer_from_schema
from oasis.testing.servers import StubServer


class Instant(MockTransport):
    """Answers at once, and counts."""

    asked = 0

    def __init__(self, *_: object) -> None:
        super().__init__(self._answer)

    def _answer(self, prompt: Prompt) -> str:
        Instant.asked += 1
        self.prompts.clear()
        return answer_from_schema(prompt.schema, str(prompt.messages))


def serve(pipe: Connection) -> None:
    """Run a stub server; say its URL, then answer each message with the number of requests so far."""
    with StubServer() as server:
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(len(server.requests))


@contextmanager
def count_connections(counted: list[object]) -> Iterator[None]:
    """Note every attempt to connect a socket or to look up a name."""
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def noting(real: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            counted.append(args)
            return real(*args, **kwargs)

        return called

    with (
        patch.object(socket.socket, "connect", noting(connect)),
        patch.object(socket.socket, "connect_ex", noting(connect_ex)),
        patch.object(socket, "getaddrinfo", noting(look_up)),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--platform", default="x")
    parser.add_argument("--model", choices=("instant", "server"), default="instant")
    parser.add_argument("--folder", help="where the run is written; default: the system's, for temporary files")
    given = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    url = "http://127.0.0.1:9/v1"  # instant: nothing is sent there
    if given.model == "server":
        multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True).start()
        url = ours.recv()
    else:
        build.HttpTransport = Instant  # type: ignore[misc, assignment]

    def asked() -> int:
        if given.model == "instant":
            return Instant.asked
        ours.send(True)
        return int(ours.recv())

    def scenario(agents: int, steps: int) -> Scenario:
        return Scenario.from_dict(
            {
                "simulation": {"steps": steps},
                "platform": {"kind": given.platform},
                "population": {"agents": agents, "mean_active": 0.05},
                "policies": [{"kind": "llm"}],
                "llm": {"endpoints": [url], "model": "stub"},
            }
        )

    seconds = {}
    connections: list[object] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        Simulation(scenario(200, 2), Path(folder) / "warm").run_sync()  # kernels are compiled
        replay(Path(folder) / "warm")
        path = Path(folder) / "run"
        simulation = Simulation(scenario(given.agents, given.steps), path)
        before = asked()
        begun = time.perf_counter()
        summary = simulation.run_sync()
        seconds["run"] = time.perf_counter() - begun
        del simulation
        in_run = asked() - before
        for name, by_answers in (("replay", False), ("by_answers", True)):
            with count_connections(connections):
                begun = time.perf_counter()
                state_hash = replay(path, by_answers=by_answers)
                seconds[name] = time.perf_counter() - begun
            assert state_hash == summary.state_hash
        in_replay = asked() - before - in_run
        run = open_run(path)
        decisions = run.manifest.coverage.decisions
        rows = {name: run.table(name).collect().height for name in ("events", "impressions", "llm_calls")}
    result = {
        "agents": given.agents,
        "steps": given.steps,
        "platform": given.platform,
        "model": given.model,
        "decisions": decisions,
        "rows": rows,
        "calls_in_run": in_run,
        "calls_in_replay": in_replay,
        "connections_in_replay": len(connections),
        "same_state_hash": True,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "times_faster": {name: round(seconds["run"] / value, 2) for name, value in seconds.items() if name != "run"},
        "cores": os.cpu_count(),
        "machine": machine.processor() or machine.machine(),
        "revision": code_revision(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
