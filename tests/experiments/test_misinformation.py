"""Misinformation: the same news in all arms, and what is said of it over time agrees with the outcomes."""

from __future__ import annotations

import polars as pl
import pytest

from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.phenomena.misinformation import Misinformation
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import Results
from oasis.experiments.work import make_cell
from oasis.runs import open_run

SMALL = {
    "population.agents": 60,
    "population.mean_active": 0.5,
    "simulation.steps": 14,
    "recsys.size": 20,
    "policies.0.parameters.coefficients.repost.veracity": 0.0,
    "policies.0.parameters.coefficients.repost.seen": -1.5,
}
PAIRS = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    values = Design.load(Misinformation.design).to_dict()
    values["experiment"] |= {"keep_runs": True, "population": "per-replicate"}
    values["parameters"] |= {"pairs": PAIRS, "audience": 0.5}
    path = tmp_path_factory.mktemp("misinformation") / "news"
    made = ExperimentFolder.begin(path, Design.from_dict(values), Request(replicates=2, changes=SMALL))
    for number, cell in enumerate(made.cells):
        if cell.arm in ("none", "remove"):
            assert make_cell(made.path, number) is None
    return made


@pytest.fixture(scope="module")
def results(folder: ExperimentFolder) -> Results:
    return write_experiment_report(folder)[0]


def test_news_is_the_same_in_all_arms_and_paired(folder: ExperimentFolder) -> None:
    of_first = [cell for cell in folder.cells if cell.replicate == 1]
    posts = [[i for i in folder.scenario(c).interventions if i.kind == "post"] for c in of_first]
    assert all(found == posts[0] for found in posts)
    assert len(posts[0]) == 2 * PAIRS


def test_the_last_step_over_time_is_the_outcome(results: Results) -> None:
    news = results.table("news")
    assert news.height == 4 * 2 * PAIRS * 15
    last = news.filter(pl.col("step") == 14).group_by("arm", "replicate", "side").agg(pl.col("reach", "shares").mean())
    assert (last["reach"] > 0).all()
    for row in last.iter_rows(named=True):
        for what in ("reach", "shares"):
            found = results.outcome(f"{row['side']}_{what}").filter(
                (pl.col("arm") == row["arm"]) & (pl.col("replicate") == row["replicate"])
            )
            assert found["value"].item() == pytest.approx(row[what])


def test_an_item_counts_from_the_step_it_is_posted_and_never_loses(folder: ExperimentFolder, results: Results) -> None:
    news = results.table("news").with_columns(number=pl.col("topic").str.slice(5).cast(pl.Int64))
    assert news["topic"].unique(maintain_order=True).to_list() == [f"news {i + 1}" for i in range(PAIRS)]
    before, after = (news.filter(f) for f in (pl.col("step") < pl.col("number"), pl.col("step") >= pl.col("number")))
    assert (before["posts"] == 0).all()
    assert (after["posts"] == 1 + after["shares"]).all()
    for name in ("reach", "posts"):
        assert (news.select(pl.col(name).diff().over("arm", "replicate", "topic", "side")).drop_nulls() >= 0)[
            name
        ].all()
    cell = next(cell for cell in folder.cells if cell.arm == "none")
    run = open_run(folder.place(cell) / "run")
    roots = run.posts.filter(pl.col("topic") == "news 3").select("root_id", "veracity").unique()
    spread = run.posts.select("root_id").join(roots, on="root_id").group_by("veracity").len().collect()
    wanted = {bool(veracity): count for veracity, count in spread.iter_rows()}
    mine = news.filter(
        (pl.col("arm") == cell.arm)
        & (pl.col("replicate") == cell.replicate)
        & (pl.col("number") == 3)
        & (pl.col("step") == 14)
    )
    assert {row["side"] == "true": row["posts"] for row in mine.iter_rows(named=True)} == wanted


def test_measured_tables_lie_together_beside_the_report(folder: ExperimentFolder, results: Results) -> None:
    assert pl.read_parquet(folder.path / "tables" / "news.parquet").equals(results.table("news"))
    page = (folder.path / "report.html").read_text("utf-8")
    assert "Reach and posts over time" in page
    assert "Reach of each pair over time, none" in page
