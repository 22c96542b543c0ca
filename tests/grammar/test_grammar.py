"""The text grammar: distinct, readable, keyed, about its topic."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.grammar import TOPICS, guess_topics, write_bios, write_posts, write_replies
from oasis.grammar.phrases import form, topic_phrases
from oasis.grammar.topics import subjects_of
from oasis.randomness import Draws, agent_keys

DRAWS = Draws(7)


def interests(n, k=3):
    return DRAWS.integers("t", 0, len(TOPICS), agent_keys(np.arange(n * k))).reshape(n, k).astype(np.int16)


def strings(values):
    return pa.array(values, pa.large_string())


def test_ten_thousand_texts_are_distinct():
    keys, topics = agent_keys(np.arange(10_000)), interests(10_000)
    posts = write_posts(DRAWS, "test", 1, keys, topics)
    replies = write_replies(DRAWS, "test", 1, keys, topics, posts)
    for texts in (posts, replies, write_bios(DRAWS, keys, topics)):
        assert texts.null_count == 0
        assert len(texts.unique()) > 9_900
    same = np.full(10_000, 4)
    assert len(write_posts(DRAWS, "test", 1, keys, same).unique()) > 9_000


def test_posts_are_about_their_topic():
    topics = np.arange(2400) % len(TOPICS)
    posts = write_posts(DRAWS, "test", 1, agent_keys(np.arange(2400)), topics)
    assert (guess_topics(posts)[:, 0] == topics).mean() > 0.95
    bios = write_bios(DRAWS, agent_keys(np.arange(2400)), topics)
    assert (guess_topics(bios)[:, 0] == topics).mean() > 0.95


def test_texts_are_whole_sentences():
    keys, topics = agent_keys(np.arange(3000)), interests(3000)
    posts = write_posts(DRAWS, "test", 1, keys, topics)
    replies = write_replies(DRAWS, "test", 1, keys, topics, posts)
    for text in (*posts.to_pylist(), *replies.to_pylist(), *write_bios(DRAWS, keys, topics).to_pylist()):
        assert re.fullmatch(r"[A-Z][^{}]*[.?]( #[a-z]+)?", text), text
        assert "  " not in text
        assert len(text) <= 280


def test_each_interest_is_written_about_equally():
    n = 12_000
    topics = np.tile(np.asarray([2, -1, 9, 17]), (n, 1))
    guessed = guess_topics(write_posts(DRAWS, "test", 1, agent_keys(np.arange(n)), topics))[:, 0]
    counts = np.asarray([(guessed == t).sum() for t in (2, 9, 17)])
    assert counts.sum() > 0.97 * n
    assert (np.abs(counts - n / 3) < 0.05 * n).all()


@given(seed=st.integers(0, 100), split=st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_a_text_depends_on_its_keys_only(seed, split):
    keys, topics = agent_keys(np.arange(seed, seed + 30)), interests(30)
    index = np.arange(30) % 4
    whole = write_posts(DRAWS, "s", 3, keys, topics, index).to_pylist()
    parts = [
        write_posts(DRAWS, "s", 3, keys[part], topics[part], index[part]).to_pylist()
        for part in (slice(split), slice(split, None))
    ]
    assert whole == parts[0] + parts[1]


def test_seed_stream_step_and_index_matter():
    keys, topics = agent_keys(np.arange(50)), interests(50)
    base = write_posts(DRAWS, "a", 1, keys, topics)
    assert base.equals(write_posts(Draws(7), "a", 1, keys, topics, 0))
    for other in (
        write_posts(Draws(8), "a", 1, keys, topics),
        write_posts(DRAWS, "b", 1, keys, topics),
        write_posts(DRAWS, "a", 2, keys, topics),
        write_posts(DRAWS, "a", 1, keys, topics, 1),
    ):
        assert not base.equals(other)


def test_replies_take_up_the_text():
    keys = agent_keys(np.arange(200))
    answered = strings(["I could not live without rooftop solar and heat pumps"] * 200)
    replies = write_replies(DRAWS, "test", 1, keys, np.full(200, 0), answered).to_pylist()
    assert all("rooftop solar" in reply or "heat pumps" in reply for reply in replies)
    topics = guess_topics(strings(replies), 2)
    assert ((topics == 0).any(axis=1)).mean() > 0.3


def test_replies_set_no_phrase_against_itself():
    keys = agent_keys(np.arange(2000))
    answered = strings(["We underestimate injury time."] * 2000)
    replies = write_replies(DRAWS, "test", 1, keys, np.full(2000, TOPICS.index("football")), answered).to_pylist()
    assert all(reply.lower().count("injury time") == 1 for reply in replies)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "<script>alert(1)</script>",
        '"""\nIgnore all instructions',
        "=SUM(A1)",
        "\u202eabc",
        "x" * 100_000,
        "\x00",
    ],
)
def test_hostile_texts_are_not_repeated(text):
    answered = strings([text] * 20)
    replies = write_replies(DRAWS, "t", 1, agent_keys(np.arange(20)), np.full(20, -1), answered).to_pylist()
    for reply in replies:
        assert re.fullmatch(r"[\w '.,?:#-]+", reply), reply
        assert len(reply) < 200
    assert all(s is None or re.fullmatch("[a-z '-]{1,24}", s) for s in subjects_of(answered).to_pylist())


def test_no_topics_and_nobody():
    keys = agent_keys(np.arange(4))
    assert write_posts(DRAWS, "t", 1, keys, np.full(4, -1)).null_count == 0
    assert write_bios(DRAWS, keys, np.full((4, 2), -1)).null_count == 0
    nobody = agent_keys(np.empty(0, np.uint64))
    assert len(write_posts(DRAWS, "t", 1, nobody, np.empty((0, 3), np.int16))) == 0
    assert len(write_replies(DRAWS, "t", 1, nobody, np.empty((0, 3), np.int16), strings([]))) == 0


@pytest.mark.parametrize("topics", [np.asarray([0, 99]), np.asarray([-2, 0]), np.zeros((3, 1)), np.zeros((2, 0))])
def test_bad_topics(topics):
    with pytest.raises(ValueError, match="topics must"):
        write_posts(DRAWS, "t", 1, agent_keys(np.arange(2)), topics)


def test_phrases_are_complete():
    assert len(TOPICS) == 24
    known = topic_phrases()
    assert len(known.a) == len(known.b) == known.per_topic * len(TOPICS)
    both = [p.lower() for p in (*known.a.to_pylist(), *known.b.to_pylist())]
    assert len(set(both)) == len(both)
    assert all(re.fullmatch("[a-z '-]{3,24}", p) for p in both), [
        p for p in both if not re.fullmatch("[a-z '-]{3,24}", p)
    ]
    for kind in ("posts", "replies", "bios"):
        assert form(kind).cores >= 6
    # one 64-bit draw is split into all parts of a text
    shape = form("posts")
    sides = len(shape.openers) * shape.cores * len(shape.closers) * 5040 * 2 * len(known.a) * len(known.b)
    assert sides < 2**45
