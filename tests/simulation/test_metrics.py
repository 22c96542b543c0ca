"""Metrics of a step, counted again by plain Python from what was recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest

from oasis import Scenario, Simulation, open_run
from oasis.runs import Run

STEPS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": STEPS, "seed": 4},
            "recsys": {"embedder": "hashed-ngrams", "size": 6},
            "population": {"agents": 90, "mean_active": 0.3, "history": 2},
            "interventions": [
                {"step": 1, "kind": "edit_profile", "agents": {"share": 0.3}, "stance": None},
                {"step": 2, "kind": "sign_up", "username": "late"},
            ],
            "output": {"report": False, "sync": False},
        }
    )
    path = tmp_path_factory.mktemp("metrics") / "run"
    Simulation(scenario, path).run_sync()
    return open_run(path)


def _gini(counts: list[int]) -> float:
    return sum(abs(a - b) for a in counts for b in counts) / (2 * len(counts) * sum(counts))


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_exposure_and_reach(run: Run, step: int) -> None:
    found = run.metrics.collect().row(step - 1, named=True)
    posts, users = run.posts.collect(), run.users.collect()
    impressions = run.impressions.collect().to_dicts()
    shown = [row for row in impressions if row["step"] == step and row["turn"] == 0]
    roots = [posts["root_id"][row["post_id"]] for row in shown]
    pairs = [(row["agent_id"], posts["author_id"][root]) for row, root in zip(shown, roots, strict=True)]
    by_root, by_author = Counter(roots), Counter(author for _, author in pairs)
    known = [(users["stance"][a], users["stance"][b]) for a, b in pairs]
    groups = [(users["group"][a], users["group"][b]) for a, b in pairs]
    before = {(row["agent_id"], posts["root_id"][row["post_id"]]) for row in impressions if row["step"] < step}
    seen = [(row["agent_id"], root) in before for row, root in zip(shown, roots, strict=True)]
    expected = {
        "agents_shown": len({a for a, _ in pairs}),
        "agents_reached": len({row["agent_id"] for row in impressions if row["step"] <= step}),
        "distinct_roots_shown": len(by_root),
        "distinct_authors_shown": len(by_author),
        "exposure_gini": _gini(list(by_root.values())),
        "author_exposure_gini": _gini(list(by_author.values())),
        "largest_root_share": max(by_root.values()) / len(shown),
        "seen_before_share": fmean(seen),
        "cross_group_share": fmean(a != b for a, b in groups if None not in (a, b)),
        "mean_stance_shown": fmean(b for _, b in known if b is not None),
        "stance_distance_shown": fmean(abs(a - b) for a, b in known if None not in (a, b)),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_in_network_share_follows_the_graph(run: Run) -> None:
    follows = {(a, b) for a, b, _ in run.follows.collect().rows()}
    authors = run.posts.collect()["author_id"]
    rows = run.impressions.collect().filter(step=1, turn=0)
    pairs = [(agent, authors[post]) for agent, post in rows.select("agent_id", "post_id").rows()]
    before = {(a, b) for a, b, step in run.follows.collect().rows() if step == 0} & follows
    assert run.metrics.collect()["in_network_share"][0] == pytest.approx(fmean(pair in before for pair in pairs))


def test_what_nobody_has_is_null(tmp_path: Path) -> None:
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 1},
            "recsys": {"kind": "chronological"},
            "population": {"agents": 20, "mean_active": 0.5, "mean_follows": 0, "history": 0},
            "output": {"report": False},
        }
    )
    Simulation(scenario, tmp_path / "run").run_sync()
    row = open_run(tmp_path / "run").metrics.collect().row(0, named=True)
    assert row["agents_shown"] == row["agents_reached"] == row["distinct_authors_shown"] == 0
    for name in ("author_exposure_gini", "in_network_share", "cross_group_share", "mean_stance_shown"):
        assert row[name] is None, name


def test_posts_and_users_carry_their_stable_keys(run: Run) -> None:
    posts, users = run.posts.collect(), run.users.collect()
    for table in (posts, users):
        assert str(table.schema["key"]) == "UInt64"
        assert table["key"].n_unique() == table.height
