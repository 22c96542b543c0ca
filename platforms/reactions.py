"""Likes and dislikes of posts and comments, and reports. On a post they all go to the original."""

from __future__ import annotations

import numpy as np

from oasis.actions import Action, Outcome
from oasis.kernels import rounds as kernels
from oasis.platforms.round import I32, I64, PENDING, Round, rank_within
from oasis.world.relation import Relation
from oasis.world.table import Table

__all__ = ["report", "vote"]

_ON_POSTS = (Action.LIKE_POST, Action.UNLIKE_POST, Action.DISLIKE_POST, Action.UNDO_DISLIKE_POST)
_ON_COMMENTS = (Action.LIKE_COMMENT, Action.UNLIKE_COMMENT, Action.DISLIKE_COMMENT, Action.UNDO_DISLIKE_COMMENT)
_VOTE = np.zeros(max(_ON_COMMENTS) + 1, np.int8)
_UNDO = np.zeros(max(_ON_COMMENTS) + 1, np.bool_)
for _like, _unlike, _dislike, _undislike in (_ON_POSTS, _ON_COMMENTS):
    _VOTE[[_like, _unlike]], _VOTE[[_dislike, _undislike]] = 1, -1
    _UNDO[[_unlike, _undislike]] = True


def vote(round_: Round) -> None:
    """Like, dislike and take back; voting the other way moves the vote."""
    world = round_.world
    _vote(round_, _ON_POSTS, world.post_reactions, world.posts, round_.root)
    _vote(round_, _ON_COMMENTS, world.comment_reactions, world.comments, round_.target)


def _vote(round_: Round, actions: tuple[Action, ...], votes: Relation, table: Table, targets: I32) -> None:
    rows = round_.pending(*actions)
    if not len(rows):
        return
    code, target = round_.action[rows], targets[rows]
    wanted, undo = _VOTE[code], _UNDO[code]
    old = votes.vote(round_.agent[rows], target, wanted, undo)
    same = old == wanted
    round_.refuse(rows, same & ~undo, Outcome.DUPLICATE)
    round_.refuse(rows, ~same & undo, Outcome.NOTHING_TO_UNDO)
    done = same == undo
    for side, counter in ((1, "likes"), (-1, "dislikes")):
        kernels.count(table[counter], target[done & ~undo & (wanted == side)], 1)
        kernels.count(table[counter], target[done & (old == side)], -1)
    round_.accept(rows[done])


def report(round_: Round, report_hide_threshold: int) -> None:
    """Report a post, once each; above the threshold the post is hidden from the rows after it."""
    world = round_.world
    rows = round_.pending(Action.REPORT_POST)
    if not len(rows):
        return
    again = world.reports.contains(round_.agent[rows], round_.root[rows])
    if report_hide_threshold:
        first = rows[~again]
        root = round_.root[first]
        reports = world.posts["reports"][root] + rank_within(root)
        last = first[reports == report_hide_threshold]  # the report that hides its post
        _hide_after(round_, last)
    round_.refuse(rows, again & (round_.outcome[rows] == PENDING), Outcome.DUPLICATE)
    rows = round_.pending(Action.REPORT_POST)
    world.reports.add(round_.agent[rows], round_.root[rows], round_.step)
    kernels.count(world.posts["reports"], round_.root[rows], 1)
    round_.accept(rows)


def _hide_after(round_: Round, last: I64) -> None:
    """Refuse the rows on a post that come after the report in `last` that hid it."""
    if not len(last):
        return
    last = last[np.argsort(round_.root[last])]
    hidden = round_.root[last]
    rows = np.flatnonzero((round_.outcome == PENDING) & (round_.root >= 0))
    at = np.minimum(np.searchsorted(hidden, round_.root[rows]), len(hidden) - 1)
    late = (hidden[at] == round_.root[rows]) & (rows > last[at])
    round_.refuse(rows, late, Outcome.REMOVED)
