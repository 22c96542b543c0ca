"""The files that steps are in: readable, in their schema, each step once; and the tables at the end."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from oasis.records import STEP_TABLES
from oasis.runs.blocks import Mark, marks_path, metrics_frame, parse_mark, stream_path
from oasis.runs.directory import INITIAL, WORLD_TABLES
from oasis.runs.recorder import METRICS
from oasis.runs.tables import world_tables
from oasis.runs.verification.evidence import Evidence, Part, ids, read_bytes, read_parquet
from oasis.runs.verification.findings import Problem, Unreadable
from oasis.runs.verification.whole_files import Found
from oasis.world.world import World

__all__ = ["check_blocks", "check_marks", "check_tables"]

_BLOCK = re.compile(r"(\d{6,})-(\d{6,})\.parquet")
_DROPPED = re.compile(r"(\d{6,})-dropped\.parquet")
_NEVER_NULL = {
    "events": ("step", "seq", "agent_id", "turn", "policy", "action", "outcome"),
    "impressions": ("step", "agent_id", "turn", "position", "source"),
    "llm_calls": ("step", "agent_id", "turn", "attempt", "purpose", "status", "prompt_hash"),
    "interviews": ("step", "agent_id", "question_id", "outcome"),
}
_OPEN = {b"open": b""}  # the population's own attributes are columns of users


def check_marks(ev: Evidence) -> Found:
    """The marks are of one step after another."""
    path = marks_path(ev.path)
    name = path.relative_to(ev.path).as_posix()
    if not path.exists():
        wrong = ev.manifest is not None and ev.manifest.steps_done > 0
        missing = f"missing, though {ev.manifest.steps_done} steps are done" if wrong and ev.manifest else ""
        return "no step is marked", [Problem(name, missing, 1)] if wrong else [], []
    try:
        *lines, tail = read_bytes(path).split(b"\n")
    except Unreadable as error:
        return "could not be looked at", [Problem(name, str(error), 1)], []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        mark = parse_mark(line)
        if mark is None or not _fits(mark, number):
            problems.append(Problem(name, f"line {number} of {len(lines)} is no mark of step {number}", number))
            break
        ev.marks.append(mark)
    ev.steps_done = len(ev.marks)
    manifest = ev.manifest
    if manifest is not None and not problems and manifest.steps_done > ev.steps_done:
        text = f"marks {ev.steps_done} steps, the manifest says {manifest.steps_done}"
        problems.append(Problem(name, text, ev.steps_done + 1))
    notes = (
        [f"{name}: {len(tail):,} bytes of a mark that was not finished: that step never happened"]
        if tail and not ev.alive
        else []
    )
    return f"{len(ev.marks):,} steps marked as done", problems, notes


def check_blocks(ev: Evidence) -> Found:
    """Every step is in one readable file per table, and in no other."""
    problems: list[Problem] = []
    notes: list[str] = []
    count = 0
    for table in STEP_TABLES:
        found = _parquet_parts(ev, table, problems)
        found += _stream_parts(ev, table, {part.first for part in found}, notes)
        found.sort(key=lambda part: (part.first, part.last))
        before = len(problems)
        problems += _coverage(ev, table, found)
        good = []
        for part in found:
            text = _damage(ev, part)
            if text:
                problems.append(Problem(part.file, text, part.first))
            else:
                good.append(part)
        count += len(found)
        ev.parts[table] = good
        if len(problems) > before:
            ev.broken.add(table)
    for part in list(ev.dropped):
        if text := _damage(ev, part):
            problems.append(Problem(part.file, text))
            ev.dropped.remove(part)
            ev.broken.add("dropped")
    return f"{count:,} files hold steps 1 to {ev.steps_done:,}, each table each step once", problems, notes


def check_tables(ev: Evidence) -> Found:
    """The world's tables and the metrics are there, readable and in their schema."""
    problems = []
    schemas = {name: table.schema for name, table in world_tables(World()).items()}
    schemas["users"] = schemas["users"].with_metadata(_OPEN)
    for name in WORLD_TABLES:
        file = ev.world_file(name)
        try:
            ev.tables[name] = _frame(read_parquet(ev.path / file, schemas[name]))
        except Unreadable as error:
            problems.append(Problem(file, str(error)))
            ev.broken.add(name)
    file = ev.metrics_file()
    try:
        if ev.ended:
            schema = pa.schema([("step", pa.int32())], metadata=_OPEN)
            metrics = _frame(read_parquet(ev.path / METRICS, schema))
        else:
            metrics = metrics_frame(ev.marks)
        steps = metrics["step"].to_list()
        ev.tables["metrics"] = metrics
        if len(steps) != ev.steps_done or steps != list(range(1, len(steps) + 1)):
            at = next((i for i, step in enumerate(steps, 1) if step != i), len(steps) + 1)
            raise Unreadable(f"has {len(steps)} rows for {ev.steps_done} steps; the first that is wrong is row {at}")
    except (Unreadable, pl.exceptions.PolarsError, ValueError, TypeError, OverflowError) as error:
        problems.append(Problem(file, f"metrics: {error}" if not isinstance(error, Unreadable) else str(error)))
        ev.broken.add("metrics")
    where = "at the end" if ev.ended else f"where the process began ({INITIAL}/)"
    return f"the world {where}, and a row of metrics per step", problems, []


def _parquet_parts(ev: Evidence, table: str, problems: list[Problem]) -> list[Part]:
    parts = []
    for path in sorted((ev.path / table).glob("*")):
        name = f"{table}/{path.name}"
        block, dropped = _BLOCK.fullmatch(path.name), _DROPPED.fullmatch(path.name)
        if path.name.startswith("."):
            continue
        if block and int(block[1]) <= int(block[2]):
            first, last = int(block[1]), int(block[2])
            if not ev.alive:
                parts.append(Part(table, name, first, last))
            elif first <= ev.steps_done:
                parts.append(Part(table, name, first, min(last, ev.steps_done)))
        elif dropped and table == "llm_calls":
            ev.dropped.append(Part(table, name, int(dropped[1]), int(dropped[1])))
        else:
            problems.append(Problem(name, "is no file of steps: their names are like 000001-000060.parquet"))
    return parts


def _stream_parts(ev: Evidence, table: str, made: set[int], notes: list[str]) -> list[Part]:
    parts = []
    last_of_block = {mark.block: mark for mark in ev.marks}
    for block, mark in last_of_block.items():
        if block in made:
            continue
        path = stream_path(ev.path, table, block)
        length = mark.lengths[table]
        name = path.relative_to(ev.path).as_posix()
        parts.append(Part(table, name, block, mark.step, int(length)))
        size = 0 if ev.alive or not path.exists() else path.stat().st_size
        if length and size > length:
            notes.append(f"{name}: {size - length:,} bytes behind the last mark: they never happened")
    return parts


def _coverage(ev: Evidence, table: str, parts: list[Part]) -> list[Problem]:
    """Return where steps are missing, or twice."""
    problems, covered, last = [], 0, None
    for part in parts:
        if part.first > covered + 1:
            text = f"no file holds {_span(covered + 1, part.first - 1)}"
            problems.append(Problem(table, text, covered + 1))
        elif part.first <= covered and last is not None:
            text = f"holds {_span(part.first, min(covered, part.last))}, as {last.file} does"
            problems.append(Problem(part.file, text, part.first))
        if part.last > ev.steps_done and "marks" not in ev.broken:
            problems.append(Problem(part.file, f"ends with step {part.last}, and {ev.steps_done} are done"))
        if part.last > covered:
            covered, last = part.last, part
    if covered < ev.steps_done:
        problems.append(Problem(table, f"no file holds {_span(covered + 1, ev.steps_done)}", covered + 1))
    return problems


def _damage(ev: Evidence, part: Part) -> str | None:
    """Return what is wrong with a file of steps in itself."""
    try:
        table = ev.read(part)
    except Unreadable as error:
        return str(error)
    for name in _NEVER_NULL[part.table]:
        if nulls := table[name].null_count:
            return f"{name} is null in {nulls:,} of {table.num_rows:,} rows"
    steps = ids(table["step"])
    if part in ev.dropped or not len(steps):
        return None
    bounds = pc.min_max(table["step"]).as_py()
    if bounds["min"] < part.first or bounds["max"] > part.last:
        return f"has rows of steps {bounds['min']} to {bounds['max']}, its name says {part.first} to {part.last}"
    back = np.flatnonzero(np.diff(steps) < 0)
    if len(back):
        return f"row {back[0] + 1} is of step {steps[back[0] + 1]}, the one before it of step {steps[back[0]]}"
    return None


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _fits(mark: Mark, step: int) -> bool:
    """Return whether a mark is one of `step`."""
    lengths = mark.lengths.values()
    whole = mark.lengths.keys() == STEP_TABLES.keys() and all(isinstance(n, int) and n >= 0 for n in lengths)
    return whole and mark.step == step and 1 <= mark.block <= step


def _span(first: int, last: int) -> str:
    return f"step {first}" if first == last else f"steps {first} to {last}"
