"""Runs whose process is killed, anywhere and again and again, and resumed: as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from oasis import open_run

CONCURRENCY = 4


def killed_and_resumed(
    cases: Any, case: Any, path: Path, plan: list[tuple[str, int]], nursery: Any, server: Any
) -> None:
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
        before = cases.journalled(path)
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
        lost = (before + now) - cases.journalled(path)
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
    cases.check(case, path)


def plan_of(number: int, case: Any) -> list[tuple[str, int]]:
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
def test_a_killed_run_goes_on(number: int, cases: Any, nursery: Any, server: Any, tmp_path: Path) -> None:
    case = cases.get(number % 2)
    plan = plan_of((number + 1) * 38, case)
    killed_and_resumed(cases, case, tmp_path / f"run{number}", plan, nursery, server)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(36))
def test_runs_killed_anywhere_go_on(number: int, cases: Any, nursery: Any, server: Any, tmp_path: Path) -> None:
    case = cases.get(number % 12)
    killed_and_resumed(cases, case, tmp_path / f"run{number}", plan_of(number, case), nursery, server)
