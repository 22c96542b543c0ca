"""Opinions: shifts by hand, coefficients at their known values, assortativity as networkx has it."""

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.errors import InputError
from oasis.experiments.measures import ashmans_d, assortativity, bimodality_coefficient, opinion_panel, polarization

NAN = float("nan")


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        ([7, 7, 8], [9, 9, 9], 9 - 22 / 3),  # cautious, more so
        ([3, 4, 4], [2, 2, 2], 11 / 3 - 2),  # risky, more so
        ([7, 7, 7], [6, 6, 6], -1),  # back to the middle
        ([7, 7, 7], [3, 3, 3], -4),  # across it
        ([5, 6], [9, 9], NAN),  # no direction at first
        ([7, 9, NAN], [8, 9, 1], 0.5),  # only those that answered twice
        ([7, 1, 1], [8, NAN, NAN], 1),  # nor do the others say which way was up
        ([7, NAN], [NAN, 8], NAN),
    ],
)
def test_polarization_is_the_shift_away_from_the_middle(first, later, expected):
    found = polarization([first, later])
    assert found[1] == pytest.approx(expected, nan_ok=True)


def test_polarization_begins_at_zero_and_knows_other_scales():
    assert polarization([[8, 8], [8, 8], [9, 8]]).tolist() == [0, 0, 0.5]
    assert polarization([[0.2, 0.4], [0.5, 0.5]], midpoint=0.0)[1] == pytest.approx(0.2)
    with pytest.raises(InputError, match="shape"):
        polarization([1, 2, 3])


def test_a_panel_of_interviews():
    rows = [
        (0, 3, "risk", 4.0, "accepted"),
        (0, 1, "risk", 7.0, "accepted"),
        (5, 1, "risk", 9.0, "accepted"),
        (5, 3, "risk", 2.0, "llm_failed"),
        (5, 3, "other", 2.0, "accepted"),
        (5, 4, "risk", None, "accepted"),
        (5, 8, "risk", 1.0, "accepted"),
    ]
    interviews = pl.LazyFrame(rows, schema=["step", "agent_id", "question_id", "value", "outcome"], orient="row")
    steps, opinions = opinion_panel(interviews, "risk")
    assert steps.tolist() == [0, 5]
    assert np.array_equal(opinions, [[7, 4, NAN], [9, NAN, 1]], equal_nan=True)
    with pytest.raises(InputError, match="no accepted answer to question 'risks'"):
        opinion_panel(interviews, "risks")


def test_bimodality_at_known_values():
    n = 100_000
    assert bimodality_coefficient(np.linspace(1, 10, n)) == pytest.approx(5 / 9, abs=1e-3)
    assert bimodality_coefficient([1, 10] * (n // 2)) == pytest.approx(1, abs=1e-3)
    assert bimodality_coefficient(np.random.default_rng(0).normal(size=n)) == pytest.approx(1 / 3, abs=0.01)
    assert np.isnan(bimodality_coefficient([1, 2, 3, NAN]))
    assert np.isnan(bimodality_coefficient([4] * 10))


def test_bimodality_of_a_sample_by_hand():
    x = np.array([1.0, 2, 2, 3, 9, 10, 10])
    n, d = len(x), x - x.mean()
    g = n / ((n - 1) * (n - 2)) * (d**3).sum() / x.std(ddof=1) ** 3
    k = n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * (d**4).sum() / x.var(ddof=1) ** 2
    k -= 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    expected = (g**2 + 1) / (k + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)))
    assert bimodality_coefficient([*x, NAN]) == pytest.approx(expected)


def test_ashmans_d():
    assert ashmans_d([1, 3, NAN], [7, 9]) == pytest.approx(6 / np.sqrt(2))
    generator = np.random.default_rng(0)
    apart = ashmans_d(generator.normal(0, 1, 10**5), generator.normal(2, 1, 10**5))
    assert apart == pytest.approx(2, abs=0.02)  # where a mixture of equal halves begins to have two modes
    assert np.isnan(ashmans_d([1], [2, 3]))
    assert np.isnan(ashmans_d([1, 1], [2, 2]))


@given(st.integers(0, 10**6), st.integers(4, 30), st.integers(5, 80))
def test_assortativity_is_that_of_networkx(seed, agents, edges):
    generator = np.random.default_rng(seed)
    graph = nx.DiGraph()
    graph.add_nodes_from((i, {"x": int(v)}) for i, v in enumerate(generator.integers(1, 11, agents)))
    graph.add_edges_from(tuple(int(v) for v in e) for e in generator.integers(0, agents, (edges, 2)) if e[0] != e[1])
    opinion = np.array([graph.nodes[i]["x"] for i in range(agents)], float)
    ends = np.array(graph.edges).reshape(-1, 2).T
    found = assortativity(*ends, opinion)
    if np.isnan(found):
        assert len(graph.edges) < 2 or (np.ptp(opinion[ends], axis=1) == 0).any()
    else:
        assert found == pytest.approx(nx.numeric_assortativity_coefficient(graph, "x"), abs=1e-9)


def test_edges_of_unknown_opinions_are_left_out():
    assert assortativity([0, 1, 2, 3], [1, 0, 3, 4], [1, 2, 5, 9, NAN]) == pytest.approx(
        assortativity([0, 1, 2], [1, 0, 3], [1, 2, 5, 9, NAN])
    )
