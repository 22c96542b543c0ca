"""Verify a run directory: what is damaged, and what can be recovered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from oasis.errors import RunDirectoryError
from oasis.records import STEP_TABLES
from oasis.runs.directory import CURRENT
from oasis.runs.manifest import MANIFEST, Manifest
from oasis.runs.process import process_state
from oasis.runs.recorder import METRICS
from oasis.runs.verification.blocks_of_steps import check_blocks, check_marks, check_tables
from oasis.runs.verification.counts import check_coverage, check_metrics, check_tokens, keeps_all_impressions
from oasis.runs.verification.digests import check_digests, check_end
from oasis.runs.verification.evidence import Evidence
from oasis.runs.verification.findings import Check, Problem, Verification
from oasis.runs.verification.happenings import Events
from oasis.runs.verification.recovery import recovery, steps_whole
from oasis.runs.verification.references import check_creations, check_events, check_references, check_repetitions
from oasis.runs.verification.shown import check_calls, check_impressions, check_interviews
from oasis.runs.verification.whole_files import (
    Found,
    check_checkpoints,
    check_files,
    check_journal,
    check_manifest,
    check_parent,
)
from oasis.runs.verification.world_tables import check_world, check_world_events

__all__ = ["verify"]

_TRIES = 3  # a run that goes on while it is looked at may change its files meanwhile
_WORLD = ("users", "posts", "comments", "follows")


def verify(directory: str | Path) -> Verification:
    """Look at everything in a run directory that can be checked; nothing is changed.

    The run may be in any state; of one that goes on, the steps done so far are checked.

    Raises
    ------
    RunDirectoryError
        If `directory` is not one of a run.
    """
    path = Path(directory)
    _check_is_run(path)
    for _ in range(_TRIES):
        before = _moment(path)
        found = _Verifier(path).run()
        if found.ok or _moment(path) == before:
            break
    return found


class _Verifier:
    """Makes the checks in their order; what cannot be read is not looked into."""

    def __init__(self, path: Path) -> None:
        self._ev = Evidence(path)
        self._checks: list[Check] = []
        self._events: Events | None = None

    def run(self) -> Verification:
        """Make all checks."""
        ev = self._ev
        self._read_manifest()
        if ev.manifest is not None:
            self._check("manifest", lambda: check_manifest(ev))
            self._check("files", lambda: check_files(ev))
        if not ev.ended and not self._check("marks", lambda: check_marks(ev)):
            ev.broken.add("marks")
        self._check("steps", lambda: check_blocks(ev), breaks=STEP_TABLES.keys())
        self._check("tables", lambda: check_tables(ev), breaks=[*_WORLD, "metrics"])
        if ev.manifest is not None and ev.manifest.parent is not None:
            self._check("parent", lambda: check_parent(ev))
        self._check("checkpoints", lambda: check_checkpoints(ev))
        self._check("journal", lambda: check_journal(ev))
        self._rows()
        whole = steps_whole(ev, self._checks)
        recoverable = recovery(ev, self._checks, whole)
        return Verification(ev.path, ev.state, ev.steps_done, whole, tuple(self._checks), recoverable)

    def _rows(self) -> None:
        """Look into rows, as far as files could be read."""
        ev = self._ev

        def with_events(check: Callable[[Evidence, Events], Found]) -> Callable[[], Found]:
            return lambda: check(ev, self._load())

        self._check("events", with_events(check_events), "events")
        created = self._check("creations", with_events(check_creations), "events")
        if not (created and self._check("references", with_events(check_references), "events")):
            ev.broken.add("events")
        sound = ("events",)
        self._check("repetitions", with_events(check_repetitions), *sound)
        if not self._check("impressions", with_events(check_impressions), *sound, "impressions"):
            ev.broken.add("impressions")
        self._check("llm_calls", with_events(check_calls), *sound, "llm_calls")
        self._check("interviews", with_events(check_interviews), *sound, "interviews")
        consistent = self._check("world", lambda: check_world(ev), *_WORLD)
        if ev.ended and consistent:
            self._check("world by events", with_events(check_world_events), *sound, *_WORLD)
        if not keeps_all_impressions(ev):
            self._skip("digests", "need all impressions, and [output] impressions keeps a part of them, or none")
        elif not ev.digests():
            self._skip("digests", "there are none")
        else:
            needs = (*sound, "impressions", "interviews", "metrics")
            ev.records_confirmed = self._check("digests", with_events(check_digests), *needs)
        if ev.ended and ev.manifest is not None:
            self._check("coverage", with_events(check_coverage), *sound)
            ev.calls_confirmed = self._check("tokens", lambda: check_tokens(ev), "llm_calls", "dropped")
        self._check("metrics", with_events(check_metrics), *sound, "metrics")
        if ev.ended and ev.manifest is not None and ev.steps_done in ev.checkpoints:
            self._check("end", lambda: check_end(ev), *_WORLD)

    def _load(self) -> Events:
        if self._events is None:
            self._events = Events(self._ev)
        return self._events

    def _check(self, name: str, check: Callable[[], Found], *needs: str, breaks: Iterable[str] = ()) -> bool:
        """Make a check if all that it needs could be read; return whether it found nothing wrong."""
        lacking = [need for need in needs if need in self._ev.broken]
        if lacking:
            self._skip(name, f"not looked at, since there is something wrong with {', '.join(lacking)}")
            return False
        try:
            about, problems, notes = check()
        except Exception as error:  # damage that no rule foresaw: it is reported as what it is
            about = "could not be finished"
            text = f"{name} cannot be checked: {type(error).__name__}: {str(error)[:200]}"
            problems, notes = [Problem(".", text, 1 if name in STEP_TABLES or name == "steps" else None)], []
            self._ev.broken.update(breaks)
        self._checks.append(Check(name, not problems, about, tuple(problems), tuple(notes)))
        return not problems

    def _skip(self, name: str, why: str) -> None:
        self._checks.append(Check(name, None, why))

    def _read_manifest(self) -> None:
        ev = self._ev
        try:
            ev.manifest = Manifest.read(ev.path)
        except RunDirectoryError as error:
            text = str(error).partition(f"{MANIFEST}: ")[2] or "missing"
            self._checks.append(Check("manifest", False, "cannot be read", (Problem(MANIFEST, text),)))
        except RecursionError:
            self._checks.append(Check("manifest", False, "cannot be read", (Problem(MANIFEST, "nested too deeply"),)))
        manifest = ev.manifest
        marked = (ev.path / CURRENT).is_dir()
        if manifest is None:
            ev.ended = (ev.path / METRICS).exists() and not marked
            last = [int(f.stem[-6:]) for f in (ev.path / "events").glob("*-*[0-9].parquet") if f.stem[-6:].isdigit()]
            ev.steps_done = max(last, default=0)
            return
        ended = manifest.status == "done" or bool(manifest.files) or not marked
        ev.ended = manifest.status != "running" and ended
        ev.steps_done = manifest.steps_done if ev.ended else 0
        ev.alive = manifest.status == "running" and process_state(ev.path) != "dead"
        killed = manifest.status == "running" and not ev.alive
        ev.state = "killed" if killed else manifest.status


def _check_is_run(path: Path) -> None:
    if not path.is_dir():
        what = "is a file, not a run directory" if path.exists() else "no such run directory"
        raise RunDirectoryError(f"{path}: {what}; give the directory that 'oasis run' printed")
    signs = (MANIFEST, METRICS, CURRENT, *STEP_TABLES)
    if not any((path / name).exists() for name in signs):
        raise RunDirectoryError(f"{path}: not a run directory: it has no {MANIFEST}")


def _moment(path: Path) -> tuple[object, ...]:
    """Return what changes when a run goes on."""
    seen: list[object] = []
    for name in (MANIFEST, f"{CURRENT}/steps.jsonl"):
        try:
            status = (path / name).stat()
            seen.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            seen.append(None)
    return tuple(seen)
