"""All measures of runs take the tables of a run as they are on disk, and agree with what runs say of themselves."""

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.experiments.measures import (
    amplification,
    assortativity,
    cascade_growth,
    cascade_measures,
    cross_group_share,
    exposure_table,
    feed_diversity,
    gini,
    herding_values,
    news_labels,
    news_pairs,
    opinion_panel,
    polarization,
    post_labels,
    posts_over_time,
    rank_list_sensitivity,
    reach_over_time,
)
from oasis.runs.cascades import cascades


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("measures") / "scenario.toml"
    path.write_text(
        """
[simulation]
steps = 12
seed = 3

[population]
source = "generate"
agents = 150
mean_active = 0.5

[output]
report = false

[[interventions]]
kind = "post"
step = 1
author = 0
content = "the bridge is closed"
topic = "bridge"
veracity = true

[[interventions]]
kind = "post"
step = 1
author = 0
content = "the bridge has fallen"
topic = "bridge"
veracity = false

[[interventions]]
kind = "interview"
step = 1
every = 6
agents = { count = 40 }
question = "How do you feel about the bridge?"
question_id = "bridge"
scale = [1, 10]
"""
    )
    out = path.parent / "run"
    Simulation(Scenario.load(path), out=out).run_sync()
    return open_run(out)


def test_cascades_are_those_of_the_run(run):
    posts = run.posts.collect()
    found = cascade_measures(posts, 3.0)
    own = cascades(run).sort("root_id")
    assert found["posts"].max() > 2
    for name in ("root_id", "depth", "max_breadth", "virality"):
        assert found[name].equals(own[name])
    last = cascade_growth(posts, 3.0).group_by("root_id", maintain_order=True).last()
    assert last["depth"].equals(found["depth"])
    assert last["scale"].equals(found["scale"])


def test_exposure_adds_up_to_the_metrics(run):
    feeds = run.impressions.filter(pl.col("turn") == 0)
    metrics = run.metrics.collect()
    for by in ("post", "author"):
        table = exposure_table(feeds, post_labels(run.posts, run.users, by))
        assert table["impressions"].sum() == metrics["impressions"].sum()
        assert (table["viewers"] <= table["impressions"]).all()
        assert 0 < gini(table["impressions"]) < 1
    labels = post_labels(run.posts, run.users, "group")
    groups = run.users.select("agent_id", label="group")
    for step in (3, 12):
        value = cross_group_share(feeds.filter(pl.col("step") == step), labels, groups)
        assert value == pytest.approx(metrics.filter(pl.col("step") == step)["cross_group_share"].item())
    diversity, count = feed_diversity(run.impressions, labels)
    assert 0 < diversity < 1
    assert count > 0
    same = amplification((feeds, labels), (feeds, labels), 6)
    assert same["amplification"].to_list() == [0] * same.height
    assert same["day"].unique().sort().to_list() == [0, 1]


def test_a_run_is_not_sensitive_to_itself(run):
    last = run.impressions.filter(pl.col("step") == 12)
    found = rank_list_sensitivity(last, last)
    assert found["rbo"] == pytest.approx(1)
    assert (found["jaccard"], found["feeds"] > 0) == (1, True)


def test_news(run):
    labels = news_labels(run.posts)
    reach = reach_over_time(run.impressions, labels)
    (pair,) = news_pairs(reach, labels, "reach").to_dicts()
    assert pair["topic"] == "bridge"
    assert 0 < pair["true"] <= 150
    (written,) = news_pairs(posts_over_time(run.posts, labels), labels, "posts").to_dicts()
    assert written["false"] >= 1


def test_opinions(run):
    steps, opinions = opinion_panel(run.interviews, "bridge")
    assert len(steps) > 1
    assert polarization(opinions)[0] == 0
    stance, follows = run.users.collect()["stance"].fill_null(float("nan")), run.follows.collect()
    assert -1 <= assortativity(follows["follower_id"], follows["followee_id"], stance) <= 1


def test_herding(run):
    items = run.posts.collect().with_columns(treatment=pl.lit("control"))
    up, control, down = herding_values(items).to_dicts()
    assert control["value"] == pytest.approx((items["likes"] - items["dislikes"]).mean())
    assert up["value"] is down["value"] is None
