"""Figures of populations and the data behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from oasis.cli.main import main
from oasis.population import load_population, write_population
from oasis.population.figure_data import figure_data


def test_the_data() -> None:
    people = load_population("generate", agents=2000, seed=1)
    data = figure_data(people)
    received = np.bincount(people.followee, minlength=2000)
    degrees = data["degrees"].filter(pl.col("direction") == "in")
    assert degrees["agents"].sum() == 2000
    for row in degrees.sample(20, seed=1).iter_rows(named=True):
        assert row["share_at_least"] == pytest.approx((received >= row["degree"]).mean())
    tail = degrees.drop_nulls("fitted")
    assert tail["fitted"][0] == pytest.approx(tail["share_at_least"][0])
    np.testing.assert_allclose(tail["fitted"][:20], tail["share_at_least"][:20], rtol=0.2)
    activity = data["activity"]
    assert (activity["activity"][0], activity["activity"][-1]) == (0, pytest.approx(1))
    assert activity["activity"].is_sorted()
    assert np.interp(0.9, activity["agents"], activity["activity"]) == pytest.approx(0.2, abs=0.04)
    assert data["rhythm"]["mean_activity"].mean() == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("agents", [1, 40])
def test_the_files(agents: int, tmp_path: Path) -> None:
    write_population(load_population("generate", agents=agents), tmp_path / "p")
    arguments = ["population", "describe", str(tmp_path / "p"), "--figures", str(tmp_path / "figures" / "all")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "figures" / "all"
    assert {path.name for path in folder.iterdir()} == {
        "degrees.png", "activity.png", "degrees.parquet", "activity.parquet", "rhythm.parquet",
    }  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
