"""Each action from outside, its arguments, and repeats judged one after another."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from oasis.actions import TARGETS, USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind
from oasis.platforms.x import X
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

A, O = Action, Outcome  # noqa: E741
OK = O.ACCEPTED


class Outside:
    """A small world and a short way to act on it from outside."""

    def __init__(self, agents: int = 8) -> None:
        self.world: World = small_world(agents, 20, 4, comments=8)
        self.platform = X()

    def do(self, *rows: tuple[Any, ...]) -> list[Outcome]:
        """Apply rows of (action, target, arguments or raw text, target kind) as one batch."""
        actions, targets, arguments, kinds = zip(*rows, strict=True)
        batch = ActionBatch.build(
            np.full(len(rows), -1),
            actions,
            target_id=targets,
            target_kind=[TARGETS.get(a, 0) if k is None else k for a, k in zip(actions, kinds, strict=True)],
            content=[a if a is None or isinstance(a, str) else json.dumps(a) for a in arguments],
        )
        applied = self.platform.apply_outside(self.world, batch, step_context(self.world, self.platform))
        check_invariants(self.world)
        self.created = applied.created_id.tolist()
        return [Outcome(o) for o in applied.outcome]

    def text(self, table: str, column: str, row: int) -> str | None:
        return self.world.texts.get(int(self.world[table][column][row]))  # type: ignore[index]


@pytest.fixture
def out() -> Outside:
    return Outside()


def row(action: Action, target: int = -1, arguments: Any = None, kind: TargetKind | None = None) -> tuple[Any, ...]:
    return action, target, arguments, kind


def test_sign_up(out: Outside) -> None:
    hours = [0.1] * 24
    profile = {"username": "eve", "name": "Eve", "bio": "hi", "persona": "p", "group": "red", "stance": 0.5}
    assert out.do(
        row(A.SIGN_UP, arguments=profile | {"activity": hours}), row(A.SIGN_UP, arguments={"username": "eve"})
    ) == [OK, OK]
    assert out.created == [8, 9]
    users = out.world.users
    assert [out.text("users", c, 8) for c in ("username", "name", "bio", "persona", "group")] == [
        "eve",
        "Eve",
        "hi",
        "p",
        "red",
    ]
    assert users["stance"][8] == np.float32(0.5)
    assert np.isnan(users["stance"][9])
    assert users["joined_step"][8] == 1
    assert np.allclose(users["activity"][8], 0.1)
    assert np.allclose(users["activity"][9], 0.5)
    assert len(out.world.seen) == len(out.world.engaged) == 10
    assert out.do(row(A.OUTSIDE_FOLLOW, 8, {"agent": 9}), row(A.POST, 9, {"text": "first"})) == [OK, OK]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"username": "  "}, O.EMPTY_CONTENT),
        ({}, O.BAD_ARGUMENT),
        ({"username": 3}, O.BAD_ARGUMENT),
        ({"username": "a", "activity": 1.5}, O.BAD_ARGUMENT),
        ({"username": "a", "activity": [0.1] * 23}, O.BAD_ARGUMENT),
        ({"username": "a", "stance": "left"}, O.BAD_ARGUMENT),
        ({"username": "a", "mood": "good"}, O.BAD_ARGUMENT),
    ],
)
def test_sign_up_refused(out: Outside, arguments: Any, wanted: Outcome) -> None:
    before = out.world.state_hash()
    assert out.do(row(A.SIGN_UP, arguments=arguments)) == [wanted]
    assert out.world.state_hash() == before


def test_a_sign_up_has_the_same_key_whoever_else_signs_up() -> None:
    one, two = Outside(), Outside()
    one.do(row(A.SIGN_UP, arguments={"username": "eve"}))
    two.do(row(A.SIGN_UP, arguments={"username": "bob"}), row(A.SIGN_UP, arguments={"username": "eve"}))
    assert one.world.users["key"][8] == two.world.users["key"][9]


def test_first_agent_of_an_empty_world_needs_an_activity() -> None:
    out = Outside(0)
    assert out.do(row(A.SIGN_UP, arguments={"username": "a"})) == [O.BAD_ARGUMENT]
    assert out.do(row(A.SIGN_UP, arguments={"username": "a", "activity": 0.2})) == [OK]


def test_post(out: Outside) -> None:
    arguments = {"text": "news", "topic": "economy", "veracity": False, "community": "fresh", "likes": 5, "dislikes": 2}
    assert (
        out.do(row(A.POST, 3, arguments), row(A.POST, 3, arguments), row(A.POST, 3, {"text": "x", "community": 0}))
        == [OK] * 3
    )
    first, second, third = out.created
    posts = out.world.posts
    assert [posts[c][first] for c in ("author", "veracity", "base_likes", "base_dislikes", "likes")] == [3, 0, 5, 2, 0]
    assert out.text("posts", "topic", first) == "economy"
    assert posts["community"][first] == posts["community"][second] == 2
    assert out.text("communities", "name", 2) == "fresh"
    assert posts["community"][third] == 0
    assert len(out.world.communities) == 3


@pytest.mark.parametrize(
    ("target", "arguments", "kind", "wanted"),
    [
        (99, {"text": "x"}, None, O.NOT_FOUND),
        (-1, {"text": "x"}, None, O.NOT_FOUND),
        (1, {"text": " \x00"}, None, O.EMPTY_CONTENT),
        (1, {}, None, O.BAD_ARGUMENT),
        (1, {"text": None}, None, O.BAD_ARGUMENT),
        (1, {"text": "x", "likes": -1}, None, O.BAD_ARGUMENT),
        (1, {"text": "x", "likes": 10**12}, None, O.BAD_ARGUMENT),
        (1, {"text": "x", "veracity": 7}, None, O.BAD_ARGUMENT),
        (1, {"text": "x", "community": 10**20}, None, O.NOT_FOUND),
        (1, {"text": "x", "community": ""}, None, O.BAD_ARGUMENT),
        (1, {"text": "x"}, TargetKind.POST, O.WRONG_TARGET),
        (1, "not json", None, O.BAD_ARGUMENT),
        (1, "[1]", None, O.BAD_ARGUMENT),
        (1, '{"text":"\\ud800"}', None, O.BAD_ARGUMENT),
        (1, '{"text":NaN}', None, O.BAD_ARGUMENT),
    ],
)
def test_post_refused(out: Outside, target: int, arguments: Any, kind: TargetKind | None, wanted: Outcome) -> None:
    before = out.world.state_hash()
    assert out.do(row(A.POST, target, arguments, kind)) == [wanted]
    assert out.world.state_hash() == before


def test_comment(out: Outside) -> None:
    post = int(out.world.comments["post"][0])
    arguments = {"agent": 2, "text": "no", "parent": 0, "likes": 3, "dislikes": 1}
    assert out.do(row(A.COMMENT, post, arguments)) == [OK]
    made = out.created[0]
    assert [out.world.comments[c][made] for c in ("author", "parent", "base_likes", "base_dislikes")] == [2, 0, 3, 1]
    assert out.do(
        row(A.COMMENT, post, {"agent": 2, "text": "yes", "parent": made}),
        row(A.COMMENT, post, {"agent": 2, "text": "yes", "parent": made + 1}),
    ) == [OK, OK]
    for agent, wanted in (
        (99, O.NOT_FOUND),
        (-1, O.NOT_FOUND),
        (10**30, O.NOT_FOUND),
        ("2", O.BAD_ARGUMENT),
        (None, O.BAD_ARGUMENT),
    ):
        assert out.do(row(A.COMMENT, post, {"agent": agent, "text": "x"})) == [wanted]
    assert out.do(row(A.COMMENT, 999, {"agent": 1, "text": "x"})) == [O.NOT_FOUND]


def test_seed_votes_on_posts_and_comments(out: Outside) -> None:
    version = int(np.flatnonzero(out.world.posts["kind"] > 0)[0])
    root = int(out.world.posts["root"][version])
    before = int(out.world.posts["base_likes"][root])
    votes = row(A.SEED_VOTES, version, {"likes": 4, "dislikes": 1})
    assert out.do(votes, votes) == [OK, OK]
    assert out.world.posts["base_likes"][root] == before + 8
    assert out.do(row(A.SEED_VOTES, 0, {"dislikes": 2}, TargetKind.COMMENT)) == [OK]
    assert out.world.comments["base_dislikes"][0] == 2
    assert out.do(row(A.SEED_VOTES, 0, {}), row(A.SEED_VOTES, 0, {"likes": 1}, TargetKind.USER)) == [
        O.BAD_ARGUMENT,
        O.WRONG_TARGET,
    ]
    billion = row(A.SEED_VOTES, 0, {"likes": 10**9}, TargetKind.COMMENT)
    assert out.do(billion, billion, billion) == [OK, OK, O.BAD_ARGUMENT]


@pytest.mark.parametrize("action", [A.OUTSIDE_FOLLOW, A.OUTSIDE_MUTE])
def test_follow_and_mute(action: Action) -> None:
    out = Outside(40)
    once = row(action, 30, {"agent": 31})
    out.do(row(A.UNFOLLOW, 30, {"agent": 31}))
    assert out.do(
        once,
        once,
        row(action, 30, {"agent": 30}),
        row(action, 30, {"agent": 77}),
        row(action, 77, {"agent": 30}),
        row(action, 30),
    ) == [
        OK,
        O.DUPLICATE,
        O.SELF_TARGET,
        O.NOT_FOUND,
        O.NOT_FOUND,
        O.BAD_ARGUMENT,
    ]


def test_ban_and_unban(out: Outside) -> None:
    assert out.do(row(A.BAN, 1), row(A.BAN, 1), row(A.UNBAN, 1), row(A.UNBAN, 1), row(A.BAN, 50)) == [
        OK,
        O.DUPLICATE,
        OK,
        O.NOTHING_TO_UNDO,
        O.NOT_FOUND,
    ]
    assert out.do(row(A.BAN, 1), row(A.POST, 1, {"text": "x"}), row(A.BAN, 2, {"why": "spam"})) == [
        OK,
        O.BANNED,
        O.BAD_ARGUMENT,
    ]


def test_label_demote_and_remove_reach_all_versions_and_later_ones(out: Outside) -> None:
    version = int(np.flatnonzero(out.world.posts["kind"] > 0)[0])
    root = int(out.world.posts["root"][version])
    family = np.flatnonzero(out.world.posts["root"] == root)
    assert out.do(row(A.LABEL_POST, version, {"label": "disputed"}), row(A.DEMOTE_POST, root, {"weight": 0.25})) == [
        OK,
        OK,
    ]
    assert {out.text("posts", "label", int(p)) for p in family} == {"disputed"}
    assert (out.world.posts["weight"][family] == 0.25).all()
    assert out.do(row(A.QUOTE_POST, root, {"agent": 5, "text": "see"})) == [OK]
    assert out.text("posts", "label", out.created[0]) == "disputed"
    assert out.do(
        row(A.LABEL_POST, root, {"label": "disputed"}),
        row(A.LABEL_POST, root),
        row(A.LABEL_POST, root, {"label": None}),
        row(A.LABEL_POST, root, {"label": " "}),
    ) == [
        O.DUPLICATE,
        OK,
        O.NOTHING_TO_UNDO,
        O.EMPTY_CONTENT,
    ]
    assert out.do(
        row(A.DEMOTE_POST, root, {"weight": 2.0}), row(A.DEMOTE_POST, root), row(A.DEMOTE_POST, root, {"weight": 0.25})
    ) == [
        O.BAD_ARGUMENT,
        O.BAD_ARGUMENT,
        O.DUPLICATE,
    ]
    assert out.do(
        row(A.REMOVE_POST, version),
        row(A.REMOVE_POST, root),
        row(A.SEED_VOTES, root, {"likes": 1}),
        row(A.LABEL_POST, root, {"label": "x"}),
    ) == [
        OK,
        O.DUPLICATE,
        O.REMOVED,
        O.REMOVED,
    ]
    family = np.flatnonzero(out.world.posts["root"] == root)
    assert out.world.posts["hidden"][family].all()


def test_edit_profile(out: Outside) -> None:
    assert out.do(
        row(A.EDIT_PROFILE, 2, {"bio": "new", "group": "green", "stance": -1}), row(A.EDIT_PROFILE, 2, {"bio": "newer"})
    ) == [OK, OK]
    assert (out.text("users", "bio", 2), out.text("users", "group", 2)) == ("newer", "green")
    assert out.world.users["stance"][2] == -1
    assert out.do(row(A.EDIT_PROFILE, 2, {"bio": None, "stance": None})) == [OK]
    assert out.text("users", "bio", 2) is None
    assert np.isnan(out.world.users["stance"][2])
    assert out.do(
        row(A.EDIT_PROFILE, 2), row(A.EDIT_PROFILE, 99, {"bio": "x"}), row(A.EDIT_PROFILE, 2, {"username": "x"})
    ) == [
        O.BAD_ARGUMENT,
        O.NOT_FOUND,
        O.BAD_ARGUMENT,
    ]


def test_what_is_the_engines_is_accepted_without_effect(out: Outside) -> None:
    before = out.world.state_hash()
    assert out.do(
        row(A.INTERVIEW, 1, {"question": "why?"}),
        row(A.INTERVIEW, 99, {"question": "why?"}),
        row(A.SWAP_RECOMMENDER, arguments={"recommender": "hot"}),
    ) == [
        OK,
        O.NOT_FOUND,
        OK,
    ]
    assert out.world.state_hash() == before


def test_products_can_be_added_and_bought(out: Outside) -> None:
    buy = row(A.PURCHASE_PRODUCT, 2, {"agent": 1})
    assert out.do(
        buy,
        row(A.ADD_PRODUCT, arguments={"text": "a kite\u202e", "price": 12.5, "stock": 1, "seller": 3}),
        buy,
        buy,
        row(A.ADD_PRODUCT, arguments={"text": "air"}),
        row(A.ADD_PRODUCT, arguments={"text": " "}),
        row(A.ADD_PRODUCT, arguments={"text": "a", "seller": 99}),
        row(A.ADD_PRODUCT, arguments={"text": "a", "stock": -2}),
        row(A.ADD_PRODUCT, arguments={"text": "a", "price": -1}),
        row(A.ADD_PRODUCT),
    ) == [O.NOT_FOUND, OK, OK, O.SOLD_OUT, OK, O.EMPTY_CONTENT, O.NOT_FOUND, *[O.BAD_ARGUMENT] * 3]
    assert out.created[1:5:3] == [2, 3]
    products = out.world.products
    assert out.text("products", "text", 2) == "a kite"
    got = [products[name][2:].tolist() for name in ("price", "stock", "seller", "sold")]
    assert got == [[12.5, 0.0], [1, -1], [3, -1], [1, 0]]


def test_each_user_action_can_be_made_to_happen(out: Outside) -> None:
    arguments = {"agent": 1, "text": "words"}
    for action in USER_ACTIONS:
        (outcome,) = out.do(row(action, 0, arguments))
        assert outcome not in (O.NOT_ALLOWED, O.BAD_ARGUMENT, O.WRONG_TARGET), action.label
        assert out.do(row(action, 0)) == [O.BAD_ARGUMENT]
    assert out.do(row(A.NO_DECISION, 0, arguments)) == [O.NOT_ALLOWED]


def test_later_rows_see_what_earlier_rows_did(out: Outside) -> None:
    n = len(out.world.posts)
    like, unlike = row(A.LIKE_POST, n, {"agent": 1}), row(A.UNLIKE_POST, n, {"agent": 1})
    assert out.do(like, row(A.POST, 0, {"text": "x"}), like, like, unlike, unlike, like) == [
        O.NOT_FOUND,
        OK,
        OK,
        O.DUPLICATE,
        OK,
        O.NOTHING_TO_UNDO,
        OK,
    ]
    quotes = [row(A.QUOTE_POST, n + 1 + i, {"agent": 2, "text": "q"}) for i in range(-1, 3)]
    assert out.do(*quotes) == [OK] * 4
    assert out.world.posts["parent"][n + 1 : n + 5].tolist() == [n, n + 1, n + 2, n + 3]


def test_reposts_of_a_repost_made_in_the_same_batch_count_as_one_root(out: Outside) -> None:
    post = row(A.POST, 0, {"text": "x"})
    n = len(out.world.posts)
    again = [row(A.REPOST, n, {"agent": 1}), row(A.REPOST, n + 1, {"agent": 2}), row(A.REPOST, n, {"agent": 2})]
    assert out.do(post, *again) == [OK, OK, OK, O.DUPLICATE]


def test_one_agent_many_times_in_one_batch(out: Outside) -> None:
    posts = [row(A.POST, 3, {"text": f"number {i}"}) for i in range(50)]
    comments = [row(A.COMMENT, 0, {"agent": 3, "text": f"number {i}"}) for i in range(50)]
    assert out.do(*posts, *comments) == [OK] * 100
    keys = np.r_[out.world.posts["key"], out.world.comments["key"]]
    assert len(np.unique(keys)) == len(keys)


def test_a_large_batch_is_quick() -> None:
    out = Outside(2000)
    rows = [row(A.OUTSIDE_FOLLOW, 7, {"agent": i}) for i in range(2000)]
    rows += [row(A.SEED_VOTES, i % 20, {"likes": 1}) for i in range(2000)]
    outcomes = out.do(*rows)
    assert outcomes.count(OK) > 3900


def test_decided_rows_are_kept(out: Outside) -> None:
    batch = ActionBatch.build([-1, -1], int(A.BAN), target_id=[1, 2], outcome=[O.OVER_LIMIT, -1])
    applied = out.platform.apply_outside(out.world, batch, step_context(out.world, out.platform))
    assert applied.outcome.tolist() == [O.OVER_LIMIT, OK]
    assert out.world.users["banned"].tolist()[1:3] == [False, True]


def test_labels_topics_and_groups_are_shared_texts_after_a_resume_too() -> None:
    straight, resumed = Outside(), Outside()
    rows = (
        row(A.LABEL_POST, 0, {"label": "disputed"}),
        row(A.POST, 1, {"text": "x", "topic": "economy"}),
        row(A.EDIT_PROFILE, 1, {"group": "green"}),
        row(A.SIGN_UP, -1, {"username": "eve", "group": "red"}),
    )
    for out in (straight, resumed):
        assert out.do(*rows) == [OK] * 4
    for store in resumed.world.stores.values():
        store.load(store.to_arrow())
    again = (row(A.LABEL_POST, 2, {"label": "disputed"}), *rows[1:3], row(A.EDIT_PROFILE, 3, {"group": "red"}))
    for out in (straight, resumed):
        assert out.do(*again) == [OK] * 4
    assert straight.world.state_hash() == resumed.world.state_hash()
    labels = straight.world.posts["label"]
    assert len(set(labels[labels >= 0].tolist())) == 1
