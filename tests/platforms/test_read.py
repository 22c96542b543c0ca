"""Searching, trends and listening: answers from the frozen world, without what the reader muted."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome
from oasis.interfaces import Source, Views
from oasis.platforms import index
from oasis.platforms.index import WordIndex, words_of
from oasis.platforms.read import first_visible
from oasis.platforms.rules import Rules
from oasis.platforms.x import X
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

A, O = Action, Outcome  # noqa: E741


def read(world: World, platform: X, agents: object, action: object, text: object = None, target: object = -1) -> Views:
    agents = np.atleast_1d(np.asarray(agents))
    content = [text] * len(agents) if text is None or isinstance(text, str) else text
    batch = ActionBatch.build(agents, action, content=content, target_id=target)  # type: ignore[arg-type]
    return platform.read(world, batch, step_context(world, platform))


def found(views: Views, request: int = 0) -> list[int]:
    f = views.feeds
    return f.post_ids[f.offsets[request] : f.offsets[request + 1]].tolist()


def users_found(views: Views, request: int = 0) -> list[int]:
    return views.user_ids[views.user_offsets[request] : views.user_offsets[request + 1]].tolist()


@pytest.fixture
def world() -> World:
    return small_world(20, 80, 2, step=4)


def matching(world: World, word: str) -> set[int]:
    texts = world.texts.take(world.posts["text"]).to_pylist()
    return {i for i, text in enumerate(texts) if text is not None and word in re.findall(r"\w+", text.lower())}


def test_search_posts_finds_what_a_scan_finds(world: World) -> None:
    platform = X(USER_ACTIONS, Rules(search_size=1000))
    for word in ("rain", "RAIN", "market", "and", "nothing"):
        hits = found(read(world, platform, 3, A.SEARCH_POSTS, word))
        roots = world.posts["root"][hits].tolist()
        assert len(set(roots)) == len(roots)
        assert set(hits) <= matching(world, word.lower())
        assert set(roots) == set(world.posts["root"][sorted(matching(world, word.lower()))].tolist())
    views = read(world, platform, [1, 2], A.SEARCH_POSTS, ["rain", "rain"])
    assert found(views, 0) == found(views, 1)
    assert set(views.feeds.sources.tolist()) == {Source.SEARCH}


def test_more_words_come_first_then_score(world: World) -> None:
    platform = X(USER_ACTIONS, Rules(search_size=1000))
    ids = found(read(world, platform, 3, A.SEARCH_POSTS, "rain coffee and"))
    texts = world.texts.take(world.posts["text"][ids]).to_pylist()
    held = [len({"rain", "coffee", "and"} & set(t.split())) for t in texts]
    assert held == sorted(held, reverse=True)
    posts = world.posts
    root = posts["root"][ids]
    score = (posts["likes"] + posts["base_likes"] - posts["dislikes"] - posts["base_dislikes"])[root]
    for many in set(held):
        part = score[np.array(held) == many].tolist()
        assert part == sorted(part, reverse=True)


def test_result_size_is_bounded(world: World) -> None:
    platform = X(USER_ACTIONS, Rules(search_size=4, trend_size=5))
    assert len(found(read(world, platform, 3, A.SEARCH_POSTS, "and"))) == 4
    assert len(users_found(read(world, platform, 3, A.SEARCH_USER, "like"))) == 4
    assert len(found(read(world, platform, 3, A.TREND))) == 5


@pytest.mark.parametrize("action", [A.SEARCH_POSTS, A.TREND])
def test_mutes_bans_and_removals_hold_in_lists(world: World, action: Action) -> None:
    platform = X(USER_ACTIONS, Rules(search_size=1000, trend_size=1000))
    before = found(read(world, platform, 3, action, "and"))
    author = world.posts["author"]
    root = world.posts["root"]
    muted, banned = (int(a) for a in [a for a in dict.fromkeys(author[before].tolist()) if a != 3][:2])
    removed = next(p for p in before if author[p] not in (muted, banned) and author[root[p]] not in (muted, banned))
    ctx = step_context(world, platform)
    platform.apply(world, ActionBatch.build([3], int(A.MUTE), target_id=muted), ctx)
    rows = ActionBatch.build([-1, -1], [A.BAN, A.REMOVE_POST], target_id=[banned, removed])
    platform.apply_outside(world, rows, ctx)
    views = read(world, platform, [3, 5], int(action), ["and", "and"])
    mine, others = found(views, 0), found(views, 1)
    for ids, hidden in ((mine, {muted, banned}), (others, {banned})):
        assert ids
        assert not hidden & set(author[ids].tolist())
        assert not hidden & set(author[root[ids]].tolist())
        assert removed not in ids
    assert muted in author[others]


def test_new_posts_are_found_in_the_next_step(world: World) -> None:
    platform = X(USER_ACTIONS)
    assert found(read(world, platform, 3, A.SEARCH_POSTS, "zebra")) == []
    row = ActionBatch.build([5], int(A.CREATE_POST), content=["A Zebra's life"])
    made = platform.apply(world, row, step_context(world, platform)).created_id.tolist()
    assert found(read(world, platform, 3, A.SEARCH_POSTS, "ZEBRA")) == made


def test_a_world_put_back_is_indexed_anew(world: World) -> None:
    platform = X(USER_ACTIONS)
    posts, texts = copy.deepcopy(world.posts), copy.deepcopy(world.texts)
    row = ActionBatch.build([5], int(A.CREATE_POST), content=["zebra"])
    platform.apply(world, row, step_context(world, platform))
    assert len(found(read(world, platform, 3, A.SEARCH_POSTS, "zebra"))) == 1
    world.posts.load(posts.to_arrow())
    world.texts.load(texts.to_arrow())
    world.users["posts"][5] -= 1
    assert found(read(world, platform, 3, A.SEARCH_POSTS, "zebra")) == []
    row = ActionBatch.build([5], int(A.CREATE_POST), content=["tiger"])
    platform.apply(world, row, step_context(world, platform))
    assert found(read(world, platform, 3, A.SEARCH_POSTS, "zebra")) == []
    assert len(found(read(world, platform, 3, A.SEARCH_POSTS, "tiger"))) == 1


def test_search_user_follows_changed_profiles_and_mutes(world: World) -> None:
    platform = X(USER_ACTIONS)
    assert users_found(read(world, platform, 3, A.SEARCH_USER, "USER5")) == [5]
    assert users_found(read(world, platform, 5, A.SEARCH_USER, "user5")) == []
    rows = ActionBatch.build(
        [-1, -1],
        [A.EDIT_PROFILE, A.SIGN_UP],
        target_id=[7, -1],
        content=['{"bio":"astronaut"}', '{"username":"astronaut"}'],
    )
    platform.apply_outside(world, rows, step_context(world, platform))
    assert sorted(users_found(read(world, platform, 3, A.SEARCH_USER, "astronaut"))) == [7, 20]
    rows = ActionBatch.build([-1], int(A.EDIT_PROFILE), target_id=[7], content=['{"bio":"baker"}'])
    platform.apply_outside(world, rows, step_context(world, platform))
    assert users_found(read(world, platform, 3, A.SEARCH_USER, "astronaut")) == [20]
    platform.apply(world, ActionBatch.build([3], int(A.MUTE), target_id=20), step_context(world, platform))
    assert users_found(read(world, platform, 3, A.SEARCH_USER, "astronaut")) == []
    followers = world.users["followers"] + world.users["base_followers"]
    ranked = followers[users_found(read(world, platform, 3, A.SEARCH_USER, "like"))].tolist()
    assert ranked == sorted(ranked, reverse=True)


def test_trend_is_of_the_last_hours_most_engaged_first(world: World) -> None:
    platform = X(USER_ACTIONS, Rules(trend_size=1000, trend_hours=0.1))
    ids = found(read(world, platform, 3, A.TREND))
    posts = world.posts
    assert ids
    assert (posts["step"][ids] >= 3).all()
    assert (posts["root"][ids] == ids).all()
    names = ("likes", "dislikes", "base_likes", "base_dislikes", "reposts", "quotes", "comments")
    engaged = sum(posts[name] for name in names)[ids].tolist()
    assert engaged == sorted(engaged, reverse=True)
    assert min(engaged) > 0


@pytest.mark.parametrize("candidates", [1, 3])
def test_what_is_far_down_the_trend_list_is_left_out(
    world: World, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = X(USER_ACTIONS, Rules(trend_size=1000))
    whole = found(read(world, platform, 3, A.TREND))
    monkeypatch.setattr("oasis.platforms.search.TREND_CANDIDATES", candidates)
    short = found(read(world, platform, 3, A.TREND))
    assert short
    assert whole[: len(short)] == short
    assert len(short) < len(whole)


def test_listening_hears_the_newest_messages_oldest_first(world: World) -> None:
    platform = X(USER_ACTIONS, Rules(messages_size=3))

    def do(agent: int, action: Action, target: int = -1, text: str | None = None) -> None:
        row = ActionBatch.build([agent], int(action), target_id=target, content=[text])
        assert platform.apply(world, row, step_context(world, platform)).outcome[0] == O.ACCEPTED

    do(1, A.CREATE_GROUP, text="chess")
    for agent in (2, 3):
        do(agent, A.JOIN_GROUP, 0)
    for number in range(5):
        do(1 + number % 3, A.SEND_TO_GROUP, 0, f"move {number}")
    views = read(world, platform, [1, 9, 2], int(A.LISTEN_FROM_GROUP), None, 0)
    assert views.outcomes.tolist() == [O.ACCEPTED, O.NOT_MEMBER, O.ACCEPTED]
    assert views.message_ids.tolist() == [2, 3, 4, 2, 3, 4]
    assert views.message_offsets.tolist() == [0, 3, 3, 6]
    do(1, A.MUTE, 2)
    assert read(world, platform, 1, int(A.LISTEN_FROM_GROUP), None, 0).message_ids.tolist() == [0, 2, 3]


def test_requests_that_are_refused(world: World) -> None:
    platform = X([A.SEARCH_POSTS, A.LISTEN_FROM_GROUP, A.LIKE_POST])
    rows = (
        (A.SEARCH_POSTS, " ", -1, O.EMPTY_CONTENT),
        (A.SEARCH_POSTS, None, -1, O.EMPTY_CONTENT),
        (A.SEARCH_POSTS, "!?", -1, O.ACCEPTED),
        (A.SEARCH_USER, "x", -1, O.NOT_ALLOWED),
        (A.LIKE_POST, None, 0, O.NOT_ALLOWED),
        (A.LISTEN_FROM_GROUP, None, 7, O.NOT_FOUND),
        (A.LISTEN_FROM_GROUP, None, -2, O.NOT_FOUND),
    )
    actions, texts, targets, wanted = zip(*rows, strict=True)
    views = read(world, platform, np.arange(len(rows)), actions, list(texts), targets)
    assert views.outcomes.tolist() == list(wanted)
    assert len(views.feeds.post_ids) == len(views.user_ids) == len(views.message_ids) == 0


def test_a_platform_can_be_sent_to_another_process(world: World) -> None:
    platform = X(USER_ACTIONS)
    wanted = found(read(world, platform, 3, A.SEARCH_POSTS, "rain"))
    other = pickle.loads(pickle.dumps(platform))
    assert found(read(world, other, 3, A.SEARCH_POSTS, "rain")) == wanted


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5), max_size=6), max_size=6),
    st.sets(st.sampled_from("abcdefg")),
)
def test_index_equals_a_scan(parts: list[list[list[str]]], query: set[str]) -> None:
    words = WordIndex()
    documents: list[list[str]] = []
    for part in parts:
        words.append(pa.array([" ".join(d) for d in part], pa.large_string()))
        documents += part
    ids, held = words.match(tuple(sorted(query)))
    wanted = {i: len(query & set(d)) for i, d in enumerate(documents) if query & set(d)}
    assert dict(zip(ids.tolist(), held.tolist(), strict=True)) == wanted
    assert len(words) == len(documents)


def test_a_common_word_brings_in_its_newest_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "CANDIDATES_PER_WORD", 10)
    words = WordIndex()
    for start in range(0, 100, 7):
        words.append(pa.array([f"the number {i}" for i in range(start, start + 7)], pa.large_string()))
    last = len(words)
    ids, held = words.match(words_of("the 3"))
    assert ids.tolist() == [3, *range(last - 10, last)]
    assert held.tolist() == [2] + [1] * 10


def test_words_of_a_query() -> None:
    assert words_of("It's GREAT, it's  Ünïcode 日本 42!") == ("42", "great", "it", "s", "ünïcode", "日本")
    assert words_of("\u202e<>!") == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.permutations(range(12)), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(0, 2**12 - 1),
    st.data(),
)
def test_first_visible_equals_a_loop(orders: list[list[int]], size: int, hidden: int, data: st.DataObject) -> None:
    lists = [(np.array(o, np.int32), np.zeros(12, np.float32)) for o in orders]
    which = np.array(data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=4)), np.int64)
    one_of = np.arange(12, dtype=np.int32) // 2
    agents = np.arange(len(which), dtype=np.int32)

    def visible(a: np.ndarray, ids: np.ndarray) -> np.ndarray:
        return ((hidden >> ids) & 1 == 0) & (ids != a)

    request, entry = first_visible(agents, lists, which, size, visible, one_of)
    got = [lists[which[r]][0][entry[request == r]].tolist() for r in range(len(which))]
    wanted = []
    for r in range(len(which)):
        taken: list[int] = []
        for i in orders[which[r]]:
            if hidden >> i & 1 == 0 and i != r and i // 2 not in {t // 2 for t in taken} and len(taken) < size:
                taken.append(i)
        wanted.append(taken)
    assert got == wanted
