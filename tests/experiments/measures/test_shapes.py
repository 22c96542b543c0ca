"""Distributions of cascades against SciPy; parts that share neither user nor story; reconstructed trees."""

from __future__ import annotations

import networkx as nx
import numpy as np
import polars as pl
import pytest
from scipy import stats

from oasis.errors import InputError
from oasis.experiments.measures import (
    Shapes,
    SizeWindow,
    followed_cascades,
    held_out,
    related,
    shape_distances,
)


def drawn(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(5.5, 0.5, n)).astype(np.int64)
    return sizes, rng.integers(1, 4 + (sizes > 250), n)


def test_distances_are_those_of_scipy() -> None:
    target, other = drawn(0, 70), drawn(1, 90)
    window = SizeWindow.of(target[0])
    assert (window.low, window.high) == (target[0].min(), target[0].max())
    shapes = Shapes.of([other, target], window)
    found = shape_distances(shapes, shapes.take([1]))
    assert found[1].tolist() == [0.0, 0.0]
    sizes, depths = (column[window.inside(other[0])] for column in other)
    assert len(sizes) < 90
    assert found[0, 0] == pytest.approx(stats.ks_2samp(sizes, target[0]).statistic)
    assert found[0, 0] == pytest.approx(stats.ks_2samp(np.log(sizes), np.log(target[0])).statistic)
    each = []
    for low, high in zip((window.low, *window.cuts), (*window.cuts, window.high + 1), strict=True):
        mine, its = (d[(s >= low) & (s < high)] for s, d in ((sizes, depths), target))
        each.append((len(its), stats.ks_2samp(mine, its).statistic))
    assert [count for count, _ in each] == shapes.counts[1].tolist()
    assert found[0, 1] == pytest.approx(sum(count * far for count, far in each) / 70)


def test_what_is_not_there_is_farthest() -> None:
    target = drawn(0, 60)
    window = SizeWindow.of(target[0])
    small = target[0] < window.cuts[0]
    shapes = Shapes.of([target, (target[0][small], target[1][small]), ([1, 10_000], [1, 1])], window)
    found = shape_distances(shapes, shapes.take([0]))
    assert found[1, 1] == pytest.approx(1 - small.mean())  # no cascade in the bins above the first
    assert np.isnan(found[2]).all()


def test_a_mixture_has_the_mean_shares() -> None:
    window = SizeWindow(10, 13, (12,))
    shapes = Shapes.of([([10, 11], [1, 1]), ([12, 13, 13, 13], [2, 3, 3, 3]), ([99], [9])], window)
    mixed = shapes.mixed()
    assert mixed.size[0].tolist() == [0.25, 0.5, 0.625, 1.0]
    assert mixed.depth[0, 1, :4].tolist() == [0.0, 0.0, 0.25, 1.0]


def test_related_cascades_are_held_out_together() -> None:
    table = pl.DataFrame({"root_user": [1, 2, 1, 3, 4, 5], "topic_name": ["a", "b", "c", "d", "e", "f"]})
    group = related(table, [["c", "d"]])
    assert len(set(group[[0, 2, 3]])) == 1  # a and c by their user, c and d by their story
    assert len(set(group)) == 4
    for seed in range(20):
        out = held_out(group, 0.5, np.random.default_rng(seed))
        assert len(set(out[[0, 2, 3]])) == 1
        assert out.sum() <= 3
        assert held_out(group, 0.5, np.random.default_rng(seed), first=[group[4]])[4]
    with pytest.raises(InputError, match="'x'"):
        related(table, [["c", "x"]])


@pytest.mark.parametrize("seed", range(5))
def test_trees_by_who_follows_whom(seed: int) -> None:
    rng = np.random.default_rng(seed)
    agents, roots, reposts = 20, 3, 60
    follows = pl.DataFrame({"follower_id": rng.integers(0, agents, 80), "followee_id": rng.integers(0, agents, 80)})
    follows = follows.cast(pl.Int32).unique()
    posts = pl.DataFrame(
        {
            "post_id": range(roots + reposts),
            "author_id": rng.integers(0, agents, roots + reposts),
            "kind": ["original"] * roots + ["repost"] * (reposts - 5) + ["quote"] * 5,
            "root_id": [*range(roots), *rng.integers(0, roots, reposts)],
            "step": [0] * roots + sorted(rng.integers(1, 8, reposts).tolist()),
        }
    ).cast({name: pl.Int32 for name in ("post_id", "author_id", "root_id", "step")})
    found = followed_cascades(posts, follows)
    edges = set(follows.rows())
    for root, scale, depth in found.rows():
        shared: dict[int, int] = {}  # author to step, in the order of posts
        tree = nx.DiGraph()
        for author, kind, of, step in posts.select("author_id", "kind", "root_id", "step").rows():
            if of != root or kind == "quote" or author in shared:
                continue
            earlier = [a for a, at in shared.items() if at < step and (author, a) in edges]
            if shared:
                tree.add_edge((earlier or list(shared))[0], author)
            else:
                tree.add_node(author)
                source = author
            shared[author] = step
        assert scale == len(shared)
        assert depth == max(nx.shortest_path_length(tree, source).values())
