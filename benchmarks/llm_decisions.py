"""How many decisions by a language model a second, from observing to recording, against a server that answers at once.

    python benchmarks/llm_decisions.py [--agents 2000] [--steps 4] [--platform x|reddit|both] [--concurrency 256]

A run of `oasis.Simulation` in this process, all agents active and decided by ``llm``, 10 posts in a feed, all recorded;
`llm_stub.py` in another process. `bare` sends the same bodies, rendered before, over the same transport (from a process
of its own, as in the run) and open connections, with nothing around it: `overhead` is the run's time per decision over
that. The first step compiles kernels and is left out.

Prints JSON. The stub's processor seconds are shown apart; on two cores it has one to itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from oasis.inference import HttpTransport
from oasis.inference.sender import Sender
from oasis.inference.transport import Prompt
from oasis.scenario import Scenario
from oasis.simulation import Simulation, StepResult
from oasis.simulation.collecting import seldom_collected


class Keeping(HttpTransport):
    """Keeps what is sent."""

    kept: list[Prompt] = []

    async def send(self, prompt: Prompt, timeout_s: float) -> Any:
        Keeping.kept.append(prompt)
        return await super().send(prompt, timeout_s)

    def start(self, prompt: Prompt, *rest: Any) -> int | None:
        number = super().start(prompt, *rest)
        if number is not None:
            Keeping.kept.append(prompt)
        return number


class Rendered(HttpTransport):
    """Sends bodies that were rendered before."""

    bodies: dict[int, bytes] = {}

    def _body(self, prompt: Prompt) -> bytes:
        return Rendered.bodies[id(prompt)]


async def bare(prompts: list[Prompt], url: str, concurrency: int, apart: bool) -> list[float]:
    """Return the seconds that the transport alone takes for prompts, thrice, over connections that are open."""
    sender = Sender(worthwhile=1) if apart else None
    transport = Rendered(url, "stub", sender=sender)
    Rendered.bodies = {id(prompt): HttpTransport._body(transport, prompt) for prompt in prompts}

    async def send_all() -> float:
        queue = iter(prompts)

        async def work() -> None:
            for prompt in queue:
                await transport.send(prompt, 60.0)

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        return time.perf_counter() - start

    while sender is not None and not sender.ready:
        await asyncio.sleep(0.01)
    with seldom_collected():
        seconds = [await send_all() for _ in range(4)][1:]
    await transport.close()
    return seconds


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
                "policies": [{"kind": "llm", "parameters": dict(p.split("=") for p in given.parameter)}],
                "llm": {"endpoints": [url], "model": "stub", "concurrency": given.concurrency},
                "output": {"report": False},
            }
        )
        steps: list[dict[str, float]] = []
        last = [0.0, 0.0]

        def keep(result: StepResult) -> None:
            now = [time.perf_counter(), time.process_time()]
            steps.append({**result.metrics, "wall": now[0] - last[0], "cpu": now[1] - last[1]})
            last[:] = now

        simulation = Simulation(scenario, folder / platform)
        if not given.no_bare:
            transport = simulation._inference._transports[0]
            transport.__class__ = Keeping
        last[:] = time.perf_counter(), time.process_time()
        simulation.run_sync(keep)
        sent = Keeping.kept[-int(steps[-1]["active"]) :]
        apart, within = ([asyncio.run(bare(sent, url, given.concurrency, a))] if sent else [] for a in (True, False))
        stub.stdin.close()
        served = json.loads(stub.stdout.readline())
    timed = steps[1:]
    decisions = sum(s["active"] for s in timed)
    wall = sum(s["wall"] for s in timed)
    phases = [name for name in timed[0] if name.startswith("seconds_")]
    per = {n.removeprefix("seconds_"): round(1e6 * sum(s[n] for s in timed) / decisions, 1) for n in phases}
    found = {
        "platform": platform,
        "agents": given.agents,
        "decisions": decisions,
        "decisions_per_s": round(decisions / wall),
        "decisions_per_s_by_step": [round(s["active"] / s["wall"]) for s in timed],
        "microseconds_per_decision": round(1e6 * wall / decisions, 1),
        "cpu_microseconds_per_decision": round(1e6 * sum(s["cpu"] for s in timed) / decisions, 1),
        "phases_microseconds": per,
        "stub": {**served, "microseconds_per_request": round(1e6 * served["cpu_s"] / served["requests"], 1)},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }
    if sent:
        alone = float(np.median(apart)) / len(sent)
        found["bare_per_s"] = round(1 / alone)
        found["bare_microseconds"] = round(1e6 * alone, 1)
        found["bare_in_one_process_microseconds"] = round(1e6 * float(np.median(within)) / len(sent), 1)
        found["overhead"] = round(wall / decisions / alone - 1, 3)
        lengths = [sum(len(content) for _, content in p.messages) for p in sent]
        found["characters_per_prompt"] = round(float(np.mean(lengths)))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--platform", choices=("x", "reddit", "both"), default="both")
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--parameter", action="append", default=[], help="KEY=VALUE of the policy")
    parser.add_argument("--no-bare", action="store_true", help="keep no prompts and measure no bare client")
    given = parser.parse_args()
    platforms = ("x", "reddit") if given.platform == "both" else (given.platform,)
    with tempfile.TemporaryDirectory() as folder:
        results = [measure(platform, given, Path(folder)) for platform in platforms]
    print(json.dumps({"benchmark": "llm_decisions", "results": results}, indent=2))


if __name__ == "__main__":
    main()
