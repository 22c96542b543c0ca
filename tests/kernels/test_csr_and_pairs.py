"""Kernels equal their plain versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.kernels import csr, pairs

ROWS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=6).map(sorted), min_size=1, max_size=8)


def _csr(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.r_[0, np.cumsum([len(r) for r in rows])].astype(np.int64)
    return indptr, np.array([v for r in rows for v in r], np.int32)


@given(ROWS, st.data())
def test_gather(rows: list[list[int]], data: st.DataObject) -> None:
    indptr, indices = _csr(rows)
    wanted = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)), np.int64)
    offsets, positions = csr.take_rows(indptr, wanted)
    assert [list(indices[positions[a:b]]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == [
        rows[w] for w in wanted
    ]
    if len(wanted):
        np.testing.assert_array_equal(positions, csr.gather_numpy(indptr, wanted, offsets))


@given(ROWS, st.data())
def test_in_row(rows: list[list[int]], data: st.DataObject) -> None:
    indptr, indices = _csr(rows)
    asked = data.draw(st.lists(st.tuples(st.integers(0, len(rows) - 1), st.integers(-2, 35)), max_size=20))
    row, value = np.array([a for a, _ in asked], np.int64), np.array([b for _, b in asked], np.int64)
    out = np.empty(len(asked), np.int64)
    csr.in_row(indptr, indices, row, value, out)
    np.testing.assert_array_equal(out, csr.in_row_numpy(indptr, indices, row, value))


@given(st.lists(st.tuples(ROWS, ROWS), min_size=1, max_size=3))
def test_merge_rows(both: list[tuple[list[list[int]], list[list[int]]]]) -> None:
    first, second = [a[0] for a, _ in both], [b[0] for _, b in both]
    a, b = _csr(first), _csr(second)
    out = np.empty(len(a[1]) + len(b[1]), np.int32)
    csr.merge_rows(*a, *b, out)
    np.testing.assert_array_equal(out, csr.merge_rows_numpy(*a, *b))
    assert out.tolist() == [value for one, other in zip(first, second, strict=True) for value in sorted(one + other)]


@given(ROWS)
def test_transpose(rows: list[list[int]]) -> None:
    indptr, indices = _csr(rows)
    starts = np.r_[0, np.cumsum(np.bincount(indices, minlength=31))].astype(np.int64)
    out = np.empty(len(indices), np.int32)
    csr.transpose(indptr, indices, starts[:-1].copy(), out)
    np.testing.assert_array_equal(out, csr.transpose_numpy(indptr, indices))
    for column, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        assert out[start:end].tolist() == [row for row, values in enumerate(rows) if column in values]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_pairs_behave_as_a_dictionary(operations: list[tuple[bool, int]]) -> None:
    slots, values = np.full(64, pairs.EMPTY, np.int64), np.zeros(64, np.int32)
    model: dict[int, int] = {}
    for number, (add, key) in enumerate(operations):
        changed = np.empty(1, np.bool_)
        if add:
            pairs.add(slots, values, np.array([key]), np.array([number], np.int32), changed)
            assert changed[0] == (key not in model)
            model.setdefault(key, number)
        else:
            pairs.discard(slots, np.array([key]), changed)
            assert changed[0] == (model.pop(key, None) is not None)
        found = np.empty(13, np.int64)
        pairs.find(slots, np.arange(13), found)
        assert {k: values[at] for k, at in enumerate(found) if at >= 0} == model


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8), st.booleans())
def test_in_order(edges: list[tuple[int, int]], tidy: bool) -> None:
    rows = sorted(set(edges)) if tidy else edges
    source, target = (np.array([edge[i] for edge in rows], np.int32) for i in range(2))
    assert csr.in_order(source, target) == csr.in_order_numpy(source, target)
    assert csr.in_order(source, target) or not tidy


@pytest.mark.parametrize("shape", [(100_000, 1), (1, 100_000), (10_000, 10), (300, 300)])
def test_pairs_that_share_halves_do_not_cluster(shape: tuple[int, int]) -> None:
    """Everybody likes one post, one agent likes many: the longest chain to be probed stays short."""
    a, b = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]))
    keys = (a.ravel() << 32) | b.ravel()
    slots, values = np.full(1 << 18, pairs.EMPTY, np.int64), np.zeros(1 << 18, np.int32)
    pairs.add(slots, values, keys, values[: len(keys)], np.empty(len(keys), np.bool_))
    empty = np.flatnonzero(slots == pairs.EMPTY)
    assert np.diff(empty).max() < 100
