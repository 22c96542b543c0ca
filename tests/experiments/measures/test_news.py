"""Reach and posts of true and false news, step by step."""

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from oasis.experiments.measures import news_labels, news_pairs, posts_over_time, reach_over_time

# roots: 0 true a, 1 false a, 2 true b, 3 false b, 4 no news, 5 true c without a false one
NEWS = [("a", 1), ("a", 0), ("b", 1), ("b", 0), None, ("c", 1)]
ROOT = [0, 1, 2, 3, 4, 5, 0, 0, 1, 4]
KIND = ["original"] * 6 + ["repost", "quote", "repost", "repost"]
STEP = [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
POSTS = pl.LazyFrame(
    {
        "post_id": range(10),
        "root_id": ROOT,
        "kind": pl.Series(KIND, dtype=pl.Categorical),
        "step": pl.Series(STEP, dtype=pl.Int32),
        # a quote's own topic does not matter
        "topic": [*[n and n[0] for n in NEWS], None, "z", None, None],
        "veracity": pl.Series([*[n and n[1] for n in NEWS], None, 0, None, None], dtype=pl.Int8),
    }
)


def shown(rows):
    return pl.LazyFrame(rows, schema=dict.fromkeys(("step", "agent_id", "post_id"), pl.Int64), orient="row")


def test_what_repeats_news_counts_as_its_root():
    labels = news_labels(POSTS).collect().sort("post_id")
    assert labels.rows() == [(p, *NEWS[r]) for p, r in enumerate(ROOT) if NEWS[r]]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 8), st.integers(0, 9)), max_size=60))
def test_reach_equals_a_loop(rows):
    found = reach_over_time(shown(rows), news_labels(POSTS))
    reached, expected = defaultdict(set), {}
    for step, agent, post in sorted(rows):
        news = NEWS[ROOT[post]]
        if news and agent not in reached[news]:
            reached[news].add(agent)
            expected[*news, step] = len(reached[news])
    assert found.rows() == [(*key, reach) for key, reach in sorted(expected.items())]


def test_posts_over_time():
    found = posts_over_time(POSTS, news_labels(POSTS)).rows()
    assert found == [
        ("a", 0, 0, 1, 0, 0),
        ("a", 0, 3, 2, 1, 0),
        ("a", 1, 0, 1, 0, 0),
        ("a", 1, 2, 2, 1, 0),
        ("a", 1, 3, 3, 1, 1),
        ("b", 0, 1, 1, 0, 0),
        ("b", 1, 1, 1, 0, 0),
        ("c", 1, 2, 1, 0, 0),
    ]


def test_pairs_hold_news_that_nobody_saw():
    labels = news_labels(POSTS)
    reach = reach_over_time(shown([(1, 0, 0), (1, 1, 6), (2, 2, 1), (4, 3, 8)]), labels)
    assert news_pairs(reach, labels, "reach").rows() == [("a", 2, 2, 0), ("b", 0, 0, 0)]
    assert news_pairs(reach, labels, "reach", until=3).rows() == [("a", 2, 1, -1), ("b", 0, 0, 0)]
    assert news_pairs(posts_over_time(POSTS, labels), labels, "reposts").rows() == [("a", 1, 1, 0), ("b", 0, 0, 0)]
