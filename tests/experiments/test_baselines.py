"""Independent cascades against reachability, closed forms and a naive version."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.errors import InputError
from oasis.experiments.baselines import Followers, cascade_curves, fit_edge_probability, independent_cascade
from oasis.randomness import Draws


def graph_of(agents, edges):
    follower, followee = np.array(edges, np.int64).reshape(-1, 2).T
    return Followers.of(agents, follower, followee)


def star(leaves):
    return graph_of(leaves + 1, [(i, 0) for i in range(1, leaves + 1)])


edge_lists = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40)


@given(edge_lists, st.integers(0, 9))
def test_with_p_one_rounds_are_distances_against_the_follows(edges, source):
    found = independent_cascade(graph_of(10, edges), [source], 1.0, 2, 0)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(10))
    graph.add_edges_from((followee, follower) for follower, followee in edges)
    distance = nx.single_source_shortest_path_length(graph, source)
    assert found.tolist() == [[distance.get(i, -1) for i in range(10)]] * 2


@given(edge_lists, st.sets(st.integers(0, 9), min_size=1, max_size=3), st.floats(0, 1), st.integers(0, 99))
def test_rounds_equal_a_loop_over_the_same_draws(edges, sources, p, seed):
    graph = graph_of(10, edges)
    found = independent_cascade(graph, sorted(sources), p, 3, seed)
    for r in range(3):
        edge_ids = np.arange(len(graph.indices), dtype=np.uint64)
        passes = Draws(seed).uniform("independent-cascade", 0, np.full(len(edge_ids), r, np.uint64), edge_ids) < p
        rounds = dict.fromkeys(sources, 0)
        front, number = set(sources), 0
        while front:
            number += 1
            reached = {
                int(graph.indices[e])
                for agent in front
                for e in range(graph.indptr[agent], graph.indptr[agent + 1])
                if passes[e]
            }
            front = reached - rounds.keys()
            rounds.update(dict.fromkeys(front, number))
        assert found[r].tolist() == [rounds.get(i, -1) for i in range(10)]


@given(edge_lists, st.floats(0, 1), st.floats(0, 1))
def test_cascades_only_grow_with_p(edges, one, other):
    graph = graph_of(10, edges)
    small, large = (independent_cascade(graph, [0], p, 5, 1) >= 0 for p in sorted((one, other)))
    assert (large | ~small).all()


def test_a_star_has_a_binomial_number_of_reposts():
    shared = (independent_cascade(star(50), [0], 0.3, 4000, 7) == 1).sum(axis=1)
    assert shared.mean() == pytest.approx(15, abs=4 * np.sqrt(50 * 0.21 / 4000))
    assert shared.var() == pytest.approx(50 * 0.21, rel=0.1)


def test_a_path_stops_geometrically():
    path = graph_of(12, [(i + 1, i) for i in range(11)])
    scale = (independent_cascade(path, [0], 0.5, 8000, 3) >= 0).sum(axis=1)
    assert scale.mean() == pytest.approx(2 - 2**-11, abs=4 * np.sqrt(2 / 8000))


def test_curves_count_as_those_of_runs():
    rounds = np.array([[0, 1, 1, 2, -1], [0, -1, -1, -1, -1], [0, 1, 2, 2, 2]], np.int32)
    found = {name: curve.tolist() for name, curve in cascade_curves(rounds).items()}
    assert found == {
        "scale": [[1, 3, 4], [1, 1, 1], [1, 2, 5]],
        "depth": [[0, 1, 2], [0, 0, 0], [0, 1, 2]],
        "max_breadth": [[0, 2, 2], [0, 0, 0], [0, 1, 3]],
    }


def test_stopping_a_fit_early_changes_nothing():
    generator = np.random.default_rng(2)
    web = Followers.of(200, generator.integers(0, 200, 2000), generator.integers(0, 200, 2000))
    fit = fit_edge_probability(web, [5], 60.0, replicates=50, seed=4)
    scales = [(independent_cascade(web, [5], fit.p * f, 50, 4) >= 0).sum() / 50 for f in (0.999, 1.0)]
    assert scales[0] < 60 <= scales[1] == fit.scale


def test_edges_count_once_and_seeds_differ():
    double = graph_of(2, [(1, 0), (1, 0)])
    assert double.indices.tolist() == [1]
    first, again, other = (independent_cascade(star(50), [0], 0.5, 4, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_fitted_p_gives_the_scale():
    fit = fit_edge_probability(star(60), [0], 21.0, replicates=500)
    assert fit.p == pytest.approx(20 / 60, abs=0.02)
    assert fit.scale == pytest.approx(21, abs=0.1)
    assert fit.reachable == 61
    generator = np.random.default_rng(0)
    web = Followers.of(300, generator.integers(0, 300, 3000), generator.integers(0, 300, 3000))
    fit = fit_edge_probability(web, [5], 100.0, replicates=300)
    fresh = (independent_cascade(web, [5], fit.p, 2000, 99) >= 0).sum(axis=1)
    assert fit.scale == pytest.approx(100, abs=1)
    assert fresh.mean() == pytest.approx(100, abs=4 * fresh.std() * np.sqrt(1 / 300 + 1 / 2000))


def test_the_ends_of_p():
    assert fit_edge_probability(star(9), [0], 10).p == pytest.approx(1, abs=1e-3)
    assert fit_edge_probability(star(9), [0], 1).p == 0
    assert fit_edge_probability(star(9), [0], 1.001).p < 0.01
    with pytest.raises(InputError, match="a scale of 11: on this graph it is 1 to 10"):
        fit_edge_probability(star(9), [0], 11)


@pytest.mark.parametrize(
    ("sources", "p", "replicates", "message"),
    [
        ([], 0.5, 1, "sources must be agents 0 to 9"),
        ([10], 0.5, 1, "sources must be agents 0 to 9"),
        ([-1], 0.5, 1, "sources must be agents 0 to 9"),
        ([0], 1.5, 1, "p must lie between 0 and 1"),
        ([0], 0.5, 0, "at least one replicate"),
    ],
)
def test_bad_input(sources, p, replicates, message):
    with pytest.raises(InputError, match=message):
        independent_cascade(star(9), sources, p, replicates, 0)
    with pytest.raises(InputError, match="edges must name agents 0 to 3"):
        graph_of(4, [(0, 4)])
