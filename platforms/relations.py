"""Following and muting."""

from __future__ import annotations

from oasis.actions import Action, Outcome
from oasis.kernels import rounds as kernels
from oasis.platforms.round import I64, Round

__all__ = ["follow", "mute"]


def follow(round_: Round) -> None:
    """Follow and unfollow, each once."""
    follows = round_.world.follows
    rows = round_.pending(Action.FOLLOW)
    if len(rows):
        new = follows.add(round_.agent[rows], round_.target[rows], round_.step)
        _count(round_, rows[new], 1)
        round_.accept(round_.refuse(rows, ~new, Outcome.DUPLICATE))
    rows = round_.pending(Action.UNFOLLOW)
    if len(rows):
        gone = follows.discard(round_.agent[rows], round_.target[rows])
        _count(round_, rows[gone], -1)
        round_.accept(round_.refuse(rows, ~gone, Outcome.NOTHING_TO_UNDO))


def _count(round_: Round, rows: I64, by: int) -> None:
    users = round_.world.users
    kernels.count(users["following"], round_.agent[rows], by)
    kernels.count(users["followers"], round_.target[rows], by)


def mute(round_: Round) -> None:
    """Mute and unmute, each once."""
    mutes = round_.world.mutes
    rows = round_.pending(Action.MUTE)
    if len(rows):
        new = mutes.add(round_.agent[rows], round_.target[rows], round_.step)
        round_.accept(round_.refuse(rows, ~new, Outcome.DUPLICATE))
    rows = round_.pending(Action.UNMUTE)
    if len(rows):
        gone = mutes.discard(round_.agent[rows], round_.target[rows])
        round_.accept(round_.refuse(rows, ~gone, Outcome.NOTHING_TO_UNDO))
