"""Scores net of the seeded vote."""

import polars as pl
import pytest

from oasis.errors import InputError
from oasis.experiments.measures import herding_values, net_scores
from oasis.experiments.statistics import Contrast, effects_table

ITEMS = pl.DataFrame(
    {
        "treatment": ["up", "up", "control", "down", "down"],
        "likes": pl.Series([4, 1, 2, 0, 5], dtype=pl.Int32),
        "dislikes": pl.Series([0, 0, 1, 1, 1], dtype=pl.Int32),
    }
)


def test_the_seeded_vote_does_not_count():
    assert net_scores(ITEMS)["net_score"].to_list() == [3, 0, 1, 0, 5]


def test_a_run_gives_one_number_per_treatment():
    found = herding_values(ITEMS)
    assert found.rows() == [
        ("up", "net_score", 1.5, 2),
        ("control", "net_score", 1.0, 1),
        ("down", "net_score", 2.5, 2),
    ]
    without = herding_values(ITEMS.filter(pl.col("treatment") != "down"))
    assert without.rows()[2] == ("down", "net_score", None, 0)


def test_unsigned_counts_do_not_wrap():
    items = ITEMS.with_columns(pl.col("likes", "dislikes").cast(pl.UInt32))
    assert net_scores(items)["net_score"].to_list() == [3, 0, 1, 0, 5]


def test_effects_over_replicates():
    runs = [
        herding_values(ITEMS.with_columns(pl.col("likes") + r % 3)).with_columns(replicate=pl.lit(r)) for r in range(6)
    ]
    (row,) = effects_table(pl.concat(runs), [Contrast("net_score", "up", "control")]).to_pylist()
    assert (row["estimate"], row["n"]) == (0.5, 6)


def test_another_treatment_is_an_error():
    with pytest.raises(InputError, match="one of up, control, down; got 'none'"):
        net_scores(ITEMS.with_columns(treatment=pl.lit("none")))
