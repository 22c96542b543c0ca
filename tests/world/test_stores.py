"""Stores behave as the plain structures they stand for, and round-trip."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.world import graph as graph_module
from oasis.world import schemas
from oasis.world.graph import FollowGraph
from oasis.world.relation import Relation
from oasis.world.ring import Ring
from oasis.world.store import digest_table
from oasis.world.table import Table

NODES = 7
EDGE = st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)).filter(lambda e: e[0] != e[1])
OPERATIONS = st.lists(st.tuples(st.booleans(), st.lists(EDGE, max_size=4)), max_size=12)


def _ids(values: list[int]) -> np.ndarray:
    return np.array(values, np.int32)


@settings(max_examples=200)
@given(st.lists(EDGE, unique=True, max_size=15), OPERATIONS, st.sampled_from([0, 100_000]))
def test_follow_graph_equals_networkx(
    base: list[tuple[int, int]], operations: list[tuple[bool, list[tuple[int, int]]]], floor: int
) -> None:
    model = nx.DiGraph()
    model.add_nodes_from(range(NODES))
    model.add_edges_from(base, step=0)
    graph = FollowGraph(schemas.FOLLOWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "_COMPACT_FLOOR", floor)
        graph.set_edges(NODES, _ids([a for a, _ in base]), _ids([b for _, b in base]))
        for step, (add, edges) in enumerate(operations, 1):
            distinct = list(dict.fromkeys(edges))
            a, b = _ids([e[0] for e in distinct]), _ids([e[1] for e in distinct])
            expected = [model.has_edge(*e) != add for e in distinct]
            if add:
                assert list(graph.add(a, b, step)) == expected
                model.add_edges_from([e for e, new in zip(distinct, expected, strict=True) if new], step=step)
            else:
                assert list(graph.discard(a, b)) == expected
                model.remove_edges_from([e for e, there in zip(distinct, expected, strict=True) if there])
    assert len(graph) == model.number_of_edges()
    everyone = np.arange(NODES)
    for found, neighbours in ((graph.following, model.successors), (graph.followers, model.predecessors)):
        offsets, ids = found(everyone)
        for node in range(NODES):
            assert list(ids[offsets[node] : offsets[node + 1]]) == sorted(neighbours(node))
    held = [(a, b, d["step"]) for a, b, d in sorted(model.edges(data=True))]
    assert list(zip(*(c.tolist() for c in graph.edges()), strict=True)) == held
    grid = np.meshgrid(everyone, everyone, indexing="ij")
    contains = graph.contains(grid[0].ravel(), grid[1].ravel()).reshape(NODES, NODES)
    np.testing.assert_array_equal(graph.contains(np.arange(NODES), 0), contains[:, 0])
    np.testing.assert_array_equal(contains, nx.to_numpy_array(model, weight=None) > 0)

    loaded = FollowGraph(schemas.FOLLOWS)
    loaded.load(graph.to_arrow())
    assert digest_table(loaded.to_arrow()) == digest_table(graph.to_arrow())


@given(st.lists(st.tuples(st.booleans(), st.lists(EDGE, max_size=4)), max_size=15))
def test_relation_equals_a_dictionary(operations: list[tuple[bool, list[tuple[int, int]]]]) -> None:
    relation, model = Relation(schemas.MUTES), dict[tuple[int, int], int]()
    for step, (add, pairs) in enumerate(operations):
        pairs = list(dict.fromkeys(pairs))
        a, b = _ids([p[0] for p in pairs]), _ids([p[1] for p in pairs])
        if add:
            assert list(relation.add(a, b, step)) == [p not in model for p in pairs]
            for pair in pairs:
                model.setdefault(pair, step)
        else:
            assert list(relation.discard(a, b)) == [model.pop(p, None) is not None for p in pairs]
    assert len(relation) == len(model)
    table = relation.to_arrow()
    rows = [tuple(r.values()) for r in table.to_pylist()]
    assert rows == [(a, b, s) for (a, b), s in sorted(model.items())]
    loaded = Relation(schemas.MUTES)
    loaded.load(table)
    assert digest_table(loaded.to_arrow()) == digest_table(table)


@given(st.lists(st.dictionaries(st.integers(0, 3), st.lists(st.integers(0, 99), max_size=7)), max_size=8))
def test_ring_keeps_the_last(pushes: list[dict[int, list[int]]]) -> None:
    ring, model = Ring(3), {agent: list[int]() for agent in range(4)}
    ring.resize(4)
    for push in pushes:
        agents = _ids([agent for agent, values in push.items() for _ in values])
        ring.push(agents, _ids([v for values in push.values() for v in values]))
        for agent, values in push.items():
            model[agent] += values
    for agent, values in model.items():
        newest = values[::-1][:3]
        assert ring.recent(_ids([agent]))[0].tolist() == newest + [-1] * (3 - len(newest))
        assert sorted(ring.get(_ids([agent]))[0]) == sorted(newest + [-1] * (3 - len(newest)))
    loaded = Ring(3)
    loaded.load(ring.to_arrow())
    assert digest_table(loaded.to_arrow()) == digest_table(ring.to_arrow())


def test_table_defaults_grow_and_round_trip() -> None:
    table = Table(schemas.POSTS)
    for number in range(40):
        assert table.append(1, author=number)[0] == number
    assert table["root"][39] == -1
    assert table["weight"][39] == 1
    assert np.all(table["likes"] == 0)
    with pytest.raises(KeyError, match="no_such"):
        table.append(1, no_such=1)
    loaded = Table(schemas.POSTS)
    loaded.load(table.to_arrow())
    assert loaded.to_arrow().equals(table.to_arrow())


def test_digest_sees_values_and_not_layout() -> None:
    table = pa.table({"a": [1, None, 3], "t": ["x", None, "yz"]})
    halves = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert digest_table(table) == digest_table(halves)
    assert digest_table(table) != digest_table(pa.table({"a": [1, 0, 3], "t": ["x", None, "yz"]}))
    assert digest_table(table) != digest_table(pa.table({"a": [1, None, 3], "t": ["xy", None, "z"]}))
    lists = pa.table({"l": pa.array([[1], None, [2, 3], []], pa.list_(pa.int32())), "b": [True, None, False, True]})
    assert digest_table(lists) == digest_table(pa.concat_tables([lists.slice(0, 3), lists.slice(3)]))
    shifted = pa.table({"l": pa.array([[1, 2], None, [3], []], pa.list_(pa.int32())), "b": lists["b"]})
    assert digest_table(lists) != digest_table(shifted)


def test_digest_sees_labels_and_not_their_dictionary() -> None:
    def labels(*codes: int | None, of: tuple[str, ...] = ("like", "post", "follow")) -> bytes:
        return digest_table(pa.table({"l": pa.DictionaryArray.from_arrays(pa.array(codes, pa.int16()), pa.array(of))}))

    first = labels(0, None, 1, 0)
    assert first == labels(2, None, 1, 2, of=("unused", "post", "like"))
    assert first not in (labels(0, 0, 1, 0), labels(1, None, 0, 1), labels(0, None, 2, 0), labels(0, 1, None, 0))
    assert labels(None, None) != labels(None, None, None)
    many = tuple(f"label {i}" for i in range(300))
    assert labels(*range(300), of=many) == labels(*range(299, -1, -1), of=many[::-1])
