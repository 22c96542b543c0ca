"""The kernels of the follow graph against plain versions of them."""

from __future__ import annotations

import numpy as np

from oasis.kernels import follow_draws, follow_rows
from oasis.kernels import population as kernels
from oasis.randomness import Draws, agent_keys

N = 300
KEYS = agent_keys(np.arange(N))
DRAWS = Draws(4)
GROUP = (np.arange(N) % 3).astype(np.int16)
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def _law() -> tuple[np.ndarray, ...]:
    order = np.argsort(GROUP, kind="stable").astype(np.int32)
    upper, table = np.empty((2, N)), np.empty((2, N), np.int32)
    for kind in range(2):
        upper[kind] = np.cumsum(1.0 + np.arange(N)[order] * kind)
        kernels.guide(upper[kind], table[kind])
    bounds = np.concatenate([np.zeros((2, 1)), upper], axis=1)[:, [0, 100, 200, 300]]
    return KEYS, GROUP, order, upper, table, bounds


def _offsets(count: np.ndarray) -> np.ndarray:
    return np.r_[0, np.cumsum(count.sum(axis=0))].astype(np.int64)


def _chosen(within: float, each: tuple[int, int] = (4, 6)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.repeat(np.array(each, np.int32)[:, None], N, axis=1)
    out = np.empty(count.sum(), np.int32)
    follow_draws.choose(0, N, np.uint64(7), *_law(), within, count, _offsets(count), out)
    return out, _offsets(count), count


def _rows(chosen: np.ndarray, offsets: np.ndarray, returned: np.ndarray) -> Rows:
    length = np.zeros(N, np.int64)
    follow_rows.received(chosen, offsets, returned, length)
    start = np.cumsum(length) - length
    codes = np.empty(length.sum(), np.int32)
    nothing = (np.zeros(N, np.int64), np.zeros(N, np.int32), np.empty(0, np.int32))
    follow_rows.scatter(*nothing, chosen, offsets, returned, start.copy(), codes)
    short = length.astype(np.int32)
    follow_rows.tidy(0, N, start, short, codes)
    return start, short, codes


def _lists(rows: Rows) -> list[list[int]]:
    start, length, codes = rows
    return [codes[a : a + n].tolist() for a, n in zip(start, length, strict=True)]


def test_choices_are_distinct_others_by_weight() -> None:
    chosen, _, _ = _chosen(0.0)
    table = chosen.reshape(N, 10)
    assert (table >= 0).all()
    assert all(len(set(row)) == 10 and i not in row for i, row in enumerate(table.tolist()))
    low, high = (np.isin(table[:, 4:], part).sum() for part in (np.arange(100), np.arange(200, 300)))
    assert 3.5 < high / low < 7  # weights of kind 1 rise with the number: 5 times as large on average
    assert 0.7 < np.isin(table[:, :4], np.arange(100)).mean() * 3 < 1.3  # those of kind 0 are equal


def test_choices_within_groups() -> None:
    own = np.repeat(GROUP, 10)
    assert np.array_equal(GROUP[_chosen(1.0)[0]], own)
    assert abs((GROUP[_chosen(0.4)[0]] == own).mean() - 0.6) < 0.05  # 0.4 and a third of the rest


def test_more_than_there_is_leaves_places_free() -> None:
    chosen, _, _ = _chosen(1.0, (200, 200))
    table = chosen.reshape(N, 400)
    for i, row in enumerate(table.tolist()):
        there = [j for j in row if j >= 0]
        assert len(there) == len(set(there)) < N
        assert i not in there


def test_rows_are_those_of_plain_sets() -> None:
    chosen, offsets, count = _chosen(0.5)
    mutual, one_way = set(), set()
    for i in range(N):
        for x in range(offsets[i], offsets[i + 1]):
            (mutual if x < offsets[i] + count[0, i] else one_way).add((i, int(chosen[x])))
    mutual |= {(b, a) for a, b in mutual}
    plain = [
        sorted([j << 1 for a, j in mutual if a == i] + [j << 1 | 1 for a, j in one_way - mutual if a == i])
        for i in range(N)
    ]
    rows = _rows(chosen, offsets, count[0])
    assert _lists(rows) == plain

    dropped, found = np.empty(len(rows[2]), np.uint8), np.zeros((2, 2), np.int64)
    follow_rows.compare(0, N, *rows, GROUP, dropped, found)
    left = one_way - mutual
    both = {(a, b) for a, b in left if (b, a) in left}
    kept = {
        (i, int(rows[2][x]) >> 1)
        for i in range(N)
        for x in range(rows[0][i], rows[0][i] + rows[1][i])
        if rows[2][x] & 1 and not dropped[x]
    }
    assert both
    assert left - both == kept - both
    assert all(((a, b) in kept) != ((b, a) in kept) for a, b in both)
    crosses = [sum(GROUP[a] != GROUP[b] for a, b in edges) for edges in (mutual, kept)]
    assert found.tolist() == [[len(e) - c, c] for e, c in zip((mutual, kept), crosses, strict=True)]


def test_a_share_is_kept_and_mutual_follows_stay_mutual() -> None:
    chosen, offsets, count = _chosen(0.5, (10, 10))
    rows = _rows(chosen, offsets, count[0])
    kept, dropped = np.empty(N, np.int32), np.zeros(len(rows[2]), np.uint8)
    before = _lists(rows)
    share = np.array([[0.5, 1.0], [0.0, 0.25]])
    follow_rows.keep(0, N, np.uint64(3), KEYS, GROUP, *rows, dropped, share, kept)
    after = _lists((rows[0], kept, rows[2]))
    edges, left = ({(i, c >> 1, c & 1) for i, row in enumerate(rows_) for c in row} for rows_ in (before, after))
    assert left < edges
    assert {(a, b) for a, b, kind in left if kind == 0} == {(b, a) for a, b, kind in left if kind == 0}
    for kind in range(2):
        for crosses in range(2):
            those = [[e for e in s if e[2] == kind and (GROUP[e[0]] != GROUP[e[1]]) == crosses] for s in (edges, left)]
            assert abs(len(those[1]) / len(those[0]) - share[kind, crosses]) < 0.06

    packed = np.empty(kept.sum(), np.int32)
    follow_rows.pack(rows[0], kept, rows[2], np.cumsum(kept, dtype=np.int64) - kept, packed)
    assert packed.tolist() == [c >> 1 for row in after for c in row]


def test_a_walk_is_a_product_of_matrices() -> None:
    chosen, offsets, count = _chosen(0.5)
    rows = _rows(chosen, offsets, count[0])
    matrix = np.zeros((N, N))
    for i, row in enumerate(_lists(rows)):
        matrix[i, [c >> 1 for c in row]] = 1 / len(row)
    flow, out = DRAWS.uniform("flow", 0, KEYS), np.zeros(N)
    follow_rows.walk(*rows, flow, out)
    np.testing.assert_allclose(out, flow @ matrix, rtol=1e-12)


def test_closing_follows_are_followees_of_followees() -> None:
    chosen, offsets, count = _chosen(0.5)
    rows = _rows(chosen, offsets, count[0])
    closing = np.full((2, N), 2, np.int32)
    out = np.empty(4 * N, np.int32)
    accept, alike = np.ones((2, N), np.float32), np.full((2, 3), 0.7)
    accept[:, :50] = 0
    follow_draws.close(0, N, np.uint64(8), *_law(), alike, *rows, accept, closing, _offsets(closing), out)
    followees = [{c >> 1 for c in row} for row in _lists(rows)]
    second = [set().union(*(followees[k] for k in mine)) for mine in followees]
    table = out.reshape(N, 4).tolist()
    assert not any(j in followees[i] or j == i for i, row in enumerate(table) for j in row)
    assert np.mean([j in second[i] for i, row in enumerate(table) for j in row]) > 0.97
    assert np.mean([GROUP[j] == GROUP[i] for i, row in enumerate(table) for j in row]) > 0.65
    assert (out < 50).mean() < 0.02  # only by the fall-back
