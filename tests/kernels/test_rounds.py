"""Kernels of rounds, votes, visibility and characters equal their plain versions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oasis.kernels import characters, pairs, platform, rank, rounds

CODES = st.lists(st.integers(0, 5), max_size=40).map(lambda values: np.array(values, np.int16))


@given(CODES)
def test_group(codes: np.ndarray) -> None:
    starts, order = np.zeros(7, np.int64), np.empty(len(codes), np.int64)
    rank.group(codes, starts, order)
    plain_starts, plain_order = rank.group_numpy(codes, 6)
    np.testing.assert_array_equal(starts, plain_starts)
    np.testing.assert_array_equal(order, plain_order)


@given(CODES, st.lists(st.booleans(), min_size=6, max_size=6), st.data())
def test_select(codes: np.ndarray, wanted: list[bool], data: st.DataObject) -> None:
    states = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=len(codes), max_size=len(codes))), np.int16)
    out = np.empty(len(codes) + 1, np.int64)
    found = out[: rounds.select(codes, np.array(wanted), states, -1, out)]
    np.testing.assert_array_equal(found, rounds.select_numpy(codes, np.array(wanted), states, -1))


@given(st.lists(st.integers(0, 4), max_size=30))
def test_count_and_push(owners: list[int]) -> None:
    rows = np.array(owners, np.int32)
    counter, plain_counter = np.arange(5, dtype=np.int32), np.arange(5, dtype=np.int32)
    rounds.count(counter, rows, -2)
    rounds.count_numpy(plain_counter, rows, -2)
    np.testing.assert_array_equal(counter, plain_counter)
    heads, plain_heads = (np.array([-1, 3, -1, 7, -1], np.int32) for _ in range(2))
    previous = np.empty(len(rows), np.int32)
    rounds.push(rows, 10, heads, previous)
    np.testing.assert_array_equal(previous, rounds.push_numpy(rows, 10, plain_heads))
    np.testing.assert_array_equal(heads, plain_heads)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 1000])
@pytest.mark.parametrize("values", [1, 3, 2**64 - 1])  # many equal draws, and draws in few buckets
def test_sort_draws(count: int, values: int) -> None:
    drawn = np.random.default_rng(count).integers(0, values, count, np.uint64, endpoint=True)
    order = np.empty(count, np.int64)
    rounds.sort_draws(drawn, order)
    np.testing.assert_array_equal(order, rounds.sort_draws_numpy(drawn))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1, 1]), st.booleans()), max_size=8), max_size=9)
)
def test_votes_behave_as_a_dictionary(batches: list[list[tuple[int, int, bool]]]) -> None:
    slots, values = np.full(64, pairs.EMPTY, np.int64), np.zeros(64, np.int32)
    model: dict[int, int] = {}
    for batch in batches:
        rows = list({key: (key, wanted, undo) for key, wanted, undo in batch}.values())
        keys, wanted, undo = (np.array([row[i] for row in rows]) for i in range(3))
        old = np.empty(len(rows), np.int32)
        before = len(model)
        typed = keys.astype(np.int64), wanted.astype(np.int8), undo.astype(np.bool_)
        _, more = pairs.vote(slots, values, *typed, old)
        assert old.tolist() == [model.get(key, 0) for key, _, _ in rows]
        for key, vote, take_back in rows:
            if not take_back:
                model[key] = vote
            elif model.get(key) == vote:
                del model[key]
        assert more == len(model) - before
        found = np.empty(10, np.int64)
        pairs.find(slots, np.arange(10), found)
        assert {key: values[at] for key, at in enumerate(found) if at >= 0} == model


def _columns(rng: np.random.Generator, posts: int, users: int) -> tuple[np.ndarray, ...]:
    root = (rng.random(posts) * np.arange(1, posts + 1)).astype(np.int32)
    parent = np.where(rng.random(posts) < 0.3, -1, rng.integers(0, posts, posts)).astype(np.int32)
    return (
        rng.integers(0, users, posts).astype(np.int32),
        root,
        parent,
        rng.integers(0, 3, posts).astype(np.int8),
        rng.random(posts) < 0.1,
        rng.integers(0, 4, posts).astype(np.int32),
        rng.random(users) < 0.1,
    )


@pytest.mark.parametrize("seed", range(5))
def test_visible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = _columns(rng, 60, 12)
    agents, posts = rng.integers(0, 12, 500).astype(np.int32), rng.integers(0, 60, 500).astype(np.int32)
    keys = np.unique(rng.integers(0, 12, 20) << 32 | rng.integers(0, 12, 20))
    slots, values = np.full(64, pairs.EMPTY, np.int64), np.zeros(64, np.int32)
    pairs.add(slots, values, keys, np.ones(len(keys), np.int32), np.empty(len(keys), np.bool_))
    out = np.empty(500, np.bool_)
    platform.visible(agents, posts, *columns, slots, 2, 2, out)
    plain = platform.visible_numpy(agents, posts, *columns, keys, 2, 2)
    assert 50 < plain.sum() < 450
    np.testing.assert_array_equal(out, plain)


EDGES = (
    "\x00\x08\t\n\x0b\r\x1f ~\x7f\x80\x9f\xa0é\u061b\u061c\u061d\u0800\u200d\u200e\u200f\u2010\u2027\u2028\u202e\u202f"
)
EDGES += "\u2065\u2066\u2069\u206a\u20ac\ufefe\ufeff\uff00\ufffb\ufffc\ufffd😀"


@pytest.mark.parametrize("character", EDGES)
@pytest.mark.parametrize("before", [0, 62, 63, 64])
def test_any_dropped_at_the_edges(character: str, before: int) -> None:
    data = np.frombuffer(("a" * before + character + "b").encode(), np.uint8)
    assert characters.any_dropped(data) == characters.any_dropped_numpy(data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200))
def test_any_dropped(text: str) -> None:
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    assert characters.any_dropped(data) == characters.any_dropped_numpy(data)
