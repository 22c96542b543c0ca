"""Runs whose process is killed, anywhere and again and again, and resumed: as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oasis import open_run
from oasis.inference.calls import prompt_text
from oasis.runs.verification import verify
from oasis.testing.same_runs import run_differences
from oasis.testing.servers import StubServer

CONCURRENCY = 4
STEPS = 7


@dataclass
class Case:
    """A scenario, its undisturbed run, and what can be expected of it."""

    scenario: dict[str, Any]
    inject: list[int]
    whole: Path
    asked: Counter[str]
    phases: list[str] = field(repr=False)


class Server:
    """A stub that logs what it is asked, and can kill who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.kill_at: int | None = None
        self.pid: int | None = None
        self.stub = StubServer(script=self._script, delay_s=0.004)

    def begin(self) -> None:
        """Forget what was asked."""
        self.asked, self.kill_at, self.pid = [], None, None

    def _script(self, body: dict[str, Any], nth: int) -> str | None:
        self.asked.append(prompt_text([(m["role"], m["content"]) for m in body["messages"]]))
        if self.kill_at is not None and len(self.asked) >= self.kill_at:
            with contextlib.suppress(ProcessLookupError):
                if self.pid:
                    os.kill(self.pid, signal.SIGKILL)
        return None


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    with made.stub:
        yield made


def scenario(number: int, url: str) -> dict[str, Any]:
    """Return scenario `number`: platforms, recommenders, policies, blocks and checkpoints vary."""
    draw = random.Random(number)
    platform = ("x", "reddit")[number % 2]
    policies: list[dict[str, Any]] = [
        [{"kind": "llm", "share": 0.3}, {"kind": "choice"}],
        [{"kind": "llm", "select": {"top": "followers", "count": 12}}, {"kind": "choice"}],
        [{"kind": "choice", "share": 0.5}, {"kind": "llm"}],
    ][number % 3]
    interventions: list[dict[str, Any]] = [
        {"step": 2, "kind": "post", "agents": {"count": 2}, "content": "News", "likes": 9},
        {"step": 2, "kind": "sign_up", "username": "late", "bio": "came later", "activity": 1.0},
        {"step": 3, "kind": "interview", "agents": {"count": 4}, "question": "How are you?", "scale": [1, 7]},
        {"step": 4, "kind": "swap_recommender", "recommender": draw.choice(["random", "chronological", "trending"])},
        {"step": 5, "kind": "interview", "agents": [1, 24], "question": "Well?", "options": ["yes", "no"], "every": 2},
        {"step": 6, "kind": "ban", "agents": {"top": "followers", "count": 2}},
    ]
    return {
        "simulation": {"name": f"kill{number}", "steps": STEPS, "seed": number, "warmup_steps": number % 2},
        "platform": {"kind": platform},
        "recsys": {"kind": ("hot", "collaborative", "interest")[number % 3], "embedder": "hashed-ngrams", "size": 5},
        "population": {"agents": 24, "mean_active": 0.4},
        "policies": policies,
        "llm": {"endpoints": [url], "model": "stub", "timeout_s": 20, "concurrency": CONCURRENCY},
        "interventions": interventions,
        "output": {
            "prompts": "all",
            "report": number % 4 == 3,
            "sync": number % 2 == 0,
            "steps_per_block": 1 + number % 4,
            "checkpoint_steps": 2 + number % 2,
            "impressions": "sample" if number % 5 == 4 else "all",
            "sample_share": 0.5,
        },
    }


class Cases:
    """Undisturbed runs, made when they are asked for."""

    def __init__(self, folder: Path, nursery: Any, server: Server) -> None:
        self._folder, self._nursery, self._server = folder, nursery, server
        self.get = cache(self._make)

    def _make(self, number: int) -> Case:
        self._server.begin()
        whole, trace = self._folder / f"whole{number}", self._folder / f"trace{number}"
        described = scenario(number, self._server.stub.url)
        inject = [3, 6] if number % 2 else []
        job = {"run": described, "out": str(whole), "inject": inject}
        assert self._nursery.run(**job, trace=str(trace), said=str(trace) + ".said") == 0, Path(
            str(trace) + ".said"
        ).read_text()
        return Case(described, inject, whole, Counter(self._server.asked), trace.read_text().split("\n"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, nursery: Any, server: Server) -> Cases:
    return Cases(tmp_path_factory.mktemp("whole"), nursery, server)


def journalled(path: Path) -> Counter[str]:
    """Return the prompts of which a whole answer is on disk: in the journal, a stream or a Parquet file."""
    rows: dict[tuple[Any, ...], str] = {}

    def add(row: dict[str, Any]) -> None:
        if row["status"] == "ok":
            key = ("step", "agent_id", "turn", "purpose", "prompt_hash")
            rows[tuple(row[name] for name in key)] = row["prompt"]

    journal = path / "journal.jsonl"
    for line in (journal.read_bytes() if journal.exists() else b"").split(b"\n"):
        with contextlib.suppress(ValueError):
            add(json.loads(line))
    for stream in (path / "current").glob("llm_calls-*.arrows"):
        with contextlib.suppress(pa.ArrowException), pa.memory_map(str(stream)) as file:
            for batch in pa.ipc.open_stream(file) if stream.stat().st_size else ():
                for row in batch.to_pylist():
                    add(row)
    for block in (path / "llm_calls").glob("[0-9]*.parquet"):
        for row in pq.read_table(block).to_pylist():
            add(row)
    return Counter(rows.values())


def killed_and_resumed(case: Case, path: Path, plan: list[tuple[str, int]], nursery: Any, server: Server) -> None:
    """Kill a run as planned, then each resume; let the last resume end, and compare all with the undisturbed run.

    Parameters
    ----------
    plan : list of (kind, number)
        ``call``: at this call of the code that writes runs; ``request``: when the server has got so many requests.
    """
    server.begin()
    sent = Counter[str]()
    in_flight = 0
    said = path.with_suffix(".said")
    story = []
    for kind, number in [*plan, ("", 0)]:
        server.begin()
        before = journalled(path)
        job: dict[str, Any] = {"args": ["resume", str(path)]}
        if not path.exists() or case.inject:
            job = {"run": case.scenario, "resume": path.exists(), "out": str(path), "inject": case.inject}
        server.kill_at = number if kind == "request" else None
        trace = path.with_suffix(".trace")
        trace.unlink(missing_ok=True)
        extra = {"kill_at": number, "trace": str(trace)} if kind == "call" else {}
        server.pid = nursery.start(**job, **extra, said=str(said))
        status = nursery.wait()
        server.pid = None
        assert status == (-signal.SIGKILL if kind else 0) or status == 0, said.read_text()
        # What had been answered before it began is not asked again.
        now = Counter(server.asked)
        assert not {prompt for prompt in now if now[prompt] > case.asked[prompt] - before[prompt]}
        sent += now
        if status == 0:
            story.append("ended")
            break
        lost = (before + now) - journalled(path)
        in_flight += lost.total()
        done = open_run(path).steps_done if path.exists() else 0
        where = trace.read_text().strip() if trace.exists() else f"request {number}"
        story.append(f"killed after step {done} at {where or 'start'}, {now.total()} sent, {lost.total()} in flight")
        assert lost.total() <= CONCURRENCY
        if path.exists() and open_run(path).state == "done":  # it was tidying up: nothing is left to do
            break
    assert open_run(path).state == "done"
    extra_calls = (sent - case.asked).total()
    print(f"{path.name}: {'; '.join(story)}; then {now.total()}; {case.asked.total()} undisturbed, extra {extra_calls}")
    assert extra_calls <= in_flight
    assert not case.asked - sent  # none was made up
    check(case, path)


def check(case: Case, path: Path, **same: bool) -> None:
    """See that a run ended as the undisturbed one, and is whole."""
    assert run_differences(path, case.whole, **same) == []
    events = open_run(path).events.select("step", "seq").collect()
    assert events.is_unique().all()
    assert events.equals(pl.DataFrame(events).sort("step", "seq"))
    verification = verify(path)
    assert verification.ok, verification.problems
    left = {p.name for p in path.iterdir()} - {p.name for p in case.whole.iterdir()}
    assert left <= {"current", "initial", "process.json"}  # of one that was killed when all was written


def plan_of(number: int, case: Case) -> list[tuple[str, int]]:
    """Return where to kill: seeded, in turn in each phase of a run, while requests are out, and in resumes."""
    draw = random.Random(1000 + number)
    phases = sorted(set(case.phases) - {""})
    wanted = [*phases, "request", "any", "several", "several"]
    kind = wanted[(number + number // 12) % len(wanted)]
    if kind == "request":
        return [("request", draw.randint(1, case.asked.total()))]
    if kind == "any":
        return [("call", draw.randint(1, len(case.phases) - 200))]
    if kind == "several":
        return [
            ("call", draw.randint(len(case.phases) // 5, len(case.phases) // 2)),
            ("call", draw.randint(1, 400)),
            ("call", draw.randint(100, len(case.phases) // 4)),
            ("request", draw.randint(1, 9)),
        ]
    at = draw.choice([i for i, phase in enumerate(case.phases, 1) if phase == kind])
    return [("call", at)]


@pytest.mark.parametrize("number", range(5))
def test_a_killed_run_goes_on(number: int, cases: Cases, nursery: Any, server: Server, tmp_path: Path) -> None:
    case = cases.get(number % 2)
    plan = plan_of((number + 1) * 38, case)
    killed_and_resumed(case, tmp_path / f"run{number}", plan, nursery, server)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(60))
def test_runs_killed_anywhere_go_on(number: int, cases: Cases, nursery: Any, server: Server, tmp_path: Path) -> None:
    case = cases.get(number % 12)
    killed_and_resumed(case, tmp_path / f"run{number}", plan_of(number, case), nursery, server)
