"""How far a run's records are whole: what lies behind the first damaged file is executed and recorded again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import RunDirectoryError
from oasis.records import STEP_TABLES
from oasis.runs.blocks import Mark, block_files, check_stream, marks_path, parse_mark, read_stream, stream_path
from oasis.runs.reading import Run, open_run
from oasis.runs.recorder import METRICS

__all__ = ["Whole", "whole_part"]


@dataclass(frozen=True)
class Whole:
    """The part of a run's records that is whole.

    Attributes
    ----------
    marks : list of Mark
        Of steps 1 to the last that is whole.
    digests : dict
        Step to ``step_digest``, also of later steps where it is known.
    damage : list of str
        What was found; a line that a kill cut off is none.
    """

    marks: list[Mark]
    digests: dict[int, str]
    damage: list[str]

    @property
    def last_step(self) -> int:
        """The last step that is whole; 0 for none."""
        return self.marks[-1].step if self.marks else 0


def whole_part(run: Run) -> Whole:
    """Look at every file that the run's steps are in, also while another process adds to them."""
    found = _whole_part(run)
    if not run.ended and (now := open_run(run.path)).ended:  # meanwhile, and what was in progress is gone
        return _whole_part(now)
    return found


def _whole_part(run: Run) -> Whole:
    damage: list[str] = []
    marks = _marks_at_end(run, damage) if run.ended else _marks_in_progress(run.path, damage)
    last = marks[-1].step if marks else 0
    for table in STEP_TABLES:
        covered = 0
        said = None
        for first, until, path in block_files(run.path, table):
            if first > min(last, covered + 1):
                break
            said = _damage(path, run)
            if said:
                damage.append(said)
                break
            covered = until
        if not said and not run.ended:
            covered = _covered_by_streams(run, table, covered, marks, damage)
        elif not said and covered < last:
            damage.append(f"{run.path / table}: the file with step {covered + 1} is missing")
        last = min(last, covered)
    digests = {m.step: str(m.metrics["step_digest"]) for m in marks if "step_digest" in m.metrics}
    return Whole([mark for mark in marks if mark.step <= last], digests, damage)


def _marks_in_progress(path: Path, damage: list[str]) -> list[Mark]:
    place = marks_path(path)
    marks: list[Mark] = []
    for line in (place.read_bytes() if place.exists() else b"").split(b"\n")[:-1]:
        mark = parse_mark(line)
        if mark is None or mark.step != len(marks) + 1:
            damage.append(f"{place}: damaged: line {len(marks) + 1} is no mark of step {len(marks) + 1}")
            break
        marks.append(mark)
    return marks


def _marks_at_end(run: Run, damage: list[str]) -> list[Mark]:
    """Return marks made again from ``metrics.parquet``, of a run that ended in order."""
    path = run.path / METRICS
    said = _damage(path, run)
    if said:
        damage.append(said)
        return []
    rows = pl.read_parquet(path, glob=False).to_dicts()
    block_of = {step: first for first, until, _ in block_files(run.path, "events") for step in range(first, until + 1)}
    lengths = dict.fromkeys(STEP_TABLES, 0)
    return [Mark(row["step"], block_of.get(row["step"], row["step"]), lengths, row) for row in rows]


def _covered_by_streams(run: Run, table: str, covered: int, marks: list[Mark], damage: list[str]) -> int:
    """Return the last step of a table that is on disk, given that Parquet files cover steps up to `covered`."""
    last_of_block = {mark.block: mark for mark in marks if mark.step > covered}
    for block in sorted(last_of_block):
        if block != covered + 1:
            break
        stream = stream_path(run.path, table, block)
        for mark in reversed([m for m in marks if m.block == block]):
            try:
                check_stream(stream, mark.lengths[table], mark.sums.get(table))
                for _ in read_stream(stream, mark.lengths[table], STEP_TABLES[table]):
                    pass
            except (OSError, RunDirectoryError, KeyError) as error:
                made = [(last, path) for first, last, path in block_files(run.path, table) if first == block]
                if made and _damage(made[0][1], run) is None:  # it has become Parquet meanwhile
                    covered = made[0][0]
                    break
                if mark is last_of_block[block]:
                    damage.append(str(error))
                continue
            covered = mark.step
            break
        if covered < last_of_block[block].step:
            break
    return covered


def _damage(path: Path, run: Run) -> str | None:
    """Return what is wrong with a Parquet file."""
    try:
        recorded = run.manifest.files.get(path.relative_to(run.path).as_posix())
        if recorded is not None:
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != recorded:
                    return f"{path}: damaged: its SHA-256 is not the one in the manifest"
                return None
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            for group in range(parquet.num_row_groups):
                parquet.read_row_group(group)
        # No checksum covers the headers of pages, and Arrow overlooks in them what Polars, which reads runs, does not.
        pl.scan_parquet(path, glob=False).select(pl.all().count()).collect(engine="streaming")
    except FileNotFoundError:
        return f"{path}: missing"
    except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return f"{path}: damaged: {error}"
    return None
