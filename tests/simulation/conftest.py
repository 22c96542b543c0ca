"""Processes to kill, a server that logs what it is asked, and undisturbed runs to compare with."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oasis import open_run
from oasis.inference.calls import prompt_text
from oasis.runs.checked_batches import checked_batches
from oasis.runs.lines import content_of
from oasis.runs.verification import verify
from oasis.testing.same_runs import run_differences
from oasis.testing.servers import StubServer


class Nursery:
    """Starts processes from one that has all modules loaded; see ``nursery.py``."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, **job: Any) -> int:
        """Start a process and return its number."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer()["pid"])

    def wait(self) -> int:
        """Return the exit status of the process started last; negative: the signal that killed it."""
        return int(self._answer()["status"])

    def run(self, **job: Any) -> int:
        """Start a process, wait for its end, and return its status."""
        self.start(**job)
        return self.wait()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Start processes with it."""
    made = Nursery()
    yield made
    made.close()


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
        self.signal = signal.SIGKILL
        self.stub = StubServer(script=self._script, delay_s=0.004)

    def begin(self) -> None:
        """Forget what was asked."""
        self.asked, self.kill_at, self.pid, self.signal = [], None, None, signal.SIGKILL

    def _script(self, body: dict[str, Any], nth: int) -> str | None:
        self.asked.append(prompt_text([(m["role"], m["content"]) for m in body["messages"]]))
        if self.kill_at is not None and len(self.asked) >= self.kill_at:
            with contextlib.suppress(ProcessLookupError):
                if self.pid:
                    os.kill(self.pid, self.signal)
        return None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    made = Server()
    with made.stub:
        yield made


def scenario(number: int, url: str) -> dict[str, Any]:
    """Return scenario `number`: platforms, recommenders, policies, blocks and checkpoints vary."""
    draw = random.Random(number)
    platform = ("x", "reddit")[number % 2]
    opinion = [None, {"rule": "friedkin-johnsen"}, None, {"rule": "deffuant", "confidence": 1.0}][number % 4]
    choice: dict[str, Any] = {"kind": "choice", "parameters": {} if opinion is None else {"opinion": opinion}}
    policies: list[dict[str, Any]] = [
        [{"kind": "llm", "share": 0.3}, choice],
        [{"kind": "llm", "select": {"top": "followers", "count": 12}}, choice],
        [choice | {"share": 0.5}, {"kind": "llm"}],
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

    @staticmethod
    def check(case: Case, path: Path, **same: bool) -> None:
        """See that a run ended as the undisturbed one, and is whole."""
        check(case, path, **same)

    @staticmethod
    def journalled(path: Path) -> Counter[str]:
        """Return the prompts of which a whole answer is on disk."""
        return journalled(path)

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


@pytest.fixture(scope="session")
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
            add(content_of(line))  # a changed bit leaves JSON that its checksum gives away
    for stream in (path / "current").glob("llm_calls-*.arrows"):
        with contextlib.suppress(OSError, pa.ArrowException), pa.memory_map(str(stream)) as file:
            for batch in checked_batches(pa.ipc.open_stream(file)) if stream.stat().st_size else ():
                for row in batch.to_pylist():
                    add(row)
    for block in (path / "llm_calls").glob("[0-9]*.parquet"):
        with contextlib.suppress(OSError, pa.ArrowException):
            for row in pq.read_table(block, page_checksum_verification=True).to_pylist():
                add(row)
    return Counter(rows.values())


def check(case: Case, path: Path, **same: bool) -> None:
    """See that a run ended as the undisturbed one, and is whole."""
    assert run_differences(path, case.whole, **same) == []
    events = open_run(path).events.select("step", "seq").collect()
    assert events.is_unique().all()
    assert events.equals(events.sort("step", "seq"))
    verification = verify(path)
    assert verification.ok, verification.problems
    left = {p.name for p in path.iterdir()} - {p.name for p in case.whole.iterdir()}
    assert left <= {"current", "initial", "process.json"}  # of one that was killed when all was written
