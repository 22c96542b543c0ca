"""Outside actions on agents: sign up, edit a profile, be interviewed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oasis.actions import ActionBatch, Outcome, TargetKind
from oasis.interfaces import Applied
from oasis.platforms.moderation import wrong_target
from oasis.platforms.texts import SharedTexts
from oasis.randomness import Lane, derive_keys, text_key
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = ["edit", "interview", "sign_up"]

_HOURS = 24


class _Texts:
    """Texts of a batch, each appended once; null and blank ones are "no text"."""

    def __init__(self, world: World) -> None:
        self._pool = world.texts
        self._ids: dict[str, int] = {}
        self._groups = SharedTexts(world, world.users["group"])

    def id(self, text: str | None, group: bool = False) -> int:
        clean = normalise_one(text or "")
        if not clean.strip():
            return -1
        if group:
            return self._groups.id(clean)
        if clean not in self._ids:
            self._ids[clean] = int(self._pool.append([clean])[0])
        return self._ids[clean]


def sign_up(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Add agents. Their keys follow from user name and step, so a sign-up shifts no draw of anybody else.

    Without an activity of its own a new agent has the mean activity of those there are, hour by hour; where there is
    none to take a mean of, it needs one.
    """
    texts = _Texts(world)
    users = world.users
    mean = users["activity"].mean(axis=0, dtype=np.float64) if len(users) else None
    taken: dict[str, int] = {}
    for name in world.texts.take(users["username"][users["joined_step"] == step]).to_pylist():
        taken[name] = taken.get(name, 0) + 1
    accepted, keys, profiles, activity = [], [], [], []
    for row, a in zip(rows, arguments, strict=True):
        username = normalise_one(a.username)
        hours = mean if a.activity is None else np.broadcast_to(np.asarray(a.activity, np.float64), (_HOURS,))
        if not username.strip() or hours is None:
            done.outcome[row] = Outcome.EMPTY_CONTENT if not username.strip() else Outcome.BAD_ARGUMENT
            continue
        index = taken[username] = taken.get(username, 0) + 1
        keys.append(derive_keys(np.array([text_key(username)]), step, Lane.OUTSIDE, index - 1)[0])
        accepted.append(row)
        activity.append(hours)
        profiles.append(
            (texts.id(username), texts.id(a.name), texts.id(a.bio), texts.id(a.persona), texts.id(a.group, True))
            + (np.nan if a.stance is None else a.stance,)
        )
    if accepted:
        names = ("username", "name", "bio", "persona", "group", "stance")
        columns = dict(zip(names, zip(*profiles, strict=True), strict=True))
        done.created_id[accepted] = world.add_users(
            len(accepted), key=np.array(keys), activity=np.array(activity), joined_step=step, **columns
        )
        done.outcome[accepted] = Outcome.ACCEPTED


def edit(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Change what is named of a profile; null or blank clears it."""
    texts = _Texts(world)
    users = world.users
    for row, a in zip(rows, arguments, strict=True):
        wrong = wrong_target(batch, row, TargetKind.USER, len(users))
        if wrong is None and not a.model_fields_set:
            wrong = Outcome.BAD_ARGUMENT
        if wrong is None:
            for name in sorted(a.model_fields_set):
                value = getattr(a, name)
                if name == "stance":
                    users[name][batch.target_id[row]] = np.nan if value is None else value
                else:
                    users[name][batch.target_id[row]] = texts.id(value, group=name == "group")
        done.outcome[row] = Outcome.ACCEPTED if wrong is None else wrong


def interview(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Accept interviews of agents that exist; asking is the engine's."""
    for row in rows:
        wrong = wrong_target(batch, row, TargetKind.USER, len(world.users))
        done.outcome[row] = Outcome.ACCEPTED if wrong is None else wrong
