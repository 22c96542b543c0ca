"""Tables of effects: pairs by replicate, families, rows without an estimate."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.statistics import EFFECTS, Contrast, benjamini_hochberg, effects_table


def measured(replicates=8, arms=("none", "hot", "random"), outcomes=("scale", "depth"), seed=0):
    generator = np.random.default_rng(seed)
    rows = [
        {"arm": arm, "replicate": r, "outcome": outcome, "value": generator.normal(3 * r + a, 1)}
        for outcome in outcomes
        for a, arm in enumerate(arms)
        for r in range(replicates)
    ]
    return pl.DataFrame(rows)


CONTRASTS = [
    Contrast("scale", "hot", "none", "size"),
    Contrast("scale", "random", "none", "size"),
    Contrast("depth", "hot", "none", "shape"),
    Contrast("depth", "random", "none"),
]


def arm_of(values, outcome, arm):
    return values.filter(outcome=outcome, arm=arm).sort("replicate")["value"].to_numpy()


def test_rows_are_paired_by_replicate_whatever_the_order():
    values = measured()
    table = effects_table(values.sample(fraction=1, shuffle=True, seed=3), CONTRASTS)
    assert table.schema == EFFECTS
    rows = table.to_pylist()
    for row, contrast in zip(rows, CONTRASTS, strict=True):
        assert (row["outcome"], row["arm"], row["baseline"]) == (contrast.outcome, contrast.arm, contrast.baseline)
        value, base = (arm_of(values, contrast.outcome, arm) for arm in (contrast.arm, contrast.baseline))
        expected = stats.ttest_rel(value, base)
        assert row["n"] == 8
        assert row["estimate"] == pytest.approx((value - base).mean())
        assert row["p"] == pytest.approx(expected.pvalue)
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    q = benjamini_hochberg([rows[0]["p"], rows[1]["p"]])
    assert [row["q"] for row in rows[:3]] == pytest.approx([*q, rows[2]["p"]])
    assert rows[3]["q"] is None


def test_too_few_pairs_are_a_row_without_estimate_that_no_family_counts():
    values = measured().filter(
        ~((pl.col("outcome") == "scale") & (pl.col("arm") == "random") & (pl.col("replicate") > 3))
    )
    rows = effects_table(values, CONTRASTS).to_pylist()
    assert rows[1]["n"] == 4
    assert all(rows[1][name] is None for name in ("estimate", "low", "high", "p", "q"))
    assert rows[0]["q"] == rows[0]["p"]


def test_a_value_that_is_not_defined_leaves_its_pair_out():
    values = measured()
    undefined = (pl.col("outcome") == "depth") & (pl.col("arm") == "hot") & (pl.col("replicate") == 2)
    for nothing in (None, float("nan")):
        gone = values.with_columns(value=pl.when(undefined).then(pl.lit(nothing, pl.Float64)).otherwise("value"))
        (row,) = effects_table(gone, CONTRASTS[2:3]).to_pylist()
        (expected,) = effects_table(values.filter(~undefined), CONTRASTS[2:3]).to_pylist()
        assert row == expected
        assert row["n"] == 7


def test_a_bootstrap_follows_from_seed_and_names_alone():
    values = measured()
    table = effects_table(values, CONTRASTS, method="bootstrap-t", seed=5)
    alone = effects_table(values, CONTRASTS[2:3], method="bootstrap-t", seed=5)
    other = effects_table(values, CONTRASTS[2:3], method="bootstrap-t", seed=6)
    assert table.slice(2, 1).equals(alone)
    assert alone["estimate"] == other["estimate"]
    assert alone["low"] != other["low"]


@pytest.mark.parametrize(
    ("values", "contrast", "message"),
    [
        (measured(), Contrast("sclae", "hot", "none"), r"no outcome 'sclae' \(did you mean 'scale'\?\)"),
        (measured(), Contrast("scale", "hott", "none"), r"no arm with outcome 'scale' 'hott' \(did you mean 'hot'"),
        (measured(), Contrast("scale", "hot", "all"), "no arm with outcome 'scale' 'all'; there are hot, none, random"),
        (pl.concat([measured(), measured()]), CONTRASTS[0], "arm 'hot': replicate 0 is there twice"),
        (measured().rename({"value": "values"}), CONTRASTS[0], "no column 'value'"),
    ],
)
def test_bad_input_is_named(values, contrast, message):
    with pytest.raises(InputError, match=message):
        effects_table(values, [contrast])


def test_a_contrast_belongs_to_one_family():
    with pytest.raises(InputError, match="declared twice"):
        effects_table(measured(), [CONTRASTS[0], Contrast("scale", "hot", "none", "shape")])
    with pytest.raises(InputError, match="method must be one of t, bootstrap-t"):
        effects_table(measured(), CONTRASTS, method="bootstrap")


def test_no_contrasts():
    assert effects_table(measured(), []).schema == EFFECTS
