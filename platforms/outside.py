"""What comes from outside, in row order, each row seeing what the rows before it did.

Rows of one kind that follow each other are done together as far as none of them can change how another is judged;
where one could, the run is cut there. Arguments are JSON per row, so rows are read one by one; what they do is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.actions import OUTSIDE_ACTIONS, TARGETS, USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind
from oasis.interfaces import Applied
from oasis.outside_arguments import parse
from oasis.platforms import moderation, profiles
from oasis.platforms.purchases import add_products
from oasis.platforms.round import I64, PENDING
from oasis.platforms.texts import SharedTexts
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = ["UserActions", "apply_outside"]

UserActions = Callable[[ActionBatch, Mapping[str, int]], Applied]
"""Judges and applies user actions on behalf of agents, given how many rows of each table exist."""

_AS_USER = {
    Action.POST: Action.CREATE_POST,
    Action.COMMENT: Action.CREATE_COMMENT,
    Action.OUTSIDE_FOLLOW: Action.FOLLOW,
    Action.OUTSIDE_MUTE: Action.MUTE,
}
_REPEATABLE = frozenset(
    {
        Action.CREATE_POST,
        Action.QUOTE_POST,
        Action.CREATE_COMMENT,
        Action.CREATE_GROUP,
        Action.SEND_TO_GROUP,
        Action.PURCHASE_PRODUCT,
    }
)
"""User actions whose repetition by one agent on one target is judged like the first time."""
_MAKES = {
    Action.REPOST: "posts",
    Action.QUOTE_POST: "posts",
    Action.CREATE_COMMENT: "comments",
}
"""Actions that make what the same action can aim at (a comment answers comments)."""
_NOWHERE = -2  # an id that names nothing, for numbers that no id can hold

_Handler = Callable[[World, ActionBatch, Sequence[int], Sequence[Any], int, Applied], None]
_HANDLERS: dict[Action, _Handler] = {
    Action.SIGN_UP: profiles.sign_up,
    Action.EDIT_PROFILE: profiles.edit,
    Action.BAN: moderation.ban,
    Action.UNBAN: moderation.unban,
    Action.SEED_VOTES: moderation.seed_votes,
    Action.LABEL_POST: moderation.label,
    Action.DEMOTE_POST: moderation.demote,
    Action.REMOVE_POST: moderation.remove,
    Action.INTERVIEW: profiles.interview,
    Action.ADD_PRODUCT: add_products,
}


def apply_outside(world: World, batch: ActionBatch, step: int, user_actions: UserActions) -> Applied:
    """Apply a batch of agent -1; see `oasis.interfaces.Platform.apply_outside`."""
    if not len(batch):
        return Applied(np.empty(0, np.int16), np.empty(0, np.int32))
    done = Applied(
        np.where(batch.outcome >= 0, batch.outcome, PENDING).astype(np.int16), np.full(len(batch), -1, np.int32)
    )
    contents = batch.content.to_pylist()
    parsed: dict[tuple[int, str | None], Any] = {}
    for code, run in _runs(batch.action):
        rows, arguments = [], []
        for row in run:
            if done.outcome[row] != PENDING:
                continue
            if code not in _KNOWN:
                done.outcome[row] = Outcome.NOT_ALLOWED
                continue
            key = (code, contents[row])
            if key not in parsed:
                parsed[key] = parse(Action(code), contents[row])
            if parsed[key] is None:
                done.outcome[row] = Outcome.BAD_ARGUMENT
            else:
                rows.append(row)
                arguments.append(parsed[key])
        if not rows:
            continue
        action = Action(code)
        if action == Action.SWAP_RECOMMENDER:
            done.outcome[rows] = Outcome.ACCEPTED
        elif action in _HANDLERS:
            _HANDLERS[action](world, batch, rows, arguments, step, done)
        else:
            _on_behalf(world, batch, rows, arguments, action, user_actions, done)
    return done


_KNOWN = frozenset(int(a) for a in (*USER_ACTIONS, *OUTSIDE_ACTIONS))


def _runs(actions: npt.NDArray[np.int16]) -> Iterator[tuple[int, range]]:
    bounds = np.r_[0, np.flatnonzero(actions[1:] != actions[:-1]) + 1, len(actions)]
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        yield int(actions[start]), range(int(start), int(end))


def _on_behalf(
    world: World,
    batch: ActionBatch,
    rows: Sequence[int],
    arguments: Sequence[Any],
    action: Action,
    user_actions: UserActions,
    done: Applied,
) -> None:
    """Make agents do a user action, `arguments` saying who."""
    as_user = _AS_USER.get(action, action)
    acting, new_community = _acting(world, batch, rows, arguments, action)
    topics = SharedTexts(world, world.posts["topic"]) if action == Action.POST else None
    for part in _segments(world, acting, as_user):
        applied = user_actions(acting.take(part), _lengths(world))
        at = np.asarray(rows)[part]
        done.outcome[at], done.created_id[at] = applied.outcome, applied.created_id
        for number, row in zip(part.tolist(), at.tolist(), strict=True):
            if done.outcome[row] == Outcome.ACCEPTED:
                created = int(done.created_id[row])
                _found_community(world, created, new_community.get(number))
                _add_details(world, action, arguments[number], created, topics)


def _acting(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], action: Action
) -> tuple[ActionBatch, dict[int, str]]:
    """Return the rows as user actions, and the communities to be founded if their post is accepted."""
    as_user = _AS_USER.get(action, action)
    m = len(rows)
    agent, target = np.full(m, -1, np.int64), batch.target_id[rows].astype(np.int64)
    kind, argument = batch.target_kind[rows].copy(), batch.arg_id[rows].astype(np.int64)
    outcome = np.full(m, PENDING, np.int16)
    texts: list[str | None] = [getattr(a, "text", None) for a in arguments]
    new_community: dict[int, str] = {}
    names: dict[str, int] | None = None
    for i, a in enumerate(arguments):
        if action == Action.POST:
            if kind[i] != TargetKind.USER:
                outcome[i] = Outcome.WRONG_TARGET
            agent[i], target[i], kind[i] = target[i], -1, TargetKind.NONE
        else:
            agent[i] = _as_id(a.agent)
        if as_user == Action.CREATE_COMMENT and a.parent is not None:
            argument[i] = _as_id(a.parent)
        community = getattr(a, "community", None)
        if as_user != Action.CREATE_POST or community is None:
            continue
        if isinstance(community, int):
            argument[i] = _as_id(community)
            continue
        names = _community_names(world) if names is None else names
        name = normalise_one(community)
        if not name.strip():
            outcome[i] = Outcome.BAD_ARGUMENT
        elif name in names:
            argument[i] = names[name]
        else:
            new_community[i] = name
    user = ActionBatch.build(
        agent,
        int(as_user),
        target_id=target,
        target_kind=kind,
        arg_id=argument,
        text_id=batch.text_id[rows],
        content=texts,
        outcome=outcome,
    )
    return user, new_community


def _lengths(world: World) -> dict[str, int]:
    tables = {"users": world.users, "posts": world.posts, "comments": world.comments, "groups": world.groups}
    tables |= {"products": world.products, "communities": world.communities}
    return {name: len(table) for name, table in tables.items()}


def _as_id(value: int) -> int:
    return value if -1 <= value < 2**31 else _NOWHERE


def _community_names(world: World) -> dict[str, int]:
    names = world.texts.take(world.communities["name"]).to_pylist() if len(world.communities) else []
    return {name: i for i, name in reversed(list(enumerate(names)))}


def _segments(world: World, batch: ActionBatch, action: Action) -> Iterator[I64]:
    """Cut rows of one action so that within a part no row can change how another is judged."""
    made = _MAKES.get(action)
    roots = world.posts["root"]
    start = 0
    pairs: set[tuple[int, int]] = set()
    length = 0 if made is None else _lengths(world)[made]
    aims = batch.arg_id if action == Action.CREATE_COMMENT else batch.target_id
    for row in range(len(batch)):
        target = int(batch.target_id[row])
        if TARGETS[action] == TargetKind.POST and 0 <= target < len(roots):
            target = int(roots[target])
        pair = (int(batch.agent_id[row]), target)
        repeated = action not in _REPEATABLE and pair in pairs
        fresh = made is not None and length <= aims[row] < length + row - start
        if repeated or fresh:
            yield np.arange(start, row)
            start = row
            pairs.clear()
            roots = world.posts["root"]
            length = 0 if made is None else _lengths(world)[made]
            target = int(batch.target_id[row])
            if TARGETS[action] == TargetKind.POST and 0 <= target < len(roots):
                pair = (pair[0], int(roots[target]))
        pairs.add(pair)
    yield np.arange(start, len(batch))


def _found_community(world: World, post: int, name: str | None) -> None:
    """Put a post into the community of that name, which is founded unless a row before did."""
    if name is None:
        return
    names = _community_names(world)
    if name not in names:
        names[name] = int(world.communities.append(1, name=world.texts.append([name]))[0])
    world.posts["community"][post] = names[name]


def _add_details(world: World, action: Action, arguments: Any, created: int, topics: SharedTexts | None) -> None:
    """Write what only the outside can say about the post or comment that it made."""
    if action not in (Action.POST, Action.COMMENT):
        return
    table = world.posts if action == Action.POST else world.comments
    table["base_likes"][created], table["base_dislikes"][created] = arguments.likes, arguments.dislikes
    if topics is not None:
        topic = normalise_one(arguments.topic or "")
        if topic.strip():
            table["topic"][created] = topics.id(topic)
        if arguments.veracity is not None:
            table["veracity"][created] = int(arguments.veracity)
