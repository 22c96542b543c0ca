"""Components of variance against the analysis of variance, and over many draws."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.stats import f_oneway

from oasis.errors import InputError
from oasis.experiments.statistics import COMPONENTS, variance_components


def drawn(models, paraphrases, seeds, deviations, generator, drop=0.0):
    """Runs of a crossed design; deviations of model, paraphrase, seed, rest."""
    effect = [generator.normal(0, d, size) for d, size in zip(deviations, (models, paraphrases, seeds), strict=False)]
    rows = [
        {
            "model": f"m{i}",
            "paraphrase": j,
            "seed": k,
            "value": 10 + effect[0][i] + effect[1][j] + effect[2][k] + generator.normal(0, deviations[3]),
        }
        for i, j, k in product(range(models), range(paraphrases), range(seeds))
        if generator.random() >= drop
    ]
    return pl.DataFrame(rows)


def variances(runs, factors):
    table = variance_components(runs, factors)
    assert table.schema == COMPONENTS
    return dict(zip(table["factor"].to_pylist(), table["variance"].to_pylist(), strict=True))


def test_one_factor_is_the_analysis_of_variance():
    generator = np.random.default_rng(0)
    groups = generator.normal(0, 2, (4, 1)) + generator.normal(0, 1, (4, 6))
    runs = pl.DataFrame({"model": np.repeat(list("abcd"), 6), "value": groups.ravel()})
    found = variances(runs, ["model"])
    within = groups.var(axis=1, ddof=1).mean()
    between = f_oneway(*groups).statistic * within
    assert found["rest"] == pytest.approx(within)
    assert found["model"] == pytest.approx((between - within) / 6)


def test_one_factor_with_unequal_numbers():
    groups = [[1.0, 2, 4], [5.0, 7], [3.0, 3, 9, 4, 1]]
    runs = pl.DataFrame({"m": [g for g, v in enumerate(groups) for _ in v], "value": np.concatenate(groups)})
    n = np.array([len(g) for g in groups])
    within = sum(np.var(g) * len(g) for g in groups) / (n.sum() - 3)
    grand = np.concatenate(groups).mean()
    between = sum(k * (np.mean(g) - grand) ** 2 for k, g in zip(n, groups, strict=True)) / 2
    n0 = (n.sum() - (n**2).sum() / n.sum()) / 2  # Searle et al. 1992
    found = variances(runs, ["m"])
    assert found == {"m": pytest.approx((between - within) / n0), "rest": pytest.approx(within)}


def test_crossed_factors_equal_expected_mean_squares_of_statsmodels():
    formula = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is not installed")
    anova = pytest.importorskip("statsmodels.stats.anova", reason="statsmodels is not installed")
    runs = drawn(3, 4, 5, (2, 1, 0.5, 1), np.random.default_rng(1))
    fit = formula.ols("value ~ C(model) + C(paraphrase) + C(seed)", runs.to_pandas()).fit()
    table = anova.anova_lm(fit)
    square = table["sum_sq"] / table["df"]
    found = variances(runs, ["model", "paraphrase", "seed"])
    assert found["rest"] == pytest.approx(square["Residual"])
    for name, each in (("model", 20), ("paraphrase", 15), ("seed", 12)):
        assert found[name] == pytest.approx((square[f"C({name})"] - square["Residual"]) / each)


def test_nested_factors_equal_the_nested_analysis():
    generator = np.random.default_rng(2)
    y = generator.normal(0, 2, (3, 1, 1)) + generator.normal(0, 1, (3, 4, 1)) + generator.normal(0, 1, (3, 4, 5))
    names = [(f"m{i}", f"m{i}p{j}") for i in range(3) for j in range(4) for _ in range(5)]
    runs = pl.DataFrame(names, schema=["model", "paraphrase"], orient="row").with_columns(value=pl.Series(y.ravel()))
    within = y.var(axis=2, ddof=1).mean()
    middle = 5 * y.mean(axis=2).var(axis=1, ddof=1).mean()
    outer = 20 * y.mean(axis=(1, 2)).var(ddof=1)
    found = variances(runs, ["model", "paraphrase"])
    assert found["rest"] == pytest.approx(within)
    assert found["paraphrase"] == pytest.approx((middle - within) / 5)
    assert found["model"] == pytest.approx((outer - middle) / 20)


def test_components_are_right_on_average_though_runs_are_missing():
    generator = np.random.default_rng(3)
    factors = ["model", "paraphrase", "seed"]
    found = [variances(drawn(4, 4, 4, (1, 2, 0.5, 1), generator, drop=0.3), factors) for _ in range(1500)]
    mean = {name: np.mean([f[name] for f in found]) for name in found[0]}
    error = {name: np.std([f[name] for f in found]) / np.sqrt(1500) for name in found[0]}
    for name, truth in {"model": 1, "paraphrase": 4, "seed": 0.25, "rest": 1}.items():
        assert abs(mean[name] - truth) < 4 * error[name], name


def test_what_does_not_vary_or_is_the_run_itself():
    generator = np.random.default_rng(4)
    runs = pl.DataFrame({"model": ["a"] * 10, "seed": range(10), "value": generator.normal(0, 2, 10)})
    table = variance_components(runs, ["model", "seed"])
    model, seed, rest = table.to_pylist()
    assert model == {"factor": "model", "levels": 1, "variance": None, "share": None}
    assert seed == {"factor": "seed", "levels": 10, "variance": pytest.approx(runs["value"].var()), "share": 1.0}
    assert rest == {"factor": "rest", "levels": None, "variance": None, "share": None}


def test_a_negative_component_stays_and_has_no_share():
    runs = pl.DataFrame({"m": [0, 0, 1, 1], "value": [0.0, 2, 0, 2]})
    m, rest = variance_components(runs, ["m"]).to_pylist()
    assert m["variance"] == pytest.approx(-1)
    assert (m["share"], rest["share"]) == (0, 1)


def test_no_variance_at_all():
    table = variance_components(pl.DataFrame({"m": [0, 0, 1, 1], "value": [3.0] * 4}), ["m"])
    assert table["variance"].to_pylist() == [0, 0]
    assert table["share"].to_pylist() == [None, None]


def test_bad_input():
    together = pl.DataFrame({"model": ["a", "a", "b", "b"], "paraphrase": [1, 1, 2, 2], "value": [1.0, 2, 3, 5]})
    with pytest.raises(InputError, match="vary together"):
        variance_components(together, ["model", "paraphrase"])
    each = together.with_columns(seed=pl.Series(range(4)), other=pl.Series(range(4)))
    with pytest.raises(InputError, match="'seed' and 'other' both differ in every run"):
        variance_components(each, ["seed", "other"])
    with pytest.raises(InputError, match="no column 'modell'"):
        variance_components(together, ["modell"])
    with pytest.raises(InputError, match="at least two runs"):
        variance_components(together.head(1), ["model"])
