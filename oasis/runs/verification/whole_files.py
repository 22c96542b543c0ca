"""The manifest, the files that it lists, checkpoints and the journal."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oasis.errors import OasisError
from oasis.records import STEP_TABLES
from oasis.runs.checkpoints import CONTENT, FORMAT
from oasis.runs.directory import CURRENT, INITIAL
from oasis.runs.journal import JOURNAL, parse_call
from oasis.runs.manifest import MANIFEST, SCHEMA_VERSION, Manifest
from oasis.runs.process import PROCESS
from oasis.runs.verification.evidence import Evidence, check_is_file, read_bytes
from oasis.runs.verification.findings import Problem, Unreadable
from oasis.scenario import Scenario

__all__ = [
    "Found",
    "check_checkpoints",
    "check_files",
    "check_journal",
    "check_manifest",
    "check_parent",
]

Found = tuple[str, list[Problem], list[str]]
"""What was looked at, problems, notes."""

_UNLISTED = frozenset({MANIFEST, PROCESS, CURRENT, INITIAL, "interviews_afterwards.parquet"})
_HASH = re.compile(r"[0-9a-f]{64}")
_BLOCK = re.compile(r"(\w+)/(\d{6,})-(?:\d{6,}|dropped)\.parquet")


def check_manifest(ev: Evidence) -> Found:
    """The manifest agrees with itself."""
    manifest = ev.manifest
    assert manifest is not None
    simulation = _table(manifest.scenario, "simulation")
    said: list[str] = []
    if not 1 <= manifest.schema_version <= SCHEMA_VERSION:
        said.append(f"schema_version is {manifest.schema_version}; this version knows those up to {SCHEMA_VERSION}")
    for name, value, wanted in (
        ("name", manifest.name, simulation.get("name")),
        ("seed", manifest.seed, simulation.get("seed")),
        ("steps_planned", manifest.steps_planned, simulation.get("steps")),
    ):
        if value != wanted:
            said.append(f"{name} is {value!r}, in its scenario {wanted!r}")
    if not 0 <= manifest.steps_done <= manifest.steps_planned:
        said.append(f"steps_done is {manifest.steps_done}, of {manifest.steps_planned} planned")
    if manifest.status == "done" and manifest.steps_done != manifest.steps_planned:
        said.append(f"status is done after {manifest.steps_done} of {manifest.steps_planned} steps")
    if ev.ended and not _HASH.fullmatch(manifest.state_hash or ""):
        said.append(f"state_hash is {manifest.state_hash!r}, not 64 hexadecimal digits")
    if ev.ended and not manifest.files:
        said.append("files is empty, though the run has ended")
    said += [f"files: {name!r} is {value!r}, no SHA-256" for name, value in _bad_hashes(manifest)]
    for place, scenario in _scenarios(manifest):
        try:
            Scenario.from_dict(scenario)
        except (OasisError, ValueError, TypeError, KeyError) as error:
            said.append(f"{place} is none that this version can run: {str(error).splitlines()[0][:200]}")
    said += _ancestry(manifest)
    return "its fields agree with each other", [Problem(MANIFEST, text) for text in said], []


def check_files(ev: Evidence) -> Found:
    """Every file that the manifest lists is there and unchanged, and no other."""
    manifest = ev.manifest
    assert manifest is not None
    problems, there = [], _files(ev.path)
    for name, wanted in sorted(manifest.files.items()):
        path = ev.path / name
        if not _is_inside(name):
            problems.append(Problem(MANIFEST, f"files lists {name!r}, which is not within the run"))
            continue
        if not ev.ended and not path.exists():
            continue  # while a run goes on the files of its end are gone
        if text := _changed(path, wanted):
            problems.append(Problem(name, text, _first_step(name)))
            ev.damaged.add(name)
    if ev.ended:
        for name in sorted(there - manifest.files.keys()):
            problems.append(Problem(name, "is there, though the manifest does not list it", _first_step(name)))
    if not manifest.files:
        return "not listed before the run has ended", problems, []
    return f"{len(manifest.files):,} files against their SHA-256 in the manifest", problems, []


def check_checkpoints(ev: Evidence) -> Found:
    """Every file of each checkpoint is as its own list says, and belongs to the step that it claims."""
    problems: list[Problem] = []
    folders = sorted(f for f in (ev.path / "checkpoints").glob("*") if f.name.isdigit() and f.is_dir())
    digests = ev.digests()
    done = None if "marks" in ev.broken or ev.alive else ev.steps_done
    for folder in folders:
        found = _checkpoint(folder, folder.relative_to(ev.path).as_posix(), digests, done)
        if ev.alive and not folder.exists():  # removed meanwhile, being one too many
            continue
        problems += found
        if not found:
            ev.checkpoints.append(int(folder.name))
    ev.damaged_checkpoints = [int(f.name) for f in folders if int(f.name) not in ev.checkpoints]
    steps = ", ".join(str(int(f.name)) for f in folders)
    if folders:
        about = f"of step{'s' if len(folders) > 1 else ''} {steps}, every file against its SHA-256"
    else:
        about = "there are none"
    return about, problems, []


def check_journal(ev: Evidence) -> Found:
    """Every whole line of the journal is an attempt of a step that is not done."""
    path = ev.path / JOURNAL
    if not path.exists():
        return "there is none", [], []
    try:
        *lines, tail = read_bytes(path).split(b"\n")
    except Unreadable as error:
        return "could not be looked at", [Problem(JOURNAL, str(error))], []
    problems, whole, torn = [], 0, len(tail)
    for number, line in enumerate(lines, 1):
        good = parse_call(line) is not None
        whole += good
        if not good:
            problems.append(Problem(JOURNAL, f"line {number} is no attempt, or damaged; it is not read"))
    notes = [f"{torn:,} bytes of a line that was not finished: no answer that was used is in them"] if torn else []
    return f"{whole:,} attempts of the step in progress", problems, notes


def check_parent(ev: Evidence) -> Found:
    """The last step that a branch shares with its parent has the digest that it had there."""
    assert ev.manifest is not None
    assert ev.manifest.parent is not None
    parent, digests = ev.manifest.parent, ev.digests()
    problems = []
    if digests.get(parent.step, parent.step_digest) != parent.step_digest:
        text = f"parent: step {parent.step} had the digest {parent.step_digest} there, here {digests[parent.step]}"
        problems.append(Problem(MANIFEST, text))
    shared = f"steps 1 to {parent.step}" if parent.step else "the beginning"
    return f"shares {shared} with {parent.name}", problems, []


def _checkpoint(folder: Path, name: str, digests: dict[int, str], steps_done: int | None) -> list[Problem]:
    place = f"{name}/{CONTENT}"
    try:
        content = json.loads(read_bytes(folder / CONTENT))
        form, step, digest, files = (content[key] for key in ("format", "step", "step_digest", "files"))
        files = dict(files)
    except Unreadable as error:
        return [Problem(place, str(error))]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return [Problem(place, f"is no list of a checkpoint's files: {type(error).__name__}: {str(error)[:120]}")]
    if form != FORMAT:
        return [Problem(place, f"is of format {form!r}; this version reads {FORMAT}")]
    problems = []
    if step != int(folder.name):
        problems.append(Problem(place, f"says step {step!r}, its folder {folder.name}"))
    elif steps_done is not None and step > steps_done:
        problems.append(Problem(place, f"is of step {step}, and {steps_done} are done"))
    elif digests.get(step, digest) != digest:
        problems.append(Problem(place, f"step_digest is {digest}, in the metrics {digests[step]}"))
    for file, wanted in sorted(files.items()):
        if not _is_inside(file):
            problems.append(Problem(place, f"lists {file!r}, which is not within it"))
        elif text := _changed(folder / file, wanted):
            problems.append(Problem(f"{name}/{file}", text.replace("the manifest", CONTENT)))
    for path in sorted(_files(folder) - files.keys() - {CONTENT}):
        problems.append(Problem(f"{name}/{path}", f"is there, though {CONTENT} does not list it"))
    return problems


def _changed(path: Path, wanted: object) -> str | None:
    """Return how a file is not what its hash says; None where it is."""
    try:
        check_is_file(path)
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except Unreadable as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found == wanted:
        return None
    return f"changed: its SHA-256 is {found[:12]}..., in the manifest {str(wanted)[:12]}..."


def _files(folder: Path) -> set[str]:
    """Return the paths of the files in a folder that a manifest has to list."""
    names = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if not hidden and name.partition("/")[0] not in _UNLISTED and (path.is_file() or path.is_symlink()):
            names.add(name)
    return names


def _first_step(name: str) -> int | None:
    """Return the first step of a block's file; None for one that holds no steps that are done."""
    found = _BLOCK.fullmatch(name)
    return int(found[2]) if found and found[1] in STEP_TABLES and "dropped" not in name else None


def _is_inside(name: object) -> bool:
    return isinstance(name, str) and not name.startswith("/") and ".." not in name.split("/") and "\0" not in name


def _bad_hashes(manifest: Manifest) -> list[tuple[str, str]]:
    return [(name, value) for name, value in sorted(manifest.files.items()) if not _HASH.fullmatch(value)]


def _scenarios(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "scenario", manifest.scenario
    for number, past in enumerate(manifest.past):
        yield f"past.{number}.scenario", past.scenario


def _ancestry(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with where a branch says that it comes from."""
    ends = [past.last_step for past in manifest.past]
    if ends != sorted(ends) or any(end > manifest.steps_planned for end in ends):
        yield f"past: scenarios end at steps {ends}, which must ascend to {manifest.steps_planned} at most"
    if manifest.parent is not None and not 0 <= manifest.parent.step <= manifest.steps_planned:
        yield f"parent.step is {manifest.parent.step}, of {manifest.steps_planned} planned"


def _table(scenario: dict[str, Any], name: str) -> dict[str, Any]:
    table = scenario.get(name)
    return table if isinstance(table, dict) else {}
