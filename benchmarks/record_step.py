"""Measure the recorder: steps of 10,000 events and 100,000 impressions, on disk and readable after each.

Prints JSON: rows a second while steps are recorded, until all blocks are Parquet, and bytes a row on disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from oasis.actions import Action, Outcome, TargetKind
from oasis.interfaces import Source
from oasis.records import EVENTS, IMPRESSIONS
from oasis.runs import Recorder, RunDirectory, open_run


def labels(names: list[str], codes: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int16)), pa.array(names))


def step_tables(step: int, events: int, impressions: int) -> dict[str, pa.Table]:
    """Return rows that look like a run's: a tenth of the events carry a text."""
    i, j = np.arange(events), np.arange(impressions)
    mixed = (i * 2654435761 + step) % 2**32
    shown = (j * 2246822519 + step * 3266489917) % 2**32
    text = pa.array([f"a post of some sixty characters, number {n} of step {step}" for n in range(0, events, 10)])
    content = text.take(pa.array(i // 10, mask=i % 10 > 0)).cast(pa.large_string())
    return {
        "events": pa.table(
            [
                pa.array(np.full(events, step, np.int32)),
                pa.array(i.astype(np.int32)),
                pa.array((mixed % 1_000_000).astype(np.int32)),
                pa.array(np.zeros(events, np.int16)),
                labels(["choice", "llm"], i % 50 == 0),
                labels([a.label for a in Action], mixed % 22),
                labels([k.label for k in TargetKind], i % 3),
                pa.array((mixed % 50_000).astype(np.int32)),
                pa.nulls(events, pa.int32()),
                labels([o.label for o in Outcome], (i % 20 == 0) * 3),
                pa.array(i.astype(np.int32), mask=i % 10 > 0),
                pa.array((mixed / 2**32).astype(np.float32)),
                content,
            ],
            schema=EVENTS,
        ),
        "impressions": pa.table(
            [
                pa.array(np.full(impressions, step, np.int32)),
                pa.array((j // 10 * 97).astype(np.int32)),
                pa.array(np.zeros(impressions, np.int16)),
                pa.array((j % 10).astype(np.int16)),
                pa.array((shown % 200_000).astype(np.int32)),
                pa.nulls(impressions, pa.int32()),
                labels([s.label for s in Source], j % 10 % 4),
                pa.array((shown / 2**32).astype(np.float32)),
                pa.nulls(impressions, pa.int32()),
            ],
            schema=IMPRESSIONS,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--impressions", type=int, default=100_000)
    parser.add_argument("--steps-per-block", type=int, default=20)
    parser.add_argument("--no-sync", action="store_true")
    given = parser.parse_args()
    tables = [step_tables(step, given.events, given.impressions) for step in range(1, given.steps + 1)]
    simulation = {"name": "benchmark", "seed": 0, "steps": given.steps}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        directory = RunDirectory.create(path, {"simulation": simulation})
        recorder = Recorder(directory, steps_per_block=given.steps_per_block, sync=not given.no_sync)
        seconds = []
        begun = time.perf_counter()
        for step, rows in enumerate(tables, 1):
            before = time.perf_counter()
            recorder.record_step(step, rows, {"active": 10_000})
            seconds.append(time.perf_counter() - before)
        recorded = time.perf_counter() - begun
        recorder.finish("done", report=False)
        finished = time.perf_counter() - begun
        run = open_run(path)
        before = time.perf_counter()
        assert run.impressions.select("score").collect().height == given.steps * given.impressions
        read = time.perf_counter() - before
        rows_in_all = given.steps * (given.events + given.impressions)
        result = {
            "steps": given.steps,
            "events_per_step": given.events,
            "impressions_per_step": given.impressions,
            "sync": not given.no_sync,
            "steps_per_second": round(given.steps / recorded, 2),
            "rows_per_second": round(rows_in_all / recorded),
            "rows_per_second_until_parquet": round(rows_in_all / finished),
            "step_ms_median": round(1e3 * float(np.median(seconds)), 2),
            "step_ms_max": round(1e3 * max(seconds), 2),
            "read_impressions_s": round(read, 3),
            "bytes_per_row": {
                name: round(sum(f.stat().st_size for f in (path / name).iterdir()) / (given.steps * per_step), 2)
                for name, per_step in (("events", given.events), ("impressions", given.impressions))
            },
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
