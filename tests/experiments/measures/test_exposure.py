"""Exposure, amplification and diversity against plain loops over rows."""

from collections import defaultdict
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.errors import InputError
from oasis.experiments.measures import (
    amplification,
    cross_group_share,
    exposure_table,
    feed_diversity,
    gini,
    post_labels,
)

USERS = pl.LazyFrame({"agent_id": range(6), "group": ["a", "a", "a", "b", "b", None]})
# post 3 repeats 0, post 4 quotes 1, post 5 repeats the quote
POSTS = pl.LazyFrame(
    {
        "post_id": [0, 1, 2, 3, 4, 5, 6],
        "root_id": [0, 1, 2, 0, 1, 1, 6],
        "author_id": [0, 3, 5, 4, 0, 2, 0],
        "topic": ["art", "sport", None, None, None, None, "art"],
    }
)
ROOT = [0, 1, 2, 0, 1, 1, 6]
AUTHOR = {0: 0, 1: 3, 2: 5, 6: 0}
GROUP = ["a", "a", "a", "b", "b", None]
TOPIC = {0: "art", 1: "sport", 2: None, 6: "art"}

rows = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 1), st.one_of(st.none(), st.integers(0, 6))),
    max_size=60,
)


def shown(rows):
    columns = [("step", pl.Int32), ("agent_id", pl.Int32), ("turn", pl.Int16), ("post_id", pl.Int64)]
    return pl.LazyFrame(rows, schema=columns, orient="row")


def test_posts_count_as_their_roots():
    def labels(by):
        return post_labels(POSTS, USERS, by).collect().sort("post_id")["label"].to_list()

    assert labels("post") == ROOT
    assert labels("author") == [AUTHOR[r] for r in ROOT]
    assert labels("topic") == [TOPIC[r] for r in ROOT]
    assert labels("group") == [GROUP[AUTHOR[r]] for r in ROOT]
    with pytest.raises(InputError, match=r"'topics' \(did you mean 'topic'\?\)"):
        labels("topics")


@given(rows)
def test_exposure_equals_a_loop(rows):
    for by, label in (("author", lambda r: AUTHOR[r]), ("group", lambda r: GROUP[AUTHOR[r]])):
        times, who = defaultdict(int), defaultdict(set)
        for _, agent, _, post in rows:
            if post is not None and label(ROOT[post]) is not None:
                times[label(ROOT[post])] += 1
                who[label(ROOT[post])].add(agent)
        every = sorted({label(r) for r in AUTHOR} - {None})
        expected = [(name, times[name], len(who[name])) for name in every]
        assert exposure_table(shown(rows), post_labels(POSTS, USERS, by)).rows() == expected


@given(rows)
def test_cross_group_share_equals_a_loop(rows):
    pairs = [(GROUP[agent], GROUP[AUTHOR[ROOT[post]]]) for _, agent, _, post in rows if post is not None]
    known = [a != b for a, b in pairs if a is not None and b is not None]
    groups = USERS.select("agent_id", label="group")
    found = cross_group_share(shown(rows), post_labels(POSTS, USERS, "group"), groups)
    assert found == (pytest.approx(np.mean(known)) if known else None)


@given(rows)
def test_diversity_equals_a_loop_over_pairs(rows):
    feeds = defaultdict(list)
    for step, agent, turn, post in rows:
        if post is not None and TOPIC[ROOT[post]] is not None:
            feeds[step, agent, turn].append(TOPIC[ROOT[post]])
    each = [np.mean([a != b for a, b in combinations(feed, 2)]) for feed in feeds.values() if len(feed) > 1]
    value, count = feed_diversity(shown(rows), post_labels(POSTS, USERS, "topic"))
    assert count == len(each)
    assert value == (pytest.approx(np.mean(each)) if each else None)


@given(rows, rows, st.sampled_from([1, 2, 3]), st.sampled_from([1.0, 4.0]))
def test_amplification_equals_a_loop(first, second, per_day, ratio):
    def viewers(rows):
        who = defaultdict(set)
        for step, agent, _, post in rows:
            if post is not None and GROUP[AUTHOR[ROOT[post]]] is not None:
                who[GROUP[AUTHOR[ROOT[post]]], (step - 1) // per_day].add(agent)
        return {key: len(value) for key, value in who.items()}

    arm, control = viewers(first), viewers(second)
    expected = [
        (*key, arm.get(key, 0), control.get(key, 0), (arm.get(key, 0) + 1) / (ratio * control.get(key, 0) + 1) - 1)
        for key in sorted(arm.keys() | control.keys())
    ]
    labels = post_labels(POSTS, USERS, "group")
    found = amplification((shown(first), labels), (shown(second), labels), per_day, ratio)
    assert found.columns == ["label", "day", "viewers", "viewers_chronological", "amplification"]
    assert found.rows() == expected


def test_twice_the_viewers_is_an_amplification_of_one():
    labels = post_labels(POSTS, USERS, "post")
    once = shown([(1, agent, 0, 0) for agent in range(2)])
    twice = shown([(1, agent, 0, 0) for agent in range(5)])
    assert amplification((twice, labels), (once, labels), 480)["amplification"].to_list() == [1.0]
    assert amplification((once, labels), (once, labels), 480)["amplification"].to_list() == [0.0]
    with pytest.raises(InputError, match="must be positive"):
        amplification((once, labels), (once, labels), 0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_gini_is_half_the_relative_mean_difference(counts):
    x = np.array(counts, float)
    if x.sum() == 0:
        assert np.isnan(gini(x))
    else:
        assert gini(x) == pytest.approx(np.abs(x[:, None] - x).mean() / (2 * x.mean()), abs=1e-12)


def test_gini_of_extremes():
    assert gini([3, 3, 3]) == pytest.approx(0)
    assert gini([0, 0, 0, 5]) == pytest.approx(0.75)
    assert np.isnan(gini([]))
    with pytest.raises(InputError, match="at least 0"):
        gini([1, -1])
