"""Outside actions on posts and accounts: seed votes, label, demote, remove, ban.

What is said about a post is said about its original and all its versions, so that whoever reads either agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oasis.actions import ActionBatch, Outcome, TargetKind
from oasis.interfaces import Applied
from oasis.platforms.texts import SharedTexts
from oasis.world.table import Table
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = ["ban", "demote", "label", "remove", "seed_votes", "unban", "wrong_target"]

_MOST_VOTES = 2 * 10**9
"""Base votes of one row; their sum with counted ones has to fit int32."""


def wrong_target(batch: ActionBatch, row: int, kind: TargetKind, length: int) -> Outcome | None:
    """Return why a row cannot aim at what it names, None if it can."""
    if batch.target_kind[row] != kind:
        return Outcome.WRONG_TARGET
    return None if 0 <= batch.target_id[row] < length else Outcome.NOT_FOUND


def ban(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Ban agents: they never act again, and nothing of theirs is shown."""
    _set_banned(world, batch, rows, done, True)


def unban(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Lift bans."""
    _set_banned(world, batch, rows, done, False)


def _set_banned(world: World, batch: ActionBatch, rows: Sequence[int], done: Applied, to: bool) -> None:
    banned = world.users["banned"]
    for row in rows:
        wrong = wrong_target(batch, row, TargetKind.USER, len(banned))
        if wrong is None and banned[batch.target_id[row]] == to:
            wrong = Outcome.DUPLICATE if to else Outcome.NOTHING_TO_UNDO
        if wrong is None:
            banned[batch.target_id[row]] = to
        done.outcome[row] = Outcome.ACCEPTED if wrong is None else wrong


def seed_votes(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Add to the votes of a post or comment that are shown beside the counted ones."""
    for row, a in zip(rows, arguments, strict=True):
        kind = TargetKind.COMMENT if batch.target_kind[row] == TargetKind.COMMENT else TargetKind.POST
        table: Table = world.comments if kind == TargetKind.COMMENT else world.posts
        wrong = wrong_target(batch, row, kind, len(table))
        target = int(batch.target_id[row])
        if wrong is None:
            post = world.comments["post"][target] if kind == TargetKind.COMMENT else world.posts["root"][target]
            target = target if kind == TargetKind.COMMENT else int(post)
            up, down = int(table["base_likes"][target]) + a.likes, int(table["base_dislikes"][target]) + a.dislikes
            if world.posts["hidden"][post] or table["hidden"][target]:
                wrong = Outcome.REMOVED
            elif not a.likes + a.dislikes or max(up, down) > _MOST_VOTES:
                wrong = Outcome.BAD_ARGUMENT
            else:
                table["base_likes"][target], table["base_dislikes"][target] = up, down
        done.outcome[row] = Outcome.ACCEPTED if wrong is None else wrong


def label(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Put a label on posts, or take it off."""
    values = []
    for a in arguments:
        text = None if a.label is None else normalise_one(a.label)
        values.append(Outcome.EMPTY_CONTENT if text is not None and not text.strip() else text)
    shared = SharedTexts(world, world.posts["label"])
    _set_on_posts(
        world, batch, rows, values, "label", done, lambda text: np.int32(-1) if text is None else shared.id(text)
    )


def demote(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Set the factor on the scores of posts."""
    _set_on_posts(world, batch, rows, [a.weight for a in arguments], "weight", done, np.float32)


def remove(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Hide posts, the original and all its versions, from everybody."""
    _set_on_posts(world, batch, rows, [True] * len(rows), "hidden", done, bool)


def _set_on_posts(
    world: World, batch: ActionBatch, rows: Sequence[int], values: Sequence[Any], column: str, done: Applied, code: Any
) -> None:
    posts = world.posts
    root, kept = posts["root"], posts[column]
    changed = np.zeros(len(posts), np.bool_)
    for row, value in zip(rows, values, strict=True):
        wrong = wrong_target(batch, row, TargetKind.POST, len(posts))
        if wrong is None and isinstance(value, Outcome):
            wrong = value
        if wrong is None:
            post = root[batch.target_id[row]]
            if column != "hidden" and posts["hidden"][post]:
                wrong = Outcome.REMOVED
            elif kept[post] == code(value):
                wrong = Outcome.NOTHING_TO_UNDO if value is None else Outcome.DUPLICATE
            else:
                kept[post] = code(value)
                changed[post] = True
        done.outcome[row] = Outcome.ACCEPTED if wrong is None else wrong
    versions = np.flatnonzero(changed[root])
    kept[versions] = kept[root[versions]]
