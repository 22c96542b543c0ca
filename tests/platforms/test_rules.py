"""Each rule and each outcome of user actions, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind
from oasis.interfaces import StepContext
from oasis.platforms.base import SocialPlatform
from oasis.platforms.reddit import Reddit
from oasis.platforms.rules import Rules
from oasis.platforms.x import X
from oasis.randomness import agent_keys
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import step_context
from oasis.world.world import World

A, O = Action, Outcome  # noqa: E741
OK = O.ACCEPTED
ANN, BEN, CLEO, DAN = range(4)
RULES = Rules()


@dataclass
class Stage:
    """Four agents; Ann wrote post 0, Ben reposted it (1), Cleo quoted the repost (2); Dan commented on post 0."""

    rules: Rules = RULES
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        texts = self.world.texts.append(["ann", "ben", "cleo", "dan"])
        self.world.add_users(4, key=agent_keys(np.arange(4)), username=texts, activity=np.float32(0.1))
        self.platform: SocialPlatform = X(USER_ACTIONS, self.rules)
        self.next_step()
        assert self.do(ANN, A.CREATE_POST, text="the first post") == OK
        self.next_step()
        assert self.do(BEN, A.REPOST, 0) == OK
        self.next_step()
        assert self.do(CLEO, A.QUOTE_POST, 1, text="so true") == OK
        assert self.do(DAN, A.CREATE_COMMENT, 0, text="hm") == OK
        self.world.products.append(2, stock=[2, -1])
        self.next_step()

    def next_step(self) -> StepContext:
        self.world.step += 1
        self.ctx = step_context(self.world, self.platform)
        return self.ctx

    def do(self, agent: int, action: Action, target: int = -1, text: str | None = None, **further: int) -> Outcome:
        batch = ActionBatch.build([agent], int(action), target_id=target, content=[text], **further)
        before = self.world.state_hash()
        applied = self.platform.apply(self.world, batch, self.ctx)
        check_invariants(self.world)
        self.created = int(applied.created_id[0])
        outcome = Outcome(applied.outcome[0])
        assert outcome == OK or (self.world.state_hash() == before and self.created == -1)
        return outcome

    def outside(self, action: Action, target: int = -1, json: str | None = None) -> Outcome:
        batch = ActionBatch.build([-1], int(action), target_id=target, content=[json])
        return Outcome(self.platform.apply_outside(self.world, batch, self.ctx).outcome[0])

    def post(self, column: str, post: int = 0) -> int:
        return int(self.world.posts[column][post])


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize(
    ("do", "undo", "target"),
    [
        (A.LIKE_POST, A.UNLIKE_POST, 0),
        (A.DISLIKE_POST, A.UNDO_DISLIKE_POST, 0),
        (A.LIKE_COMMENT, A.UNLIKE_COMMENT, 0),
        (A.DISLIKE_COMMENT, A.UNDO_DISLIKE_COMMENT, 0),
        (A.FOLLOW, A.UNFOLLOW, CLEO),
        (A.MUTE, A.UNMUTE, CLEO),
    ],
)
def test_do_and_undo(stage: Stage, do: Action, undo: Action, target: int) -> None:
    assert stage.do(BEN, undo, target) == O.NOTHING_TO_UNDO
    before = stage.world.state_hash()
    assert stage.do(BEN, do, target) == OK
    assert stage.do(BEN, do, target) == O.DUPLICATE
    assert stage.do(BEN, undo, target) == OK
    assert stage.world.state_hash() == before
    assert stage.do(BEN, undo, target) == O.NOTHING_TO_UNDO
    assert stage.do(BEN, do, target) == OK


@pytest.mark.parametrize("later", [False, True])
def test_repeats_are_judged_alike_within_and_across_steps(stage: Stage, later: bool) -> None:
    for action in (A.LIKE_POST, A.REPORT_POST, A.REPOST):
        assert stage.do(DAN, action, 0) == OK
    assert stage.do(DAN, A.FOLLOW, ANN) == OK
    if later:
        stage.next_step()
    for action in (A.LIKE_POST, A.REPORT_POST, A.REPOST):
        assert stage.do(DAN, action, 0) == O.DUPLICATE
    assert stage.do(DAN, A.FOLLOW, ANN) == O.DUPLICATE


@pytest.mark.parametrize(
    ("like", "dislike", "table"),
    [(A.LIKE_POST, A.DISLIKE_POST, "posts"), (A.LIKE_COMMENT, A.DISLIKE_COMMENT, "comments")],
)
def test_voting_the_other_way_moves_the_vote(stage: Stage, like: Action, dislike: Action, table: str) -> None:
    rows = stage.world.posts if table == "posts" else stage.world.comments
    for action, wanted in ((like, (1, 0)), (dislike, (0, 1)), (like, (1, 0))):
        assert stage.do(BEN, action, 0) == OK
        assert (rows["likes"][0], rows["dislikes"][0]) == wanted
    undo_dislike = A.UNDO_DISLIKE_POST if table == "posts" else A.UNDO_DISLIKE_COMMENT
    assert stage.do(BEN, undo_dislike, 0) == O.NOTHING_TO_UNDO


@pytest.mark.parametrize("version", [0, 1, 2])
def test_votes_reports_and_comments_go_to_the_root(stage: Stage, version: int) -> None:
    comments = stage.post("comments")
    for action in (A.LIKE_POST, A.REPORT_POST):
        assert stage.do(DAN, action, version) == OK
    assert stage.do(ANN, A.DISLIKE_POST, version) == OK
    assert stage.do(DAN, A.CREATE_COMMENT, version, text="again") == OK
    assert [stage.post(c) for c in ("likes", "reports", "dislikes", "comments")] == [1, 1, 1, comments + 1]
    assert stage.world.comments["post"][stage.created] == 0
    assert stage.do(DAN, A.LIKE_POST, (version + 1) % 3) == O.DUPLICATE


def test_reposts_and_quotes_count_on_root_and_parent_and_keep_both(stage: Stage) -> None:
    assert [stage.post(c) for c in ("reposts", "quotes")] == [1, 1]
    assert [stage.post(c, 1) for c in ("reposts", "quotes")] == [0, 1]
    assert (stage.post("root", 2), stage.post("parent", 2)) == (0, 1)
    assert stage.do(DAN, A.REPOST, 2) == OK
    assert [stage.post("reposts", p) for p in range(3)] == [2, 0, 1]
    assert (stage.post("root", 3), stage.post("parent", 3)) == (0, 2)
    stage.next_step()
    assert stage.do(ANN, A.QUOTE_POST, 0, text="mine") == OK
    assert stage.post("quotes") == 2


def test_one_repost_per_agent_and_root(stage: Stage) -> None:
    assert stage.do(BEN, A.REPOST, 0) == O.DUPLICATE
    assert stage.do(BEN, A.REPOST, 2) == O.DUPLICATE
    assert stage.do(BEN, A.QUOTE_POST, 0, text="and") == OK
    assert stage.do(BEN, A.QUOTE_POST, 0, text="and") == OK


@pytest.mark.parametrize("action", [A.FOLLOW, A.MUTE])
def test_not_oneself(stage: Stage, action: Action) -> None:
    assert stage.do(BEN, action, BEN) == O.SELF_TARGET


def test_followers_and_following_are_counted(stage: Stage) -> None:
    assert stage.do(BEN, A.FOLLOW, ANN) == OK
    assert (stage.world.users["followers"][ANN], stage.world.users["following"][BEN]) == (1, 1)


@pytest.mark.parametrize("target", [-1, -2, 3, 10**9, -(2**31), 2**32, 2**32 + 1, -(2**32), 2**70])
def test_targets_must_exist(stage: Stage, target: int) -> None:
    for action in (A.LIKE_POST, A.REPOST, A.CREATE_COMMENT):
        assert stage.do(DAN, action, target, text="x") == O.NOT_FOUND


def test_what_others_make_meanwhile_does_not_exist_yet(stage: Stage) -> None:
    assert stage.do(ANN, A.CREATE_POST, text="new") == OK
    new = stage.created
    assert stage.do(BEN, A.LIKE_POST, new) == O.NOT_FOUND
    assert stage.do(ANN, A.LIKE_POST, new) == OK
    assert stage.do(ANN, A.CREATE_COMMENT, new, text="ps") == OK
    answered = stage.created
    assert stage.do(BEN, A.LIKE_COMMENT, answered) == O.NOT_FOUND
    assert stage.do(ANN, A.LIKE_COMMENT, answered) == OK
    assert stage.do(ANN, A.CREATE_GROUP, text="g") == OK
    group = stage.created
    assert stage.do(BEN, A.JOIN_GROUP, group) == O.NOT_FOUND
    assert stage.do(ANN, A.SEND_TO_GROUP, group, text="hello") == OK
    stage.next_step()
    assert stage.do(BEN, A.LIKE_POST, new) == OK
    assert stage.do(BEN, A.JOIN_GROUP, group) == OK


@pytest.mark.parametrize("agent", [-1, 4, 10**6])
def test_agents_must_exist(stage: Stage, agent: int) -> None:
    assert stage.do(agent, A.LIKE_POST, 0) == O.NOT_FOUND


@pytest.mark.parametrize("text", [None, "", "  \n\t ", "\x00\x07", "\u202e"])
def test_words_are_needed(stage: Stage, text: str | None) -> None:
    for action, target in ((A.CREATE_POST, -1), (A.QUOTE_POST, 0), (A.CREATE_COMMENT, 0), (A.CREATE_GROUP, -1)):
        assert stage.do(BEN, action, target, text=text) == O.EMPTY_CONTENT


def test_an_earlier_text_can_be_used_again(stage: Stage) -> None:
    text = stage.post("text")
    assert stage.do(BEN, A.CREATE_POST, text_id=text) == OK
    assert stage.post("text", stage.created) == text
    assert stage.do(BEN, A.CREATE_POST, text_id=10**6) == O.BAD_ARGUMENT


def test_kind_of_target_must_fit(stage: Stage) -> None:
    assert stage.do(BEN, A.LIKE_POST, 0, target_kind=TargetKind.COMMENT) == O.WRONG_TARGET
    assert stage.do(BEN, A.CREATE_POST, 0, text="x", target_kind=TargetKind.POST) == O.WRONG_TARGET


@pytest.mark.parametrize("action", [*USER_ACTIONS, A.BAN, A.NO_DECISION])
def test_only_what_the_scenario_allows(stage: Stage, action: Action) -> None:
    stage.platform = X([A.LIKE_POST])
    outcome = stage.do(BEN, action, 0, text="x")
    assert outcome == (OK if action in (A.LIKE_POST, A.DO_NOTHING) else O.NOT_ALLOWED)


def test_unknown_code_is_not_allowed(stage: Stage) -> None:
    batch = ActionBatch.build([BEN], int(A.LIKE_POST), target_id=0)
    for code in (-5, 33, 30_000):
        batch.action = np.array([code], np.int16)
        assert stage.platform.apply(stage.world, batch, stage.ctx).outcome.tolist() == [O.NOT_ALLOWED]


def test_banned_agents_do_nothing_and_are_not_shown(stage: Stage) -> None:
    assert stage.outside(A.BAN, ANN) == OK
    assert stage.do(ANN, A.CREATE_POST, text="still here") == O.BANNED
    assert stage.do(ANN, A.DO_NOTHING) == O.BANNED
    assert stage.do(BEN, A.LIKE_POST, 0) == O.REMOVED
    assert stage.do(BEN, A.FOLLOW, ANN) == O.REMOVED
    assert stage.outside(A.UNBAN, ANN) == OK
    assert stage.do(ANN, A.CREATE_POST, text="back again") == OK


@pytest.mark.parametrize(("banned", "hidden"), [(ANN, [0, 1, 2, 3]), (BEN, [1]), (CLEO, [2, 3])])
def test_a_ban_hides_posts_versions_and_quotes_inside_quotes(stage: Stage, banned: int, hidden: list[int]) -> None:
    assert stage.do(DAN, A.QUOTE_POST, 2, text="a quote of a quote") == OK
    assert stage.outside(A.BAN, banned) == OK
    seen = stage.platform.visible(stage.world, np.full(4, DAN, np.int32), np.arange(4, dtype=np.int32))
    assert np.flatnonzero(~seen).tolist() == hidden


@pytest.mark.parametrize("action", [A.SEARCH_POSTS, A.SEARCH_USER, A.TREND, A.REFRESH, A.DO_NOTHING])
def test_reading_and_doing_nothing_change_nothing(stage: Stage, action: Action) -> None:
    before = stage.world.state_hash()
    assert stage.do(BEN, action, text="first") == OK
    assert stage.world.state_hash() == before


def test_removed_posts_refuse_everything(stage: Stage) -> None:
    assert stage.outside(A.REMOVE_POST, 1) == OK
    for version in range(3):
        assert stage.post("hidden", version)
        for action in (A.LIKE_POST, A.REPOST, A.QUOTE_POST, A.CREATE_COMMENT, A.REPORT_POST, A.UNLIKE_POST):
            assert stage.do(DAN, action, version, text="x") == O.REMOVED
    assert stage.do(ANN, A.LIKE_COMMENT, 0) == O.REMOVED


@pytest.mark.parametrize(("muted", "hidden"), [(ANN, [0, 1, 2]), (BEN, [1]), (CLEO, [2])])
def test_mute_hides_posts_and_versions(stage: Stage, muted: int, hidden: list[int]) -> None:
    assert stage.do(DAN, A.MUTE, muted) == OK
    posts = np.arange(3, dtype=np.int32)
    seen = stage.platform.visible(stage.world, np.full(3, DAN, np.int32), posts)
    assert np.flatnonzero(~seen).tolist() == hidden
    for post in hidden:
        assert stage.do(DAN, A.LIKE_POST, post) == O.REMOVED
    assert stage.platform.visible(stage.world, np.full(3, ANN, np.int32), posts).all()


def test_mute_hides_a_quote_inside_a_quote(stage: Stage) -> None:
    assert stage.do(BEN, A.QUOTE_POST, 2, text="a quote of a quote") == OK
    nested = np.array([stage.created], np.int32)
    assert stage.platform.visible(stage.world, np.array([DAN], np.int32), nested).all()
    assert stage.do(DAN, A.MUTE, CLEO) == OK
    assert not stage.platform.visible(stage.world, np.array([DAN], np.int32), nested).any()


def test_comments_of_muted_authors_are_out_of_reach(stage: Stage) -> None:
    assert stage.do(BEN, A.MUTE, DAN) == OK
    assert stage.do(BEN, A.LIKE_COMMENT, 0) == O.REMOVED
    assert stage.do(BEN, A.CREATE_COMMENT, 0, text="answer", arg_id=0) == O.REMOVED
    assert stage.do(CLEO, A.CREATE_COMMENT, 0, text="answer", arg_id=0) == OK


def test_an_answer_needs_a_comment_on_the_same_post(stage: Stage) -> None:
    assert stage.do(ANN, A.CREATE_POST, text="another") == OK
    assert stage.do(ANN, A.CREATE_COMMENT, stage.created, text="x", arg_id=0) == O.BAD_ARGUMENT
    assert stage.do(ANN, A.CREATE_COMMENT, 0, text="x", arg_id=99) == O.NOT_FOUND
    assert stage.do(ANN, A.CREATE_COMMENT, 0, text="x", arg_id=-3) == O.NOT_FOUND


def test_a_community_must_exist(stage: Stage) -> None:
    assert stage.do(ANN, A.CREATE_POST, text="x", arg_id=0) == O.NOT_FOUND
    stage.world.communities.append(1, name=stage.world.texts.append(["news"]))
    stage.next_step()
    assert stage.do(ANN, A.CREATE_POST, text="x", arg_id=0) == OK
    assert stage.post("community", stage.created) == 0
    assert stage.do(ANN, A.CREATE_POST, text="x", arg_id=-7) == O.NOT_FOUND


def test_groups(stage: Stage) -> None:
    assert stage.do(ANN, A.CREATE_GROUP, text="chess") == OK
    stage.next_step()
    for action in (A.SEND_TO_GROUP, A.LISTEN_FROM_GROUP):
        assert stage.do(BEN, action, 0, text="x") == O.NOT_MEMBER
    assert stage.do(ANN, A.JOIN_GROUP, 0) == O.DUPLICATE
    assert stage.do(BEN, A.LEAVE_GROUP, 0) == O.NOTHING_TO_UNDO
    assert stage.do(BEN, A.JOIN_GROUP, 0) == OK
    assert stage.world.groups["members"][0] == 2
    assert stage.do(BEN, A.SEND_TO_GROUP, 0, text=" ") == O.EMPTY_CONTENT
    assert stage.do(BEN, A.SEND_TO_GROUP, 0, text="hi") == OK
    assert stage.do(BEN, A.LISTEN_FROM_GROUP, 0) == OK
    assert stage.do(BEN, A.LEAVE_GROUP, 0) == OK
    assert stage.do(BEN, A.SEND_TO_GROUP, 0, text="hi") == O.NOT_MEMBER
    assert stage.do(BEN, A.JOIN_GROUP, 1) == O.NOT_FOUND


def test_stock_ends_inside_one_round_first_come_first_served(stage: Stage) -> None:
    order = [CLEO, ANN, DAN, BEN]
    batch = ActionBatch.build(order, int(A.PURCHASE_PRODUCT), target_id=0)
    outcome = stage.platform.apply(stage.world, batch, stage.ctx).outcome
    assert outcome.tolist() == [OK, OK, O.SOLD_OUT, O.SOLD_OUT]
    assert stage.world.purchases["agent"].tolist() == order[:2]
    batch = ActionBatch.build(order, int(A.PURCHASE_PRODUCT), target_id=1)
    assert stage.platform.apply(stage.world, batch, stage.ctx).outcome.tolist() == [OK] * 4
    check_invariants(stage.world)


def test_reports_warn_and_hide_above_their_thresholds() -> None:
    stage = Stage(Rules(report_warning_threshold=1, report_hide_threshold=1))
    assert stage.do(BEN, A.REPORT_POST, 0) == OK
    assert stage.do(BEN, A.REPORT_POST, 1) == O.DUPLICATE
    assert stage.do(DAN, A.LIKE_POST, 0) == OK
    batch = ActionBatch.build([CLEO, DAN, ANN], [A.REPORT_POST, A.DISLIKE_POST, A.LIKE_COMMENT], target_id=[2, 1, 0])
    assert stage.platform.apply(stage.world, batch, stage.ctx).outcome.tolist() == [OK, O.REMOVED, O.REMOVED]


def test_many_agents_on_one_target_in_one_round(stage: Stage) -> None:
    batch = ActionBatch.build(
        [DAN, BEN, CLEO, ANN],
        [A.LIKE_POST, A.LIKE_POST, A.DISLIKE_POST, A.CREATE_COMMENT],
        target_id=[0, 1, 2, 0],
        content=[None, None, None, "x"],
    )
    assert stage.platform.apply(stage.world, batch, stage.ctx).outcome.tolist() == [OK] * 4
    assert [stage.post(c) for c in ("likes", "dislikes", "comments")] == [2, 1, 2]
    check_invariants(stage.world)


def test_two_posts_of_one_agent_in_one_step_have_two_keys(stage: Stage) -> None:
    for _ in range(2):
        assert stage.do(ANN, A.CREATE_POST, text="the same words") == OK
        assert stage.do(ANN, A.CREATE_COMMENT, 0, text="the same words") == OK
    assert len(np.unique(stage.world.posts["key"])) == len(stage.world.posts)


def test_a_key_does_not_depend_on_what_others_or_the_outside_make() -> None:
    quiet, busy = Stage(), Stage()
    assert busy.outside(A.POST, BEN, '{"text":"seeded"}') == OK
    assert busy.outside(A.POST, ANN, '{"text":"seeded"}') == OK
    busy.ctx = step_context(busy.world, busy.platform, step=busy.ctx.step)
    assert busy.do(CLEO, A.CREATE_POST, text="before") == OK
    for stage in (quiet, busy):
        assert stage.do(ANN, A.CREATE_POST, text="mine") == OK
    assert quiet.world.posts["key"][quiet.created] == busy.world.posts["key"][busy.created]


def test_defaults_of_the_platforms() -> None:
    assert [a.label for a in X().actions] == [
        "create_post",
        "repost",
        "quote_post",
        "like_post",
        "create_comment",
        "follow",
        "do_nothing",
    ]
    assert {a.label for a in Reddit().actions} == set(
        [
            "like_post",
            "dislike_post",
            "create_post",
            "create_comment",
            "like_comment",
            "dislike_comment",
            "search_posts",
            "search_user",
            "trend",
            "refresh",
            "do_nothing",
            "follow",
            "mute",
        ]
    )
    assert (X.personal, Reddit.personal) == (True, False)
    assert (X.default_recommender, Reddit.default_recommender) == ("interest", "hot")
