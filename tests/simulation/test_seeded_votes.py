"""Votes that comments start with: shown, kept apart, and without effect where nobody looks at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run

ITEMS = 12


def scenario(start: int, later: int, score: float, **rules: Any) -> Scenario:
    """Return a run with comments on twelve posts, that start with `start` votes and get `later` more in step 4."""
    votes = {"likes": max(start, 0), "dislikes": max(-start, 0)}
    more = {"likes": max(later, 0), "dislikes": max(-later, 0)}
    likely = {"like_comment": {"intercept": -1.0, "log1p_score": score}, "dislike_comment": {"intercept": -2.0}}
    comment = {
        "step": 1,
        "kind": "comment",
        "agents": [1, 2, 3],
        "posts": list(range(ITEMS)),
        "content": "I was there.",
    }
    seeded = {"step": 4, "kind": "seed_votes", "comments": list(range(3 * ITEMS)), **more}
    return Scenario.from_dict(
        {
            "simulation": {"steps": 6, "seed": 9},
            "platform": {"kind": "reddit", "rules": {"comments_per_post": 2, **rules}},
            "recsys": {"kind": "random", "embedder": "hashed-ngrams", "size": 20},
            "population": {"agents": 50, "mean_active": 0.6, "history": 1},
            "policies": [{"kind": "choice", "parameters": {"coefficients": likely}}],
            "interventions": [comment | votes, *([seeded] if later else [])],
            "output": {"report": False, "sync": False},
        }
    )


def net(path: Path) -> list[int]:
    """Return the final scores of the items, net of what was seeded, as the docs say."""
    of = pl.col
    score = (of("likes") - of("base_likes")) - (of("dislikes") - of("base_dislikes"))
    return open_run(path).comments.filter(of("step") == 1).head(3 * ITEMS).select(score).collect().to_series().to_list()


@pytest.mark.parametrize("start", [1, 0, -1])
def test_the_net_score_is_what_agents_voted(start: int, tmp_path: Path) -> None:
    Simulation(scenario(start, -2, 0.4), tmp_path / "run").run_sync()
    events = open_run(tmp_path / "run").events.with_columns(pl.col("action", "outcome").cast(pl.String)).collect()
    accepted = events.filter((pl.col("outcome") == "accepted") & (pl.col("agent_id") >= 0))
    sign = {"like_comment": 1, "dislike_comment": -1}
    cast = accepted.filter(pl.col("action").is_in(list(sign)))
    latest = cast.sort("step", "seq").group_by("agent_id", "target_id").last()  # a vote the other way moves the vote
    votes = [0] * 3 * ITEMS
    for target, action in latest.select("target_id", "action").iter_rows():
        if target < len(votes):
            votes[target] += sign[action]
    assert sum(map(abs, votes)) > 20
    assert net(tmp_path / "run") == votes
    seeded = open_run(tmp_path / "run").comments.head(3 * ITEMS).select("base_likes", "base_dislikes").collect()
    assert set(seeded.rows()) == {(max(start, 0), max(-start, 0) + 2)}


def test_exposure_and_influence_can_be_told_apart(tmp_path: Path) -> None:
    """A first vote that is neither seen nor in the order changes nothing; either way alone it does."""

    def differ(name: str, score: float, **rules: Any) -> bool:
        nets = []
        for start in (1, -1):
            out = tmp_path / f"{name}{start}"
            of = scenario(start, 0, score, **rules).to_dict()
            of["interventions"].append({"step": 1, "kind": "seed_votes", "comments": [0, 4, 8], "likes": 2})
            del of["interventions"][1]["likes"]
            of["interventions"][1]["likes" if start > 0 else "dislikes"] = 2
            Simulation(Scenario.from_dict(of), out).run_sync()
            nets.append(net(out))
        return nets[0] != nets[1]

    assert not differ("neither", 2.0, show_scores=False, comment_order="new")
    assert differ("seen", 2.0, comment_order="new")
    assert differ("ordered", 2.0, show_scores=False)
