"""Where the spread comes from: a planted split is found, and nothing is said without replicates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import Results
from oasis.experiments.split import spread_section

SIZES, STEPS = [4, 5, 6, 8], [1, 2, 3]
Planted = Callable[[str, int, int, int], "float | None"]


def planted(
    path: Path, value: Planted, replicates: int = 6, request: dict[str, Any] | None = None, **changes: Any
) -> Results:
    """Return an experiment whose runs are not made: ``value(arm, replicate, size, steps)`` is their outcome."""
    declared: dict[str, Any] = {
        "experiment": {"name": "s", "kind": "recsys-ab", "title": "T", "question": "Q?", "baseline": "a"},
        "scenario": {"simulation": {"steps": 3}, "population": {"agents": 40}},
        "arms": [{"name": "a"}, {"name": "b", "set": {"recsys.kind": "random"}}],
        "outcomes": [{"name": "reach", "label": "R", "family": "f"}],
        "sweep": {"recsys.size": SIZES, "simulation.steps": STEPS},
        **changes,
    }
    asked = Request(replicates=replicates, **(request or {}))
    folder = ExperimentFolder.begin(path, Design.from_dict(declared), asked)
    rows = [
        {
            "arm": c.arm,
            "point": dict(c.point),
            "replicate": c.replicate,
            "seed": c.seed,
            "outcomes": {
                "reach": value(c.arm, c.replicate, c.point.get("recsys.size", 0), c.point.get("simulation.steps", 0))
            },
        }
        for c in folder.cells
    ]
    folder.kind.derived = lambda results, setting: None  # type: ignore[method-assign]
    return Results(folder, rows)


def table_of(results: Results) -> pl.DataFrame:
    section = spread_section(results)
    assert section is not None
    assert section.table is not None, section.text
    return section.table


def test_a_planted_split_without_a_rest_is_found_to_the_digit(tmp_path: Path) -> None:
    seeds = np.array([0.0, 3.0, -1.0, 2.0, 7.0, 1.0])

    def value(arm: str, replicate: int, size: int, steps: int) -> float:
        own = 0.0 if arm == "a" else 10.0 + 0.5 * steps
        return float(seeds[replicate - 1]) + 2.0 * size + own

    table = table_of(planted(tmp_path / "x", value))
    assert table["of"].to_list() == ["a", "b", "b – a"]
    of_seed, of_size, of_steps = seeds.var(ddof=1), 4.0 * np.var(SIZES, ddof=1), 0.25 * np.var(STEPS, ddof=1)
    columns = ["share_replicate", "share_size", "share_steps", "share_rest"]
    for number, parts in enumerate(([of_seed, of_size, 0, 0], [of_seed, of_size, of_steps, 0], [0, 0, of_steps, 0])):
        found = table.select(columns).row(number)
        assert found == pytest.approx([float(part / sum(parts)) for part in parts], abs=1e-9)
        assert table["deviation"][number] == pytest.approx(float(np.sqrt(sum(parts))))


def test_chance_of_each_run_is_the_rest(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    seeds, sizes = generator.normal(0, 2, 400), dict(zip(SIZES, (-1.0, 1.0, -1.0, 1.0), strict=True))
    noise = generator.normal(0, 1, (2, 400, 20, 5))

    def value(arm: str, replicate: int, size: int, steps: int) -> float:
        own = float(noise[int(arm == "b"), replicate - 1, size, steps])
        return float(seeds[replicate - 1]) + sizes[size] + own

    row = table_of(planted(tmp_path / "x", value, 400)).row(0, named=True)
    whole = 4 + 4 / 3 + 1
    assert row["share_replicate"] == pytest.approx(4 / whole, abs=0.05)
    assert row["share_size"] == pytest.approx(4 / 3 / whole, abs=0.05)
    assert row["share_steps"] == pytest.approx(0, abs=0.01)
    assert row["share_rest"] == pytest.approx(1 / whole, abs=0.05)


def test_below_five_replicates_nothing_is_given(tmp_path: Path) -> None:
    results = planted(tmp_path / "few", lambda arm, replicate, size, steps: float(replicate * size), 4)
    section = spread_section(results)
    assert section is not None
    assert section.table is None
    assert "at least 5 replicates" in section.text[0]


def test_replicates_that_are_not_whole_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    def value(arm: str, replicate: int, size: int, steps: int) -> float | None:
        missing = (arm, replicate, size) == ("a", 2, 8) or (arm == "b" and replicate < 3)
        return None if missing else float(replicate + size)

    section = spread_section(planted(tmp_path / "x", value))
    assert section is not None
    assert section.table is not None
    assert section.table.select("of", "replicates").rows() == [("a", 5)]
    text = " ".join(section.text)
    assert "1 rows are of fewer replicates" in text
    assert "2 rows are left out" in text


def test_only_what_is_swept_is_split(tmp_path: Path) -> None:
    def value(arm: str, replicate: int, size: int, steps: int) -> float:
        return float(replicate + size)

    fixed = {"changes": {"recsys.size": 5, "simulation.steps": 2}}
    assert spread_section(planted(tmp_path / "fixed", value, request=fixed)) is None
    assert spread_section(planted(tmp_path / "none", value, sweep={})) is None
    models = {"sweep": {"llm.model": ["m", "n"], "recsys.size": [5, 6]}}
    table = table_of(planted(tmp_path / "model", value, request={"model": "k"}, **models))
    assert [name for name in table.columns if "share" in name] == ["share_replicate", "share_size", "share_rest"]


def test_the_report_has_the_section_and_its_table(tmp_path: Path) -> None:
    results = planted(tmp_path / "x", lambda arm, replicate, size, steps: float(replicate + size))
    made = {"model": None, "seconds": 1.0, "tokens": {"input": 0, "cached": 0, "output": 0}}
    coverage = {"registered": 40, "active": 1, "decisions": 1, "decided_by": {}, "llm_failed": 0, "llm_invalid": 0}
    for cell, row in zip(results.folder.cells, results.rows, strict=True):
        place = results.folder.place(cell)
        place.mkdir(parents=True)
        (place / "outcomes.json").write_text(json.dumps({**row, **made, "coverage": coverage}))
    results.folder.kind.sections = lambda results, setting: []  # type: ignore[method-assign]
    write_experiment_report(results.folder)
    page = (results.folder.path / "report.html").read_text("utf-8")
    assert "Where the spread comes from" in page
    assert "share size" in page
    assert pl.read_parquet(results.folder.path / "figures" / "spread.parquet").height == 3
