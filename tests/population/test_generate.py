"""Generated populations are seeded and look like social media."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest, truncnorm

from oasis.errors import ScenarioError
from oasis.grammar import TOPICS
from oasis.population import describe, load_population
from oasis.world.world import World


def _hash(**keys: object) -> str:
    world = World()
    load_population("generate", **keys).install(world)  # type: ignore[arg-type]
    return world.state_hash()


def test_seeded() -> None:
    assert _hash(agents=300, seed=1) == _hash(agents=300, seed=1)
    assert _hash(agents=300, seed=1) != _hash(agents=300, seed=2)


def test_an_agent_is_the_same_in_a_larger_population() -> None:
    small, large = load_population("generate", agents=100), load_population("generate", agents=250)
    assert small.bio.equals(large.bio[:100])
    assert small.attributes.equals(large.attributes.slice(0, 100))
    np.testing.assert_array_equal(small.stance, large.stance[:100])
    alike = [load_population("generate", agents=n, stance_by_interest=0.7).stance[:100] for n in (100, 250)]
    np.testing.assert_array_equal(*alike)
    assert small.posts.text.equals(large.posts.text[: len(small.posts)])


def test_statistics_are_those_of_social_media() -> None:
    facts = describe(load_population("generate", agents=20_000, seed=5))
    assert facts["mean_follows"] == pytest.approx(50, rel=0.02)
    assert facts["group_assortativity"] == pytest.approx(0.5, rel=0.03)
    assert facts["mutual_pairs"] == pytest.approx(0.221, rel=0.03)
    assert 0.78 < facts["top_tenth_activity"] < 0.82
    assert facts["mean_activity"] == pytest.approx(0.05, abs=1e-4)
    assert facts["distinct_history_texts"] > 0.95 * facts["history_posts"]


@pytest.mark.parametrize("agents", [1, 2, 3])
def test_tiny_populations(agents: int) -> None:
    found = load_population("generate", agents=agents)
    assert np.all(found.follower != found.followee)
    world = World()
    found.install(world)
    assert len(world.users) == agents
    describe(found)


def test_parameters_do_what_they_say() -> None:
    base = {"agents": 3000, "seed": 2}
    nobody = load_population("generate", **base, mean_follows=0)  # type: ignore[arg-type]
    assert len(nobody.follower) == 0
    flat = load_population("generate", **base, day_rhythm=0.0, activity_sigma=0.0)  # type: ignore[arg-type]
    np.testing.assert_allclose(flat.activity, 0.05, rtol=1e-5)
    silent = load_population("generate", **base, history=0)  # type: ignore[arg-type]
    assert len(silent.posts) == 0


def test_stances_are_uniform_or_truncated_normal() -> None:
    plain = load_population("generate", agents=20_000).stance
    np.testing.assert_allclose(np.quantile(plain, [0.1, 0.5, 0.9]), [-0.8, 0.0, 0.8], atol=0.03)
    near = load_population("generate", agents=20_000, stance_mean=0.2, stance_sd=0.1).stance
    assert near.mean() == pytest.approx(0.2, abs=0.003)
    assert near.std() == pytest.approx(0.1, rel=0.02)
    for mean, sd in ((0.5, 0.4), (-1.0, 0.5), (0.0, 3.0)):
        found = load_population("generate", agents=20_000, stance_mean=mean, stance_sd=sd).stance
        wanted = truncnorm((-1 - mean) / sd, (1 - mean) / sd, mean, sd)
        assert kstest(found, wanted.cdf).statistic < 1.36 / 20_000**0.5
        assert np.abs(found).max() <= 1
    with pytest.raises(ScenarioError, match="stance_mean is 0.5, stance_sd None; give both or neither"):
        load_population("generate", agents=5, stance_mean=0.5)


def test_stances_follow_interests_and_so_do_follows() -> None:
    """Opinion is as assortative on the graph as interests are, times what they share."""
    keys: dict[str, float] = {"agents": 8000, "seed": 4, "stance_mean": 0.0, "stance_sd": 0.3, "assortativity": 0.6}
    for shared in (0.0, 0.5, 1.0):
        found = load_population("generate", **keys, stance_by_interest=shared)  # type: ignore[arg-type]
        assert found.stance.mean() == pytest.approx(0.0, abs=0.03)
        assert found.stance.std() == pytest.approx(0.3, rel=0.05)
        ends = found.stance[found.follower], found.stance[found.followee]
        assert np.corrcoef(*ends)[0, 1] == pytest.approx(0.6 * shared, abs=0.08)
    by_group = [found.stance[np.asarray(found.group) == group] for group in TOPICS]
    assert all(np.ptp(stances) == 0 for stances in by_group)


def test_interests() -> None:
    found = load_population("generate", agents=5000)
    lists = found.attributes.column("interests").to_pylist()
    counts = np.bincount([len(row) for row in lists], minlength=6)
    assert counts[:2].sum() == 0
    np.testing.assert_allclose(counts[2:] / 5000, 0.25, atol=0.03)
    assert all(len(set(row)) == len(row) for row in lists)
    assert [TOPICS[row[0]] for row in lists] == found.group.to_pylist()
    one = load_population("generate", agents=50, interests_min=1, interests_max=1, history=3)
    assert {len(row) for row in one.attributes.column("interests").to_pylist()} == {1}
    with pytest.raises(ScenarioError, match="interests_min is 4, interests_max 3"):
        load_population("generate", agents=5, interests_min=4, interests_max=3)


def test_nights_are_quiet_by_local_time() -> None:
    found = load_population("generate", agents=20_000)
    offset = found.attributes.column("utc_offset").to_numpy()
    assert len(set(offset.tolist())) > 3
    for zone in np.unique(offset):
        by_hour = found.activity[offset == zone].sum(axis=0, dtype=np.float64)
        local = np.roll(by_hour, int(zone))
        assert 2 <= local.argmin() <= 7
        assert 17 <= local.argmax() <= 23
        assert local.min() < 0.5 * local.max()
    assert found.activity.min(axis=1)[found.activity.max(axis=1) > 0.9].max() < 0.5  # the most active sleep too


def test_a_description_by_hand(tmp_path: Path) -> None:
    users = {"username": list("abcd"), "group": ["p", "p", "q", None], "bio": ["x", "", None, "y"]}
    pl.DataFrame(users).write_parquet(tmp_path / "users.parquet")
    edges = {"follower_id": [0, 1, 0, 2, 3], "followee_id": [1, 0, 2, 3, 0]}
    pl.DataFrame(edges).write_parquet(tmp_path / "follows.parquet")
    facts = describe(load_population("parquet", tmp_path))
    assert facts["empty_bios"] == 2
    assert facts["distinct_bios"] == 1
    assert (facts["in_degree_median"], facts["in_degree_max"], facts["out_degree_max"]) == (1, 2, 2)
    assert facts["in_degree_exponent"] is None
    assert facts["activity_by_hour"] == pytest.approx([0.05] * 24)
    assert facts["reciprocity"] == pytest.approx(2 / 5)
    assert facts["mutual_pairs"] == pytest.approx(1 / 4)
    assert facts["same_group"] == pytest.approx(2 / 5)
    assert facts["same_group_by_chance"] == pytest.approx(3 / 5 * 3 / 5 + 1 / 5 * 1 / 5)
    assert facts["group_assortativity"] == pytest.approx(0.0)
