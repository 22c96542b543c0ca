"""A batch judged as columns equals the same rows judged one after another by a naive reference."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oasis.actions import OUTSIDE_ACTIONS, READ_ACTIONS, TARGETS, USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind
from oasis.platforms.reddit import Reddit
from oasis.platforms.rules import Rules
from oasis.platforms.x import X
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world.text import normalise_one
from oasis.world.world import World

A, O, K = Action, Outcome, TargetKind  # noqa: E741
NEEDS_TEXT = {A.CREATE_POST, A.QUOTE_POST, A.CREATE_COMMENT, A.SEARCH_POSTS, A.SEARCH_USER}
NEEDS_TEXT |= {A.CREATE_GROUP, A.SEND_TO_GROUP}
POST_VOTES = {A.LIKE_POST: (1, 0), A.UNLIKE_POST: (1, 1), A.DISLIKE_POST: (-1, 0), A.UNDO_DISLIKE_POST: (-1, 1)}
COMMENT_VOTES = {
    A.LIKE_COMMENT: (1, 0),
    A.UNLIKE_COMMENT: (1, 1),
    A.DISLIKE_COMMENT: (-1, 0),
    A.UNDO_DISLIKE_COMMENT: (-1, 1),
}


class Reference:
    """The rules in plain Python: dictionaries and sets, one action at a time, counters counted from the sets."""

    def __init__(self, world: World, hide_above: int) -> None:
        self.hide_above = hide_above
        self.banned = world.users["banned"].tolist()
        names = ("author", "kind", "root", "parent", "step", "hidden", "weight", "base_likes", "base_dislikes")
        self.posts = [
            dict(zip(names, row, strict=True)) for row in zip(*(world.posts[n].tolist() for n in names), strict=True)
        ]
        labels = world.texts.take(world.posts["label"]).to_pylist()
        texts = world.texts.take(world.posts["text"]).to_pylist()
        for post, label, text in zip(self.posts, labels, texts, strict=True):
            post |= {"label": label, "text": text}
        names = ("author", "post", "parent", "step", "base_likes", "base_dislikes")
        columns = (world.comments[n].tolist() for n in names)
        self.comments = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        self.groups = [
            {"creator": c, "step": s}
            for c, s in zip(world.groups["creator"].tolist(), world.groups["step"].tolist(), strict=True)
        ]
        self.messages: list[tuple[int, int]] = []
        self.stock, self.sold = world.products["stock"].tolist(), world.products["sold"].tolist()
        self.purchases = len(world.purchases)
        self.communities = world.texts.take(world.communities["name"]).to_pylist()
        self.follows = {(int(a), int(b)) for a, b, _ in zip(*world.follows.edges(), strict=True)}
        self.mutes, self.reports, self.members = (pairs(world, n) for n in ("mutes", "reports", "group_members"))
        self.reposted = pairs(world, "reposts")
        self.votes = {
            n: {(int(a), int(b)): int(v) for a, b, v in zip(*world[n].items(), strict=True)}
            for n in ("post_reactions", "comment_reactions")
        }

    def lengths(self) -> dict[str, int]:
        return {
            "users": len(self.banned), "posts": len(self.posts), "comments": len(self.comments),
            "groups": len(self.groups), "products": len(self.stock), "communities": len(self.communities),
        }  # fmt: skip

    def visible(self, agent: int, post: int) -> bool:
        row, root = self.posts[post], self.posts[self.posts[post]["root"]]
        shown_with = {row["author"], root["author"]}
        if row["parent"] >= 0 and row["parent"] != row["root"] and self.posts[row["parent"]]["kind"] == 2:
            shown_with.add(self.posts[row["parent"]]["author"])
        if root["hidden"] or any(self.banned[a] or (agent, a) in self.mutes for a in shown_with):
            return False
        reports = sum(1 for _, p in self.reports if p == row["root"])
        return not (self.hide_above and reports > self.hide_above)

    def comment_visible(self, agent: int, comment: int) -> bool:
        author = self.comments[comment]["author"]
        return not self.banned[author] and (agent, author) not in self.mutes

    def judge(
        self, agent: int, action: Action, kind: int, target: int, arg: int, text: str | None,
        step: int, lengths: dict[str, int], allowed: Iterable[Action],
    ) -> tuple[Outcome, int]:  # fmt: skip
        def there(name: str, i: int, rows: list[Any] | None = None, owner: str = "author") -> bool:
            if 0 <= i < lengths[name]:
                return True
            return bool(rows is not None and 0 <= i < len(rows) and rows[i][owner] == agent and rows[i]["step"] == step)

        if not 0 <= agent < len(self.banned):
            return O.NOT_FOUND, -1
        if self.banned[agent]:
            return O.BANNED, -1
        if action not in allowed and action != A.DO_NOTHING:
            return O.NOT_ALLOWED, -1
        if kind != TARGETS[action]:
            return O.WRONG_TARGET, -1
        if kind == K.POST:
            if not there("posts", target, self.posts):
                return O.NOT_FOUND, -1
            if not self.visible(agent, target):
                return O.REMOVED, -1
        if kind == K.COMMENT:
            if not there("comments", target, self.comments):
                return O.NOT_FOUND, -1
            if not (self.visible(agent, self.comments[target]["post"]) and self.comment_visible(agent, target)):
                return O.REMOVED, -1
        if kind == K.USER:
            if not there("users", target):
                return O.NOT_FOUND, -1
            if action in (A.FOLLOW, A.MUTE):
                if target == agent:
                    return O.SELF_TARGET, -1
                if self.banned[target]:
                    return O.REMOVED, -1
        if kind == K.GROUP and not there("groups", target, self.groups, "creator"):
            return O.NOT_FOUND, -1
        if kind == K.PRODUCT and not there("products", target):
            return O.NOT_FOUND, -1
        root = self.posts[target]["root"] if kind == K.POST else -1
        if action == A.REPORT_POST:
            return self.put(self.reports, (agent, root)), -1
        text = None if text is None else normalise_one(text)
        if action in NEEDS_TEXT and (text is None or not text.strip()):
            return O.EMPTY_CONTENT, -1
        return self.act(agent, action, target, root, arg, text, step, lengths, there)

    @staticmethod
    def put(where: set[tuple[int, int]], pair: tuple[int, int]) -> Outcome:
        if pair in where:
            return O.DUPLICATE
        where.add(pair)
        return O.ACCEPTED

    @staticmethod
    def take(where: set[tuple[int, int]], pair: tuple[int, int]) -> Outcome:
        if pair not in where:
            return O.NOTHING_TO_UNDO
        where.remove(pair)
        return O.ACCEPTED

    def act(self, agent, action, target, root, arg, text, step, lengths, there):  # type: ignore[no-untyped-def]
        if action in POST_VOTES or action in COMMENT_VOTES:
            wanted, undo = POST_VOTES.get(action) or COMMENT_VOTES[action]
            votes = self.votes["post_reactions" if action in POST_VOTES else "comment_reactions"]
            pair = (agent, root if action in POST_VOTES else target)
            if undo:
                if votes.get(pair) != wanted:
                    return O.NOTHING_TO_UNDO, -1
                del votes[pair]
            else:
                if votes.get(pair) == wanted:
                    return O.DUPLICATE, -1
                votes[pair] = wanted
            return O.ACCEPTED, -1
        if action in (A.FOLLOW, A.MUTE):
            return self.put(self.follows if action == A.FOLLOW else self.mutes, (agent, target)), -1
        if action in (A.UNFOLLOW, A.UNMUTE):
            return self.take(self.follows if action == A.UNFOLLOW else self.mutes, (agent, target)), -1
        if action == A.JOIN_GROUP:
            return self.put(self.members, (target, agent)), -1
        if action == A.LEAVE_GROUP:
            return self.take(self.members, (target, agent)), -1
        if action in (A.SEND_TO_GROUP, A.LISTEN_FROM_GROUP):
            if (target, agent) not in self.members:
                return O.NOT_MEMBER, -1
            if action == A.LISTEN_FROM_GROUP:
                return O.ACCEPTED, -1
            self.messages.append((target, agent))
            return O.ACCEPTED, len(self.messages) - 1
        if action == A.CREATE_GROUP:
            self.groups.append({"creator": agent, "step": step})
            self.members.add((len(self.groups) - 1, agent))
            return O.ACCEPTED, len(self.groups) - 1
        if action == A.PURCHASE_PRODUCT:
            if 0 <= self.stock[target] <= self.sold[target]:
                return O.SOLD_OUT, -1
            self.sold[target] += 1
            self.purchases += 1
            return O.ACCEPTED, self.purchases - 1
        if action == A.CREATE_COMMENT:
            if arg != -1:
                if not there("comments", arg, self.comments):
                    return O.NOT_FOUND, -1
                if self.comments[arg]["post"] != root:
                    return O.BAD_ARGUMENT, -1
                if not self.comment_visible(agent, arg):
                    return O.REMOVED, -1
            row = {"author": agent, "post": root, "parent": arg, "step": step, "base_likes": 0, "base_dislikes": 0}
            self.comments.append(row)
            return O.ACCEPTED, len(self.comments) - 1
        if action in (A.CREATE_POST, A.REPOST, A.QUOTE_POST):
            if action == A.CREATE_POST and not -1 <= arg < lengths["communities"]:
                return O.NOT_FOUND, -1
            if action == A.REPOST and self.put(self.reposted, (agent, root)) == O.DUPLICATE:
                return O.DUPLICATE, -1
            new = len(self.posts)
            row = {"author": agent, "step": step, "base_likes": 0, "base_dislikes": 0}
            if action == A.CREATE_POST:
                row |= {"kind": 0, "root": new, "parent": -1, "hidden": False, "weight": 1.0, "label": None}
            else:
                row |= {"kind": 1 if action == A.REPOST else 2, "root": root, "parent": target, "hidden": False}
                row |= {name: self.posts[root][name] for name in ("weight", "label")}
            self.posts.append(row | {"text": None if action == A.REPOST else text})
            return O.ACCEPTED, new
        assert action in READ_ACTIONS or action == A.DO_NOTHING
        return O.ACCEPTED, -1

    def outside(
        self, action: Action, kind: int, target: int, arguments: dict[str, Any], step: int
    ) -> tuple[Outcome, int]:
        """Judge one outside action whose arguments are well formed."""
        everything, agent = frozenset(USER_ACTIONS), arguments.get("agent", -1)
        if action in USER_ACTIONS or action in (A.OUTSIDE_FOLLOW, A.OUTSIDE_MUTE, A.COMMENT):
            as_user = {A.OUTSIDE_FOLLOW: A.FOLLOW, A.OUTSIDE_MUTE: A.MUTE, A.COMMENT: A.CREATE_COMMENT}.get(
                action, action
            )
            arg = arguments.get("parent", -1) if as_user == A.CREATE_COMMENT else arguments.get("community", -1)
            outcome, made = self.judge(
                agent, as_user, kind, target, arg, arguments.get("text"), step, self.lengths(), everything
            )
            if action == A.COMMENT and outcome == O.ACCEPTED:
                self.comments[made]["base_likes"] = arguments.get("likes", 0)
            return outcome, made
        if action == A.POST:
            if kind != K.USER:
                return O.WRONG_TARGET, -1
            outcome, made = self.judge(
                target, A.CREATE_POST, K.NONE, -1, -1, arguments["text"], step, self.lengths(), everything
            )
            if outcome == O.ACCEPTED:
                self.posts[made]["base_likes"] = arguments.get("likes", 0)
            return outcome, made
        wanted = K.COMMENT if action == A.SEED_VOTES and kind == K.COMMENT else TARGETS[action]
        if kind != wanted:
            return O.WRONG_TARGET, -1
        rows = {K.POST: self.posts, K.COMMENT: self.comments, K.USER: self.banned}[wanted]
        if not 0 <= target < len(rows):
            return O.NOT_FOUND, -1
        if action in (A.BAN, A.UNBAN):
            if self.banned[target] == (action == A.BAN):
                return (O.DUPLICATE if action == A.BAN else O.NOTHING_TO_UNDO), -1
            self.banned[target] = action == A.BAN
            return O.ACCEPTED, -1
        if wanted == K.COMMENT:
            post, row = self.posts[self.comments[target]["post"]], self.comments[target]
        else:
            post = row = self.posts[self.posts[target]["root"]]
        if action == A.REMOVE_POST:
            if post["hidden"]:
                return O.DUPLICATE, -1
            self.on_all_versions(target, "hidden", True)
            return O.ACCEPTED, -1
        if post["hidden"]:
            return O.REMOVED, -1
        if action == A.SEED_VOTES:
            if not arguments.get("likes"):
                return O.BAD_ARGUMENT, -1
            row["base_likes"] += arguments["likes"]
            return O.ACCEPTED, -1
        name, value = ("label", arguments.get("label")) if action == A.LABEL_POST else ("weight", arguments["weight"])
        if post[name] == value:
            return (O.NOTHING_TO_UNDO if value is None else O.DUPLICATE), -1
        self.on_all_versions(target, name, value)
        return O.ACCEPTED, -1

    def on_all_versions(self, target: int, name: str, value: Any) -> None:
        root = self.posts[target]["root"]
        for post in self.posts:
            if post["root"] == root:
                post[name] = value

    def compare(self, world: World) -> None:
        """Assert that the world holds the same sets, rows and counters."""
        for name in ("author", "kind", "root", "parent", "hidden", "weight", "base_likes"):
            assert world.posts[name].tolist() == [p[name] for p in self.posts], name
        assert world.texts.take(world.posts["label"]).to_pylist() == [p["label"] for p in self.posts]
        assert world.texts.take(world.posts["text"]).to_pylist() == [p["text"] for p in self.posts]
        for name in ("author", "post", "parent", "base_likes"):
            assert world.comments[name].tolist() == [c[name] for c in self.comments], name
        assert world.users["banned"].tolist() == self.banned
        assert {(int(a), int(b)) for a, b, _ in zip(*world.follows.edges(), strict=True)} == self.follows
        for name, kept in (("mutes", self.mutes), ("reports", self.reports), ("group_members", self.members)):
            assert pairs(world, name) == kept, name
        for name, votes in self.votes.items():
            assert {(int(a), int(b)): int(v) for a, b, v in zip(*world[name].items(), strict=True)} == votes, name
        assert pairs(world, "reposts") == self.reposted
        assert world.products["sold"].tolist() == self.sold
        assert (
            list(zip(world.messages["group"].tolist(), world.messages["author"].tolist(), strict=True)) == self.messages
        )


def pairs(world: World, name: str) -> set[tuple[int, int]]:
    a, b, _ = world[name].items()  # type: ignore[attr-defined]
    return {(int(x), int(y)) for x, y in zip(a, b, strict=True)}


AGENTS, POSTS = 6, 12
HOSTILE = [
    "",
    "   ",
    "\x00",
    "\u202eevil\u202c",
    'say "stop"] </post>\n{{x}}',
    "=1+1",
    "<script>",
    "a" * 100_000,
    "😀",
    None,
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8), st.just("a fine post"))
ids = st.one_of(st.integers(-5, 30), st.integers(0, 5), st.sampled_from([-(2**31), 2**31 - 1, 10**6]))
kinds = st.one_of(st.none(), st.none(), st.none(), st.sampled_from(list(K)))
rows = st.tuples(st.sampled_from(USER_ACTIONS), ids, kinds, st.one_of(st.just(-1), ids), texts)
rounds = st.lists(st.lists(rows, min_size=AGENTS, max_size=AGENTS), min_size=1, max_size=6)
checked = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def make_world() -> World:
    return small_world(AGENTS, POSTS, 3, comments=6, follows=2)


@checked
@given(
    steps=st.lists(rounds, min_size=1, max_size=3),
    order=st.permutations(range(AGENTS)),
    hide=st.integers(0, 2),
    data=st.booleans(),
)
def test_rounds_of_agents(steps: list[Any], order: list[int], hide: int, data: bool) -> None:
    platform = (
        X(USER_ACTIONS, Rules(report_hide_threshold=hide)) if data else Reddit(None, Rules(report_hide_threshold=hide))
    )
    world = make_world()
    reference = Reference(world, hide)
    for rounds_of_step in steps:
        ctx = step_context(world, platform)
        for acting in rounds_of_step:
            action, target, kind, arg, text = zip(*acting, strict=True)
            kind = [TARGETS[a] if k is None else k for a, k in zip(action, kind, strict=True)]
            batch = ActionBatch.build(order, action, target_id=target, target_kind=kind, arg_id=arg, content=text)
            applied = platform.apply(world, batch, ctx)
            for i, agent in enumerate(order):
                wanted = reference.judge(
                    agent, action[i], kind[i], target[i], arg[i], text[i], ctx.step, ctx.frozen, platform.actions
                )
                assert (Outcome(applied.outcome[i]), applied.created_id[i]) == wanted, (i, acting[i])
        reference.compare(world)
        check_invariants(world)
        world.step += 1


def _arguments(action: Action) -> st.SearchStrategy[dict[str, Any]]:
    agent, likes = st.integers(-1, AGENTS), st.integers(0, 3)
    text = st.one_of(st.sampled_from([t for t in HOSTILE if t is not None]), st.just("words"))
    if action == A.POST:
        return st.fixed_dictionaries({"text": text}, optional={"likes": likes})
    if action == A.COMMENT:
        return st.fixed_dictionaries(
            {"agent": agent, "text": text}, optional={"likes": likes, "parent": st.integers(0, 9)}
        )
    if action == A.SEED_VOTES:
        return st.fixed_dictionaries({}, optional={"likes": likes})
    if action == A.LABEL_POST:
        return st.fixed_dictionaries({}, optional={"label": st.sampled_from(["false", "missing context"])})
    if action == A.DEMOTE_POST:
        return st.fixed_dictionaries({"weight": st.sampled_from([0.0, 0.5, 1.0])})
    if action in (A.BAN, A.UNBAN, A.REMOVE_POST):
        return st.just({})
    if action in (A.OUTSIDE_FOLLOW, A.OUTSIDE_MUTE):
        return st.fixed_dictionaries({"agent": agent})
    return st.fixed_dictionaries({"agent": agent}, optional={"text": text, "parent": st.integers(0, 9)})


JUDGED = [
    a for a in OUTSIDE_ACTIONS if a not in (A.SIGN_UP, A.INTERVIEW, A.EDIT_PROFILE, A.SWAP_RECOMMENDER, A.ADD_PRODUCT)
]
outside_runs = st.sampled_from([*USER_ACTIONS, *JUDGED]).flatmap(
    lambda action: st.tuples(
        st.just(action),
        st.lists(
            st.tuples(st.one_of(st.integers(-1, 16), st.integers(0, 3)), kinds, _arguments(action)),
            min_size=1,
            max_size=6,
        ),
    )
)


@checked
@given(runs=st.lists(outside_runs, max_size=12), hide=st.integers(0, 2))
def test_outside_rows(runs: list[Any], hide: int) -> None:
    platform = X(None, Rules(report_hide_threshold=hide))
    world = make_world()
    reference = Reference(world, hide)
    listed = [
        (action, target, TARGETS[action] if kind is None else kind, arguments)
        for action, part in runs
        for target, kind, arguments in part
    ]
    actions, targets, target_kinds, arguments = zip(*listed, strict=True) if listed else ((), (), (), ())
    batch = ActionBatch.build(
        np.full(len(listed), -1), np.array(actions, np.int16), target_id=np.array(targets, np.int32),
        target_kind=np.array(target_kinds, np.int8), content=[json.dumps(a) if a else None for a in arguments],
    )  # fmt: skip
    applied = platform.apply_outside(world, batch, step_context(world, platform))
    for i, (action, target, kind, given_) in enumerate(listed):
        if action in USER_ACTIONS or action in (A.COMMENT, A.OUTSIDE_FOLLOW, A.OUTSIDE_MUTE):
            assert "agent" in given_
        wanted = reference.outside(action, kind, target, given_, world.step + 1)
        assert (Outcome(applied.outcome[i]), applied.created_id[i]) == wanted, (i, listed[i])
    reference.compare(world)
    check_invariants(world)


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\u202e", "x" * 100_000, '"]}', "\r\n"])
def test_hostile_texts_are_kept_as_data(text: str) -> None:
    world, platform = make_world(), X()
    batch = ActionBatch.build([0], int(A.CREATE_POST), content=["hello " + text])
    applied = platform.apply(world, batch, step_context(world, platform))
    assert applied.outcome.tolist() == [O.ACCEPTED]
    assert world.texts.get(int(world.posts["text"][-1])) == normalise_one("hello " + text)
    check_invariants(world)
