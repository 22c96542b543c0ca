"""Who may act, and on what: the checks that come before any rule of a single action."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oasis.actions import READ_ACTIONS, TARGETS, USER_ACTIONS, Action, Outcome, TargetKind
from oasis.platforms.round import PENDING, Round
from oasis.platforms.visibility import comments_visible

__all__ = ["judge_agents", "judge_targets"]

_KIND_OF = np.full(max(Action) + 1, -1, np.int8)
_KIND_OF[list(USER_ACTIONS)] = [TARGETS[a] for a in USER_ACTIONS]


def _on(kind: TargetKind) -> tuple[Action, ...]:
    return tuple(a for a in USER_ACTIONS if TARGETS[a] == kind)


_ON_POST, _ON_COMMENT, _ON_USER = _on(TargetKind.POST), _on(TargetKind.COMMENT), _on(TargetKind.USER)
_ON_GROUP, _ON_PRODUCT = _on(TargetKind.GROUP), _on(TargetKind.PRODUCT)


def judge_agents(round_: Round, allowed: Iterable[Action]) -> None:
    """Refuse unknown and banned agents, actions that are not allowed, and targets of the wrong kind."""
    users = round_.world.users
    rows = np.flatnonzero(round_.outcome == PENDING)
    agents = round_.agent[rows]
    rows = round_.refuse(rows, (agents < 0) | (agents >= len(users)), Outcome.NOT_FOUND)
    rows = round_.refuse(rows, users["banned"][round_.agent[rows]], Outcome.BANNED)
    permitted = np.zeros(max(Action) + 1, np.bool_)
    permitted[[*allowed, Action.DO_NOTHING]] = True
    codes = round_.action[rows].astype(np.int64)
    known = (codes >= 0) & (codes <= max(Action))
    rows = round_.refuse(rows, ~(known & permitted[np.where(known, codes, 0)]), Outcome.NOT_ALLOWED)
    wanted = _KIND_OF[round_.action[rows]]
    round_.refuse(rows, round_.target_kind[rows] != wanted, Outcome.WRONG_TARGET)


def judge_targets(round_: Round) -> None:
    """Refuse targets that do not exist for the agent, that it may not see, and acting on oneself."""
    _posts(round_)
    _comments(round_)
    _users(round_)
    for actions, table, owner in ((_ON_GROUP, "groups", "creator"), (_ON_PRODUCT, "products", None)):
        rows = round_.pending(*actions)
        round_.refuse(rows, ~round_.exists(rows, round_.target[rows], table, owner), Outcome.NOT_FOUND)


def _posts(round_: Round) -> None:
    rows = round_.pending(*_ON_POST)
    rows = round_.refuse(rows, ~round_.exists(rows, round_.target[rows], "posts", "author"), Outcome.NOT_FOUND)
    posts = round_.target[rows]
    round_.root[rows] = round_.world.posts["root"][posts]
    round_.refuse(rows, ~round_.visible(round_.agent[rows], posts), Outcome.REMOVED)


def _comments(round_: Round) -> None:
    rows = round_.pending(*_ON_COMMENT)
    rows = round_.refuse(rows, ~round_.exists(rows, round_.target[rows], "comments", "author"), Outcome.NOT_FOUND)
    comments, agents = round_.target[rows], round_.agent[rows]
    posts = round_.world.comments["post"][comments]
    round_.root[rows] = posts
    seen = round_.visible(agents, posts) & comments_visible(round_.world, agents, comments)
    round_.refuse(rows, ~seen, Outcome.REMOVED)


def _users(round_: Round) -> None:
    rows = round_.pending(*_ON_USER)
    round_.refuse(rows, ~round_.exists(rows, round_.target[rows], "users"), Outcome.NOT_FOUND)
    rows = round_.pending(Action.FOLLOW, Action.MUTE)
    rows = round_.refuse(rows, round_.target[rows] == round_.agent[rows], Outcome.SELF_TARGET)
    round_.refuse(rows, round_.world.users["banned"][round_.target[rows]], Outcome.REMOVED)


def accept_reading(round_: Round) -> None:
    """Accept what changes nothing: doing nothing, and reading (which `read` answers)."""
    round_.accept(round_.pending(Action.DO_NOTHING, *sorted(READ_ACTIONS)))
