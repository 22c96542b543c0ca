"""Herding: assignments are drawn anew, a planted effect is recovered, and what is hidden has no effect."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis import open_run
from oasis.errors import InputError
from oasis.experiments.interfaces import Cell, Setting
from oasis.experiments.phenomena.herd import Herd
from oasis.experiments.phenomena.items import ITEMS, assigned, real_items
from oasis.experiments.statistics import paired_t
from oasis.randomness import Draws
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.simulation.assembly import assemble
from oasis.simulation.engine import Engine

AGENTS, LIKE, DISLIKE = 60, -1.5, -2.5
PARAMETERS = {"posts": 1, "comments": 12}
VOTES = {1: "up", 0: "control", -1: "down"}


def small(seed: int, planted: float, steps: int = 2, **rules: Any) -> Scenario:
    """Return a scenario in which everybody reads every comment once, with its first vote alone beside it."""
    likes = {"intercept": LIKE, "log1p_score": planted, "in_network": 0.0}
    dislikes = {"intercept": DISLIKE, "log1p_score": -planted, "in_network": 0.0}
    return Scenario.from_dict(
        {
            "simulation": {"steps": steps, "seed": seed},
            "platform": {
                "kind": "reddit",
                "actions": ["like_comment", "dislike_comment", "do_nothing"],
                "rules": {"comments_per_post": 16, **rules},
            },
            "recsys": {"kind": "random", "embedder": "hashed-ngrams"},
            "population": {"agents": AGENTS, "mean_active": 1.0, "history": 0, "mean_follows": 2},
            "policies": [
                {
                    "kind": "choice",
                    "parameters": {
                        "max_actions": 20,
                        "first": 1.0,
                        "persistence": 1.0,
                        "comments": 1.0,
                        "coefficients": {"like_comment": likes, "dislike_comment": dislikes},
                    },
                }
            ],
            "output": {"report": False, "sync": False},
        }
    )


def prepared(seed: int, planted: float = 0.4, steps: int = 2, **rules: Any) -> Scenario:
    return Herd().prepare(small(seed, planted, steps, **rules), Cell("a", {}, 1, seed), Setting(PARAMETERS))


def effects(seed: int, planted: float) -> tuple[float, float]:
    """Run in memory; return the effects of a vote up and of one down."""
    parts = assemble(prepared(seed, planted))
    engine = Engine(parts)

    async def steps() -> None:
        await engine.step()
        await engine.step()

    asyncio.run(steps())
    comments = parts.world.comments
    first = comments["base_likes"] - comments["base_dislikes"]
    net = comments["likes"] - comments["dislikes"]
    control = net[first == 0].mean()
    return float(net[first == 1].mean() - control), float(net[first == -1].mean() - control)


def truth(planted: float) -> tuple[float, float]:
    """Return the effects in closed form.

    A reader of a comment with score s likes it with probability exp(a + b x) / (1 + exp(a + b x) + exp(d - b x)),
    x = sign(s) log(1 + abs(s)), and dislikes it likewise (multinomial logit, McFadden 1974). Everybody reads but the
    comment's author.
    """

    def net(score: int) -> float:
        x = math.copysign(math.log1p(abs(score)), score)
        like, dislike = math.exp(LIKE + planted * x), math.exp(DISLIKE - planted * x)
        return (like - dislike) / (1 + like + dislike)

    readers = AGENTS - 1
    return readers * (net(1) - net(0)), readers * (net(-1) - net(0))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("planted", [0.8, 0.0])
def test_a_planted_effect_is_recovered(planted: float) -> None:
    """Of 100 experiments of five replicates, the interval covers the truth as often as its level says."""
    runs = np.array([effects(seed, planted) for seed in range(1, 501)]).reshape(100, 5, 2)
    for side, true in enumerate(truth(planted)):
        covered = 0
        for experiment in runs[:, :, side]:
            interval = paired_t(experiment, np.zeros(5))
            assert interval.low is not None
            assert interval.high is not None
            covered += interval.low <= true <= interval.high
        mean, error = runs[:, :, side].mean(), runs[:, :, side].std() / math.sqrt(runs[:, :, side].size)
        print(f"planted {planted}: true {true:.3f}, mean {mean:.3f} +- {error:.3f}, covered in {covered} of 100")
        assert abs(mean - true) < 4 * error
        assert 89 <= covered <= 99  # all but 1 in 100 of binomial draws with 0.95


def test_assignments_are_drawn_anew_and_are_exact() -> None:
    drawn = [assigned(Draws(seed), 12, 1 / 3, 1 / 3) for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert Counter(drawn[0]) == {"up": 4, "control": 4, "down": 4}
    places = [assigned(Draws(seed), 12, 0.25, 0.25)[0] for seed in range(400)]
    assert 60 < places.count("up") < 140
    with pytest.raises(InputError, match="must be above 0, and below 1 together"):
        assigned(Draws(1), 12, 0.5, 0.5)
    with pytest.raises(InputError, match="too few"):
        assigned(Draws(1), 2, 0.3, 0.3)


def test_arms_share_items_and_assignment() -> None:
    one, other = (prepared(3, show_scores=show).to_dict()["interventions"] for show in (True, False))
    assert one == other
    assert one != prepared(4).to_dict()["interventions"]


def test_what_was_delivered_is_measured(tmp_path: Path) -> None:
    Simulation(prepared(5, 1.0), tmp_path / "run").run_sync()
    run = open_run(tmp_path / "run")
    measured = Herd().measure(run, Cell("a", {}, 1, 5), Setting(PARAMETERS))
    assert [measured.outcomes[f"items_{name}"] for name in VOTES.values()] == [4, 4, 4]
    items = measured.tables["items"]
    votes = run.events.filter(pl.col("agent_id") >= 0).with_columns(pl.col("action", "outcome").cast(pl.String))
    cast = votes.filter(pl.col("outcome") == "accepted", pl.col("action") != "do_nothing").collect()
    signs = pl.when(pl.col("action") == "like_comment").then(1).otherwise(-1)
    counted = cast.group_by(comment_id="target_id").agg(net=signs.sum().cast(pl.Int64))
    joined = items.join(counted, on="comment_id", how="left")
    assert (joined["net_score"] == joined["net"].fill_null(0)).all()
    assert joined["net_score"].abs().sum() > 50
    assert effects(5, 1.0) == (measured.outcomes["up_effect"], measured.outcomes["down_effect"])


def test_a_vote_that_is_neither_seen_nor_ranked_does_nothing(tmp_path: Path) -> None:
    """The same votes are cast whatever the assignment; where scores are seen they are not."""

    def votes(name: str, treated: list[str], **rules: Any) -> list[tuple[Any, ...]]:
        values = prepared(6, 2.0, steps=4, **rules).to_dict()
        comments = [entry for entry in values["interventions"] if entry["kind"] == "comment"]
        for entry, treatment in zip(comments, treated, strict=True):
            entry.pop("likes", None)
            entry.pop("dislikes", None)
            if treatment != "control":
                entry["likes" if treatment == "up" else "dislikes"] = 1
        Simulation(Scenario.from_dict(values), tmp_path / name).run_sync()
        cast = open_run(tmp_path / name).events.filter(pl.col("agent_id") >= 0)
        return cast.select("step", "agent_id", pl.col("action").cast(pl.String), "target_id").collect().rows()

    ups, downs = ["up"] * 12, ["down"] * 12
    unseen = {"show_scores": False, "comment_order": "new", "comments_per_post": 3}
    assert votes("a", ups, **unseen) == votes("b", downs, **unseen)
    assert votes("c", ups) != votes("d", downs)


def test_real_items_need_their_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{ITEMS}: cannot be read"):
        real_items(Draws(1), 2, tmp_path)
    (tmp_path / ITEMS).write_text(json.dumps([{"RS": {"selftext": "a"}, "RC_1": {}}]))
    with pytest.raises(InputError, match=r"entry 0\.RC_1\.body"):
        real_items(Draws(1), 1, tmp_path)
    pairs = [{"RS": {"selftext": f"post {i}"}, "RC_1": {"body": f"comment {i}"}} for i in range(9)]
    (tmp_path / ITEMS).write_text(json.dumps(pairs))
    items = real_items(Draws(1), 9, tmp_path)
    assert {(item.text[5:], item.comments[0][1][8:]) for item in items} == {(str(i), str(i)) for i in range(9)}
    assert all(item.author != item.comments[0][0] for item in items)
    with pytest.raises(InputError, match="10 are more than the 9 items"):
        real_items(Draws(1), 10, tmp_path)
