"""Spreading beside a real cascade: errors and baselines are those that the data give, and limits are said."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from oasis.cli.main import main

DATA = Path(os.environ.get("OASIS_DATA", "")) / "x"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not (DATA / "False_Business_0.csv").is_file(), reason="OASIS_DATA names no folder with real data")
def test_a_real_cascade_is_set_beside(tmp_path: Path) -> None:
    out = tmp_path / "spread"
    arguments = ["experiment", "run", "spread", "--data", str(DATA), "--replicates", "2", "--quiet", "--out", str(out)]
    arguments += ["--set", "simulation.steps=50"]  # up to minute 150
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = [line.split("  ") for line in result.stdout.splitlines() if line.startswith("0..149")]
    told = {line[1].strip(): [cell.strip() for cell in line[2:] if cell.strip()] for line in lines[: len(lines) // 2]}
    assert set(told) >= {"none", "random", "hot", "interest", "chronological"}
    constant, reachable, fitted = (
        float(next(cells[1] for name, cells in told.items() if name == f"baseline: {what}"))
        for what in ("real end", "reachable at once", "saturating exponential")
    )
    assert (round(constant, 2), round(reachable, 2), round(fitted, 2)) == (0.23, 0.19, 0.04)  # by an independent count
    page = (out / "report.html").read_text("utf-8")
    for words in ("were sampled because they took part", "104 of them shared", "the two cannot be compared"):
        assert words in page
    effects = pl.read_parquet(out / "effects.parquet")
    assert effects["estimate"].is_null().all()  # two replicates are too few
