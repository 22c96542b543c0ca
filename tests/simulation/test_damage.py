"""Runs that were killed, and whose files were damaged then: resumed, they end as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oasis import open_run
from oasis.simulation.again import Resumption, resume

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def killed(cases: Any, nursery: Any, server: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return a case, and a run of it that was killed in step 6 while requests were out."""
    case = cases.get(4)  # checkpoints every second step, one block a step
    path = tmp_path_factory.mktemp("killed") / "run"
    server.begin()
    calls = open_run(case.whole).metrics.collect()["llm_calls"].to_list()
    server.kill_at = sum(calls[:5]) + 3
    server.pid = nursery.start(run=case.scenario, out=str(path), inject=case.inject)
    assert nursery.wait() == -signal.SIGKILL
    assert open_run(path).steps_done == 5
    assert [p.name for p in sorted((path / "checkpoints").iterdir())] == ["000002", "000004"]
    server.begin()
    return case, path


def flip(path: Path, at: int | None = None) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 4
    path.unlink()  # other checkpoints may be linked to it
    path.write_bytes(content)


def cut(path: Path, share: float = 0.5) -> None:
    """Cut a file off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def go_on(case: Any, path: Path, cases: Any, server: Any) -> Resumption:
    """Resume and compare; return where it went on."""
    server.begin()
    before = cases.journalled(path)
    simulation = resume(path)
    place = simulation.place
    simulation.run_sync()
    cases.check(case, path)
    assert sum(server.asked.count(prompt) > case.asked[prompt] - before[prompt] for prompt in set(server.asked)) == 0
    assert isinstance(place, Resumption)
    return place


def each(pattern: str, damage: Callable[..., None], *arguments: Any) -> Damage:
    """Return what damages every file of a pattern."""

    def do(path: Path) -> None:
        files = [p for p in path.glob(pattern) if p.is_file()]
        assert files
        for file in files:
            damage(file, *arguments)

    return do


def gone(path: Path) -> None:
    """Remove all checkpoints."""
    shutil.rmtree(path / "checkpoints")


DAMAGES: dict[str, tuple[Damage, int]] = {  # and the step from which the run is taken up
    "newest checkpoint, one table": (each("checkpoints/000004/posts.arrow", flip), 2),
    "newest checkpoint, content": (each("checkpoints/000004/checkpoint.json", flip), 2),
    "newest checkpoint, cut": (each("checkpoints/000004/users.arrow", cut), 2),
    "newest checkpoint, a file missing": (each("checkpoints/000004/users.arrow", Path.unlink), 2),
    "all checkpoints": (each("checkpoints/*/users.arrow", flip), 0),
    "no checkpoints": (gone, 0),
    "marks, last line": (each("current/steps.jsonl", cut, 0.97), 4),
    "marks, half": (each("current/steps.jsonl", cut), 2),
    "marks, all": (each("current/steps.jsonl", cut, 0.0), 0),
    "marks, a bit": (each("current/steps.jsonl", flip, 1500), 0),
    "journal": (each("journal.jsonl", cut, 0.7), 4),
    "journal, all": (each("journal.jsonl", Path.unlink), 4),
    "a block of events, cut": (each("events/000003-*.parquet", cut), 2),
    "last block of events, cut": (each("events/000005-*.parquet", cut), 4),
    "a block of impressions, a bit": (each("impressions/000003-*.parquet", flip, 596), 2),
    "a block of calls, missing": (each("llm_calls/000002-*.parquet", Path.unlink), 0),
    "blocks of events": (each("events/*.parquet", cut), 0),
    "initial": (each("initial/posts.parquet", cut), 4),
}


QUICK = ("newest checkpoint, one table", "no checkpoints", "marks, last line", "journal", "a block of events, cut")
SLOW = [pytest.param(what, marks=pytest.mark.slow) for what in DAMAGES if what not in QUICK]


@pytest.mark.parametrize("what", [*QUICK, *SLOW])
def test_damage_is_done_without(what: str, killed: Any, cases: Any, server: Any, tmp_path: Path) -> None:
    case, source = killed
    shutil.copytree(source, tmp_path / "run")
    damage, taken = DAMAGES[what]
    damage(tmp_path / "run")
    place = go_on(case, tmp_path / "run", cases, server)
    assert (int(place.checkpoint.name) if place.checkpoint else 0) == taken, place.damage


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bit_anywhere(killed: Any, cases: Any, server: Any, tmp_path: Path) -> None:
    case, source = killed
    draw = random.Random(5)
    files = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file() and p.stat().st_size)
    failed = []
    for number, file in enumerate(files):
        if file.name in ("process.json", "manifest.json") or "000002" in file.parts:  # an older one is not read
            continue
        path = tmp_path / f"run{number}"
        shutil.copytree(source, path)
        at = draw.randrange((path / file).stat().st_size)
        flip(path / file, at)
        try:
            go_on(case, path, cases, server)
        except (AssertionError, Exception) as error:
            failed.append(
                f"{file} at {at} of {(source / file).stat().st_size}: {type(error).__name__}: {str(error)[:300]}"
            )
    assert not failed, "\n".join(failed)
