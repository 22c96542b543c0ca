"""Kernels equal their plain versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.kernels import author_rows, feeds, interests, pairs, rank, tokens
from oasis.kernels.lists import best_numpy
from oasis.kernels.similar import similar
from oasis.randomness import Draws

NONE = np.empty(0, np.int32)
NO_ACTS = (np.full(1, pairs.EMPTY, np.int64),)


def below(name: str, high: int, count: int, seed: int) -> np.ndarray:
    return Draws(seed).integers(name, 0, high, np.arange(count, dtype=np.uint64))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=60))
def test_group(labels: list[int]) -> None:
    rows = np.array(labels, np.int32)
    indptr, out = np.zeros(11, np.int64), np.empty(len(rows), np.int64)
    rank.group(rows, indptr, out)
    wanted = rank.group_numpy(rows, 10)
    assert np.array_equal(indptr, wanted[0])
    assert np.array_equal(out, wanted[1])


@pytest.mark.parametrize("seed", range(10))
def test_rows_of_an_author_stand_by_score(seed: int) -> None:
    rows, authors = 40 * seed * seed, 1 + 3 * (seed % 4)  # from none to thousands of an author
    posts = np.flatnonzero(below("gap", 3, 2 * rows, seed))[:rows].astype(np.int32)
    post_author = below("author", authors, 2 * rows + 1, seed).astype(np.int32)
    post_root = (np.arange(2 * rows + 1) * below("root", 2, 2 * rows + 1, seed)).astype(np.int32)
    scores, ties = (
        below("score", 9, len(posts), seed).astype(float),
        below("tie", 99, len(posts), seed).astype(np.uint64),
    )
    author_ptr = np.r_[0, np.cumsum(np.bincount(post_author[posts], minlength=authors))]
    out = np.empty((len(posts), 4), np.int64)
    for first, last in ((0, authors // 2), (authors // 2, authors)):
        author_rows.pack(author_ptr, posts, post_root, post_author, scores, ties, out, out.view(float), first, last)
        author_rows.sort(author_ptr, out, out.view(float), first, last)
    assert np.array_equal(out, author_rows.author_rows_numpy(posts, post_root, post_author, scores, ties))


def test_logarithms_are_the_c_librarys() -> None:
    values = Draws(1).uniform("log", 0, np.arange(5000, dtype=np.uint64)) * 1e6
    for kernel, plain in ((rank.log, math.log), (rank.log10, math.log10)):
        out = np.empty(len(values))
        kernel(values, out)
        assert out.tolist() == [plain(v) for v in values.tolist()]


def test_pool_tokens_is_exact_in_any_order() -> None:
    table = (
        Draws(2).uniform("t", 0, np.arange(800, dtype=np.uint64)).astype(np.float16).astype(np.float32).reshape(50, 16)
    )
    ids = below("ids", 50, 300, 3).astype(np.int32)
    offsets = np.array([0, 0, 7, 100, 300], np.int64)
    out = np.zeros((4, 16))
    tokens.pool_tokens(table, ids, offsets, out)
    assert np.array_equal(out, tokens.pool_tokens_numpy(table, ids, offsets))
    turned = np.zeros((1, 16))
    tokens.pool_tokens(table, ids[100:300][::-1].copy(), np.array([0, 200]), turned)
    assert np.array_equal(turned[0], out[3])


@pytest.mark.parametrize("seed", range(5))
def test_interests_are_exact(seed: int) -> None:
    vectors = (below("vectors", 255, 40 * 24, seed) - 127).reshape(40, 24).astype(np.int8)
    bio = (below("bio", 41, 60, seed) - 1).astype(np.int32)
    engaged = (below("engaged", 44, 600, seed) - 4).clip(-1).reshape(60, 10).astype(np.int32)
    engaged[:5], bio[:3] = -1, -1
    out = np.empty((60, 24), np.int8)
    interests.add_up(vectors, bio, engaged, 2, out)
    assert np.array_equal(out, interests.add_up_numpy(vectors, bio, engaged, 2))
    assert not out[:3].any()
    assert np.abs(out[5:].astype(int)).max(axis=1).min() == 127


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=20).filter(lambda t: t.isprintable()), min_size=1, max_size=4))
def test_hash_ngrams(texts: list[str]) -> None:
    points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    offsets = np.r_[0, np.cumsum([len(t) for t in texts])].astype(np.int64)
    out = np.zeros((len(texts), 31), np.int64)
    tokens.hash_ngrams(points, offsets, 2, 4, out)
    assert np.array_equal(out, [tokens.hash_ngrams_python(t, 2, 4, 31) for t in texts])


@pytest.mark.parametrize("seed", range(20))
def test_lists_are_the_best_distinct_roots(seed: int) -> None:
    """`followed` over one author's rows, against a sort."""
    rows, width = int(below("rows", 60, 1, seed)[0]), 1 + seed % 9
    posts = np.argsort(below("p", 2**40, rows, seed)).astype(np.int32)
    roots = below("r", 12, rows, seed).astype(np.int32)
    scores = np.sort(below("s", 5, rows, seed).astype(np.float64))[::-1].copy()
    ties = below("t", 3, 12, seed).astype(np.uint64)[roots] if rows else np.empty(0, np.uint64)
    out = np.full((1, width), -1, np.int32)
    got_roots, got_scores, got_ties = out.copy(), np.zeros((1, width)), np.zeros((1, width), np.uint64)
    counts = np.zeros(1, np.int64)
    post_root = np.zeros(rows, np.int32)
    post_root[posts] = roots
    packed = np.empty((rows, 4), np.int64)
    author_ptr = np.array([0, 0, rows])
    author_rows.pack(
        author_ptr, posts, post_root, np.ones(max(12, rows), np.int32), scores, ties, packed, packed.view(float), 0, 2
    )
    feeds.followed(
        author_ptr, packed, packed.view(float), np.array([0, 1]), np.array([1], np.int32),
        np.zeros(1, np.int32), np.zeros(2, np.int64), NONE, np.full((1, 1), -1, np.int32), False, NO_ACTS,
        out, got_roots, got_scores, got_ties, counts,
    )  # fmt: skip
    wanted = best_numpy(posts, roots, scores, ties, width)
    assert out[0, : counts[0]].tolist() == posts[wanted].tolist()
    assert got_scores[0, : counts[0]].tolist() == scores[wanted].tolist()
    assert (out[0, counts[0] :] == -1).all()


@pytest.mark.parametrize("seed", range(52))
def test_similar_finds_the_best_distinct_roots(seed: int) -> None:
    """`similar` over many texts with few distinct scores, against a sort of all rows that an agent may be shown."""
    agents, rows, people = 5, int(below("rows", 400, 1, seed)[0]), 9
    many, every = (150, 60) if seed % 2 else (6, 10)  # texts and roots: few or many versions of a root share a text
    if seed >= 40:  # so many texts that those of likely scores are looked at first
        rows, many, every = 6000, 4000, 12 if seed % 2 else 3000
    width, want_seen = 1 + seed % 11, seed % 4 == 3

    def draw(name: str, high: int, count: int, kind: type = np.int32) -> np.ndarray:
        return below(name, high, count, seed).astype(kind)

    text, root = np.unique(draw("text", many, rows), return_inverse=True)[1], draw("root", every, rows)
    root_author, author = draw("root author", people, every)[root], draw("author", people, rows)
    factor, tie = 0.25 * draw("factor", 4, rows, np.float64), draw("tie", 3, every, np.uint64)[root]
    texts = int(text.max(initial=-1)) + 1
    dots = draw("dot", 7, agents * texts, np.float32).reshape(agents, texts) - 3
    bound, root_best = np.zeros(texts), np.zeros((texts, every))
    np.maximum.at(bound, text, factor)
    place = np.empty(texts, np.int64)
    place[np.argsort(-bound, kind="stable")] = np.arange(texts)
    bound, text = np.sort(bound)[::-1].copy(), place[text]
    np.maximum.at(root_best, (text, root), factor)
    post = np.argsort(below("post", 2**40, rows, seed)).astype(np.int32)
    order = np.lexsort((post, -factor, root, -root_best[text, root], text))
    text, root, root_author, author = text[order], root[order], root_author[order], author[order]
    factor, tie, post = factor[order], tie[order], post[order]
    ends = np.flatnonzero(np.diff(text * every + root, append=-1)) + 1
    follows = [np.unique(draw(f"f{i}", people, 2)) for i in range(agents)]
    mutes = [np.unique(draw(f"m{i}", people, 1 + i % 2)) for i in range(agents)]
    seen = np.sort(draw("seen", every, agents * 20).reshape(agents, 20), axis=1)
    own = np.arange(agents, dtype=np.int32)
    acted_on = draw("acted", every, agents * (1 + every // 4)).reshape(agents, -1)
    acted = np.full(1 << 14, pairs.EMPTY, np.int64)
    pairs.add(
        acted, np.zeros(1 << 14, np.int32), (own[:, None].astype(np.int64) << 32 | acted_on).ravel(),
        np.zeros(acted_on.size, np.int32), np.empty(acted_on.size, np.bool_),
    )  # fmt: skip

    def ptr(lists: list[np.ndarray]) -> np.ndarray:
        return np.r_[0, np.cumsum([len(part) for part in lists])].astype(np.int64)

    posts, roots = np.full((agents, width), -1, np.int32), np.full((agents, width), -1, np.int32)
    scores, ties, counts = np.zeros((agents, width)), np.zeros((agents, width), np.uint64), np.zeros(agents, np.int64)
    similar(
        dots, bound, np.r_[0, np.cumsum(np.bincount(text, minlength=texts))].astype(np.int64),
        np.repeat(ends, np.diff(ends, prepend=0)), post, root, author, root_author, factor, tie,
        ptr(follows), np.concatenate(follows), own, ptr(mutes), np.concatenate(mutes), seen, want_seen, (acted,),
        posts, roots, scores, ties, counts,
    )  # fmt: skip
    for i in range(agents):
        score = dots[i, text].astype(np.float64) * factor
        barred = [i, *mutes[i]]
        may = (score > 0) & (np.isin(root, seen[i]) == want_seen) & ~np.isin(author, follows[i])
        may &= ~np.isin(root, acted_on[i])
        may &= ~np.isin(author, barred) & ~np.isin(root_author, barred)
        at = np.flatnonzero(may)
        at = at[best_numpy(post[at], root[at], score[at], tie[at], width)]
        assert posts[i, : counts[i]].tolist() == post[at].tolist()
        assert scores[i, : counts[i]].tolist() == score[at].tolist()
        assert roots[i, : counts[i]].tolist() == root[at].tolist()
        assert (posts[i, counts[i] :] == -1).all()


@pytest.mark.parametrize("seed", range(9))
def test_kth_largest_is_that_of_a_sort(seed: int) -> None:
    n = 30_000
    drawn = Draws(seed).uniform("values", 0, np.arange(n, dtype=np.uint64))
    values = {
        0: drawn * 10.0 ** (seed - 4) - 3.0,  # all differ
        1: np.round(drawn, 1 + seed % 3) + 17_000.0,  # many are equal
        2: np.where(drawn < 0.9, 1.0, np.nextafter(1.0, 2.0)) + (seed > 5) * (drawn > 0.9999) * 1e300,
    }[seed % 3]
    for k in (1, 2, 512, 10_000, n - 1, n):
        assert rank.kth_largest(values, k) == np.sort(values)[::-1][k - 1]
