"""Structure and tails against networkx, plain NumPy, and laws that are known."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.special import zeta

from oasis.kernels import structure as kernels
from oasis.population import load_population
from oasis.population import structure as structures
from oasis.population.popularity import assortativity
from oasis.population.power_law import fit_tail
from oasis.population.structure import Graph
from oasis.randomness import Draws, agent_keys

N = 300
PEOPLE = load_population("generate", agents=N, seed=3, mean_follows=4, triadic_closure=0.3)
GRAPH = Graph.of(N, PEOPLE.follower, PEOPLE.followee)
PLAIN = nx.DiGraph()
PLAIN.add_nodes_from(range(N))
PLAIN.add_edges_from(zip(PEOPLE.follower.tolist(), PEOPLE.followee.tolist(), strict=True))


def test_edges_in_any_order_are_the_same_graph() -> None:
    order = np.argsort(Draws(1).uniform("order", 0, agent_keys(np.arange(len(PEOPLE.follower)))))
    again = Graph.of(N, PEOPLE.follower[order], PEOPLE.followee[order])
    np.testing.assert_array_equal(again.indptr, GRAPH.indptr)
    np.testing.assert_array_equal(again.indices, GRAPH.indices)


def test_kernels_are_their_plain_versions() -> None:
    rows = (GRAPH.indptr, GRAPH.indices)
    assert kernels.returned(0, N, *rows) == kernels.returned_numpy(*rows) > 0
    label = (np.arange(N) % 4 - 1).astype(np.int32)
    assert kernels.alike(0, N, *rows, label) == kernels.alike_numpy(*rows, label) > 0
    back = Graph.of(N, PEOPLE.followee, PEOPLE.follower)
    sample, out = np.arange(0, N, 2), np.empty((N // 2, 2), np.int64)
    kernels.links(0, N // 2, sample, *rows, back.indptr, back.indices, out)
    np.testing.assert_array_equal(out, kernels.links_numpy(sample, *rows))


def test_structure_is_that_of_networkx() -> None:
    assert GRAPH.reciprocity() == pytest.approx(nx.overall_reciprocity(PLAIN))
    assert GRAPH.clustering(PEOPLE.keys) == (pytest.approx(nx.average_clustering(PLAIN.to_undirected())), 0.0)
    for connection in ("weak", "strong"):
        parts = list(getattr(nx, f"{connection}ly_connected_components")(PLAIN))
        assert GRAPH.components(connection) == (len(parts), max(map(len, parts)) / N)


def test_assortativity_is_that_of_networkx() -> None:
    groups = np.unique(PEOPLE.group.to_pylist(), return_inverse=True)[1]
    nx.set_node_attributes(PLAIN, dict(enumerate(groups.tolist())), "group")
    mixing = np.zeros((groups.max() + 1,) * 2)
    np.add.at(mixing, (groups[PEOPLE.follower], groups[PEOPLE.followee]), 1 / len(PEOPLE.follower))
    assert assortativity(mixing) == pytest.approx(nx.attribute_assortativity_coefficient(PLAIN, "group"))


def test_a_sample_is_as_near_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, _ = GRAPH.clustering(PEOPLE.keys)
    monkeypatch.setattr(structures, "SAMPLE", 100)
    mean, error = GRAPH.clustering(PEOPLE.keys)
    assert 0 < error < exact
    assert abs(mean - exact) < 4 * error


def test_a_graph_without_edges() -> None:
    nothing = np.empty(0, np.int32)
    graph = Graph.of(3, nothing, nothing)
    assert graph.reciprocity() is None
    assert graph.clustering(agent_keys(np.arange(3))) == (0.0, 0.0)
    assert graph.components("strong") == (3, 1 / 3)


@pytest.mark.parametrize(("exponent", "x_min"), [(2.1, 1), (2.5, 3), (3.2, 10)])
def test_tails_of_known_laws(exponent: float, x_min: int) -> None:
    size = 40_000
    u = Draws(2).uniform("law", 0, agent_keys(np.arange(2 * size)))
    law = np.arange(x_min, 2_000_000)
    below = 1 - zeta(exponent, law + 1.0) / zeta(exponent, x_min)
    tail = law[np.searchsorted(below, u[:size]).clip(0, len(law) - 1)]
    body = np.zeros(0, int) if x_min == 1 else 1 + (u[size:] * x_min).astype(int)  # even up to x_min
    found = fit_tail(np.r_[tail, body, 0])
    assert found is not None
    assert abs(found.exponent - exponent) < 4 * found.error
    assert found.error == pytest.approx((exponent - 1) / np.sqrt(found.tail), rel=0.5)
    assert x_min <= found.x_min <= 3 * x_min + 3
    assert found.tail == (np.r_[tail, body] >= found.x_min).sum()


def test_the_exponent_is_the_likeliest() -> None:
    degrees = np.floor(Draws(3).uniform("d", 0, agent_keys(np.arange(3000))) ** -0.8).astype(int)
    found = fit_tail(degrees)
    assert found is not None
    tail = degrees[degrees >= found.x_min]
    tried = np.linspace(found.exponent - 0.2, found.exponent + 0.2, 4001)
    likelihood = -len(tail) * np.log(zeta(tried, found.x_min)) - tried * np.log(tail).sum()
    assert tried[likelihood.argmax()] == pytest.approx(found.exponent, abs=2e-4)
    values = np.arange(found.x_min, tail.max() + 1)
    distance = np.abs((tail[:, None] >= values).mean(axis=0) - found.survival(values)).max()
    assert found.distance == pytest.approx(distance, rel=1e-6)


def test_no_tail() -> None:
    for degrees in ([0], [1, 2, 3], [5] * 1000, [0] * 100):
        assert fit_tail(np.array(degrees)) is None
