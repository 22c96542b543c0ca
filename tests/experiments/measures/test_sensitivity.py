"""Similarity of ranked lists against the definitions, on sets and sums."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.errors import InputError
from oasis.experiments.measures import jaccard, rank_biased_overlap, rank_list_sensitivity, rank_lists

K = 6
lists = st.permutations(range(9)).flatmap(lambda order: st.integers(0, K).map(lambda n: list(order[:n])))
pairs = st.lists(st.tuples(lists, lists), min_size=1, max_size=8)


def padded(rows):
    return np.array([[*row, *[-1] * (K - len(row))] for row in rows])


def overlap_by_definition(first, second, p, depth=4000):
    """Sum (1 - p) p^(d - 1) A(d) far down, both lists going on as they agreed so far (Webber et al. 2010, sec. 4.4)."""
    short, long = sorted((first, second), key=len)
    if not short:
        return 1.0 if not long else 0.0
    s, length = len(short), len(long)
    total = 0.0
    for d in range(1, depth):
        x = len(set(short[:d]) & set(long[:d]))
        x_short = len(set(short) & set(long[:s]))
        if d <= s:
            agreement = x / d
        elif d <= length:
            agreement = (x + x_short * (d - s) / s) / d
        else:
            x_long = len(set(short) & set(long))
            agreement = (x_long + x_short * (length - s) / s) / length
        total += (1 - p) * p ** (d - 1) * agreement
    return total


@given(pairs, st.sampled_from([0.5, 0.9]))
def test_overlap_is_its_infinite_sum(rows, p):
    first, second = zip(*rows, strict=True)
    found = rank_biased_overlap(padded(first), padded(second), p)
    depth = 80 if p == 0.5 else 400
    expected = [overlap_by_definition(a, b, p, depth) for a, b in rows]
    assert found == pytest.approx(expected, abs=1e-12)
    assert rank_biased_overlap(padded(second), padded(first), p) == pytest.approx(found, abs=1e-15)


@given(pairs)
def test_jaccard_is_of_sets(rows):
    first, second = zip(*rows, strict=True)
    expected = [len(set(a) & set(b)) / len(set(a) | set(b)) if a or b else 1.0 for a, b in rows]
    assert jaccard(padded(first), padded(second)) == pytest.approx(expected)


def test_extremes():
    a, b = [list(range(10))], [list(range(10, 20))]
    assert rank_biased_overlap(a, a) == pytest.approx([1])
    assert rank_biased_overlap(a, b) == pytest.approx([0])
    # a swap at the top costs more than one at the bottom
    top, bottom = [[1, 0, *range(2, 10)]], [[*range(8), 9, 8]]
    assert rank_biased_overlap(a, top)[0] < rank_biased_overlap(a, bottom)[0] < 1
    assert jaccard(a, top) == [1]
    assert rank_biased_overlap(a, top) == pytest.approx([1 - 0.1])  # all depths agree but the first


def test_many_lists_in_parts_are_as_few():
    generator = np.random.default_rng(0)
    a, b = (np.argsort(generator.random((400, 300)), axis=1) for _ in range(2))
    found = rank_biased_overlap(a, b, 0.98)
    assert found[::50] == pytest.approx(
        [rank_biased_overlap(a[i : i + 1], b[i : i + 1], 0.98)[0] for i in range(0, 400, 50)]
    )


def feed(step, agent, posts, turn=0):
    return [(step, agent, turn, i, post) for i, post in enumerate(posts)]


def impressions(*feeds):
    columns = [
        ("step", pl.Int32),
        ("agent_id", pl.Int32),
        ("turn", pl.Int16),
        ("position", pl.Int16),
        ("post_id", pl.Int32),
    ]
    rows = [row for one in feeds for row in one]
    return pl.LazyFrame(rows[::-1], schema=columns, orient="row")


def test_feeds_are_paired_by_step_and_agent():
    before = impressions(feed(1, 0, [5, 3, 8]), feed(1, 1, [2, 4]), feed(2, 0, [1]), feed(1, 0, [9, 9], turn=1))
    after = impressions(feed(1, 0, [3, 5, 8]), feed(2, 0, [1]), feed(2, 7, [6]))
    first, second, feeds = rank_lists(before, after, k=2)
    assert feeds.rows() == [(1, 0), (1, 1), (2, 0), (2, 7)]
    assert first.tolist() == [[5, 3], [2, 4], [1, -1], [-1, -1]]
    assert second.tolist() == [[3, 5], [-1, -1], [1, -1], [6, -1]]
    found = rank_list_sensitivity(before, after, k=2)
    assert found["feeds"] == 4
    assert found["jaccard"] == pytest.approx((1 + 0 + 1 + 0) / 4)
    assert found["rbo"] == pytest.approx((0.9 + 0 + 1 + 0) / 4)


def test_no_feeds():
    nothing = impressions()
    assert rank_list_sensitivity(nothing, nothing) == {"rbo": None, "jaccard": None, "feeds": 0}


def test_bad_input():
    with pytest.raises(InputError, match="one shape"):
        jaccard([[1, 2]], [[1]])
    with pytest.raises(InputError, match="p must be between"):
        rank_biased_overlap([[1]], [[1]], 1.0)
