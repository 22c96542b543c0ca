"""How many decisions by a language model a second, from observing to recording, against a server that answers at once.

    python benchmarks/llm_decisions.py [--agents 2000] [--steps 6] [--platform x|reddit|both] [--concurrency 256]

A run of `oasis.Simulation` in this process, all agents active and decided by ``llm``, 10 posts in a feed, all recorded;
`llm_stub.py` in another process. After each step `bare` sends the bodies of that step again, rendered as they are, over
the same transport and connections and as many at a time, with nothing around it: `overhead` is the step's time per
decision over that, the median of all steps. The first step compiles kernels and is left out.

Prints JSON. Processor time is shown apart for this process, the one that sends, and the stub, which on two cores share
them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oasis.inference import HttpTransport
from oasis.inference.transport import Arrival, Prompt
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.simulation.collecting import seldom_collected


class Keeping(HttpTransport):
    """Keeps the bodies that are sent."""

    bodies: list[bytes] = []

    def _body(self, prompt: Prompt) -> bytes:
        body = super()._body(prompt)
        Keeping.bodies.append(body)
        return body


async def bare(transport: HttpTransport, bodies: Sequence[bytes], concurrency: int) -> float:
    """Return the seconds that the process that sends takes for bodies, over connections that are open."""
    sender, server = transport._sender, transport._number
    assert sender is not None
    queue, left = iter(bodies), len(bodies)
    done = asyncio.get_running_loop().create_future()

    def landed(arrivals: Sequence[Arrival]) -> None:
        nonlocal left
        for _, found in arrivals:
            if isinstance(found, Exception):
                done.set_exception(found)
                return
            if (body := next(queue, None)) is not None:
                sender.start(server, body, 60.0, None, landed)
        left -= len(arrivals)
        if not left:
            done.set_result(None)

    start = time.perf_counter()
    for _ in range(min(concurrency, left)):
        sender.start(server, next(queue), 60.0, None, landed)
    await done
    return time.perf_counter() - start


def cpu_s(pid: int | None) -> float:
    """Return the processor seconds of another process, nan where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parameter(text: str) -> tuple[str, Any]:
    """Return key and value of ``KEY=VALUE``, a number where it is one."""
    key, _, value = text.partition("=")
    return key, json.loads(value) if value.isdigit() else value


async def steps_of(simulation: Simulation, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what each step but the first took, in microseconds per decision."""
    assert simulation._inference is not None
    transport = simulation._inference._transports[0]
    assert isinstance(transport, HttpTransport)
    assert transport._sender is not None
    if not given.no_bare:
        transport.__class__ = Keeping
    found: list[dict[str, Any]] = []
    before = time.perf_counter(), time.process_time(), cpu_s(transport._sender.pid)
    with seldom_collected():
        async for result in simulation.steps():
            now = time.perf_counter(), time.process_time(), cpu_s(transport._sender.pid)
            active = int(result.metrics["active"])
            wall, here, sending = (1e6 * (b - a) / active for a, b in zip(before, now, strict=True))
            step = {"active": active, "wall": wall, "cpu": here, "cpu_of_sender": sending}
            phases = [name for name in result.metrics if name.startswith("seconds_")]
            step |= {name: 1e6 * result.metrics[name] / active for name in phases}
            if Keeping.bodies and found:
                seconds = [await bare(transport, Keeping.bodies, given.concurrency) for _ in range(2)]
                step["bare"] = 1e6 * sum(seconds) / 2 / active
            while not transport._sender.ready:
                await asyncio.sleep(0.01)
            Keeping.bodies.clear()
            found.append(step)
            before = time.perf_counter(), time.process_time(), cpu_s(transport._sender.pid)
    return found[1:]


def measure(platform: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return what a run on `platform` took."""
    command = [sys.executable, str(Path(__file__).with_name("llm_stub.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stub:
        assert stub.stdin is not None
        assert stub.stdout is not None
        url = f"http://127.0.0.1:{int(stub.stdout.readline())}/v1"
        scenario = Scenario.from_dict(
            {
                "simulation": {"steps": given.steps + 1},
                "platform": {"kind": platform},
                "recsys": {"kind": {"x": "interest", "reddit": "hot"}[platform]},
                "population": {"agents": given.agents, "mean_active": 0.999},
                "policies": [{"kind": "llm", "parameters": dict(map(parameter, given.parameter))}],
                "llm": {"endpoints": [url], "model": "stub", "concurrency": given.concurrency},
                "output": {"report": False},
            }
        )
        steps = asyncio.run(steps_of(Simulation(scenario, folder / platform), given))
        stub.stdin.close()
        served = json.loads(stub.stdout.readline())

    def median(name: str) -> float:
        return round(float(np.median([step[name] for step in steps])), 1)

    found = {
        "platform": platform,
        "agents": given.agents,
        "decisions": sum(step["active"] for step in steps),
        "decisions_per_s": round(1e6 / median("wall")),
        "decisions_per_s_by_step": [round(1e6 / step["wall"]) for step in steps],
        "microseconds_per_decision": {name: median(name) for name in ("wall", "cpu", "cpu_of_sender")},
        "phases_microseconds": {n.removeprefix("seconds_"): median(n) for n in steps[0] if n.startswith("seconds_")},
        "stub": {**served, "microseconds_per_request": round(1e6 * served["cpu_s"] / served["requests"], 1)},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    if "bare" in steps[0]:
        ratios = [step["wall"] / step["bare"] - 1 for step in steps]
        found["bare_microseconds"] = median("bare")
        found["overhead"] = round(float(np.median(ratios)), 3)
        found["overhead_by_step"] = [round(ratio, 2) for ratio in ratios]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--platform", choices=("x", "reddit", "both"), default="both")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--parameter", action="append", default=[], help="KEY=VALUE of the policy")
    parser.add_argument("--no-bare", action="store_true", help="measure no bare client")
    given = parser.parse_args()
    platforms = ("x", "reddit") if given.platform == "both" else (given.platform,)
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(platform, given, Path(folder)) for platform in platforms]
    print(json.dumps({"benchmark": "llm_decisions", "results": results}, indent=2))


if __name__ == "__main__":
    main()
