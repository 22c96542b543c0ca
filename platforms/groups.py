"""Groups: found, join, leave, write to and listen to."""

from __future__ import annotations

from oasis.actions import Action, Outcome
from oasis.kernels import rounds as kernels
from oasis.platforms.round import Round, chain

__all__ = ["judge_groups", "make_groups"]


def judge_groups(round_: Round) -> None:
    """Join and leave, each once; only members write and listen."""
    members, groups = round_.world.group_members, round_.world.groups
    rows = round_.pending(Action.SEND_TO_GROUP, Action.LISTEN_FROM_GROUP)
    inside = members.contains(round_.target[rows], round_.agent[rows])
    round_.accept(round_.refuse(rows, ~inside, Outcome.NOT_MEMBER))
    rows = round_.pending(Action.JOIN_GROUP)
    if len(rows):
        new = members.add(round_.target[rows], round_.agent[rows], round_.step)
        kernels.count(groups["members"], round_.target[rows[new]], 1)
        round_.accept(round_.refuse(rows, ~new, Outcome.DUPLICATE))
    rows = round_.pending(Action.LEAVE_GROUP)
    if len(rows):
        gone = members.discard(round_.target[rows], round_.agent[rows])
        kernels.count(groups["members"], round_.target[rows[gone]], -1)
        round_.accept(round_.refuse(rows, ~gone, Outcome.NOTHING_TO_UNDO))
    round_.accept(round_.pending(Action.CREATE_GROUP))


def make_groups(round_: Round) -> None:
    """Append new groups, their founders being members, and messages."""
    world = round_.world
    rows = round_.accepted(Action.CREATE_GROUP)
    if len(rows):
        founder = round_.agent[rows]
        ids = world.groups.append(len(rows), name=round_.text[rows], creator=founder, step=round_.step, members=1)
        world.group_members.add(ids, founder, round_.step)
        round_.created[rows] = ids
    rows = round_.accepted(Action.SEND_TO_GROUP)
    if len(rows):
        group = round_.target[rows]
        previous = chain(group, len(world.messages), world.groups["last_message"])
        round_.created[rows] = world.messages.append(
            len(rows),
            group=group,
            author=round_.agent[rows],
            step=round_.step,
            text=round_.text[rows],
            previous_in_group=previous,
        )
