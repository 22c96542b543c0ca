"""Facts of the public files of the reference; skipped where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oasis.population import load_population

DATA = Path(os.environ.get("OASIS_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real data is absent; set OASIS_DATA to its folder")


def test_the_rumour() -> None:
    found = load_population("x-csv", DATA / "x/False_Business_0.csv")
    assert (len(found), len(found.follower), len(found.refused_rows)) == (111, 85, 0)
    assert found.posts.author.tolist() == [32]
    assert found.bio.null_count == 12


def test_activity_of_the_same_users() -> None:
    found = load_population(
        "x-csv", DATA / "x/False_Business_0.csv", activity_path=DATA / "x/user_all_id_time.csv", mean_active=0.1
    )
    assert found.activity.mean() == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("name", ["197_baoshou", "197_progressive"])
def test_the_dilemma(name: str) -> None:
    found = load_population("x-csv", DATA / f"x/{name}.csv")
    assert (len(found), len(found.follower), len(found.refused_rows)) == (196, 1269, 10)
    assert {row["reason"] for row in found.refused_rows} == {"self-follow"}
    assert found.posts.author.tolist() == [1]


def test_personas() -> None:
    found = load_population("reddit-json", DATA / "reddit/user_data_36.json")
    assert len(found) == 36
    assert found.attributes["mbti"].null_count == 0
