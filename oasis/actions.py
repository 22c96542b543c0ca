"""The vocabulary of actions and outcomes, and batches of actions as columns.

Axes: ``m`` is the number of actions in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = [
    "OUTSIDE",
    "OUTSIDE_ACTIONS",
    "READ_ACTIONS",
    "TARGETS",
    "TEXT_ACTIONS",
    "USER_ACTIONS",
    "Action",
    "ActionBatch",
    "Outcome",
    "TargetKind",
    "own_creation",
]

OUTSIDE = -1
"""The agent id of everything that comes from outside the population."""


class Action(IntEnum):
    """What can be asked of a platform. Values are stored; append, never renumber."""

    # what agents do
    CREATE_POST = 0
    REPOST = 1
    QUOTE_POST = 2
    LIKE_POST = 3
    UNLIKE_POST = 4
    DISLIKE_POST = 5
    UNDO_DISLIKE_POST = 6
    REPORT_POST = 7
    CREATE_COMMENT = 8
    LIKE_COMMENT = 9
    UNLIKE_COMMENT = 10
    DISLIKE_COMMENT = 11
    UNDO_DISLIKE_COMMENT = 12
    FOLLOW = 13
    UNFOLLOW = 14
    MUTE = 15
    UNMUTE = 16
    SEARCH_POSTS = 17
    SEARCH_USER = 18
    TREND = 19
    REFRESH = 20
    DO_NOTHING = 21
    CREATE_GROUP = 22
    JOIN_GROUP = 23
    LEAVE_GROUP = 24
    SEND_TO_GROUP = 25
    LISTEN_FROM_GROUP = 26
    PURCHASE_PRODUCT = 27
    # what comes from outside, as events of agent -1
    SIGN_UP = 40
    INTERVIEW = 41
    POST = 42
    COMMENT = 43
    SEED_VOTES = 44
    OUTSIDE_FOLLOW = 45
    OUTSIDE_MUTE = 46
    BAN = 47
    UNBAN = 48
    LABEL_POST = 49
    DEMOTE_POST = 50
    REMOVE_POST = 51
    EDIT_PROFILE = 52
    SWAP_RECOMMENDER = 53
    ADD_PRODUCT = 54
    # an activation whose policy failed to decide (outcome llm_failed or llm_invalid)
    NO_DECISION = 60

    @property
    def label(self) -> str:
        """The name used in files and on the command line."""
        return _LABELS[self]


_LABELS = {action: action.name.lower().removeprefix("outside_") for action in Action}


class TargetKind(IntEnum):
    """What a target id refers to."""

    NONE = 0
    POST = 1
    COMMENT = 2
    USER = 3
    COMMUNITY = 4
    GROUP = 5
    PRODUCT = 6

    @property
    def label(self) -> str:
        """The name used in files."""
        return self.name.lower()


class Outcome(IntEnum):
    """What the platform did with an action. Only `ACCEPTED` changes state."""

    ACCEPTED = 0
    NOT_FOUND = 1
    """The target did not exist in the frozen world and is no own creation of this turn."""
    SELF_TARGET = 2
    """Following or muting oneself."""
    DUPLICATE = 3
    """Already done and still in force."""
    NOTHING_TO_UNDO = 4
    NOT_ALLOWED = 5
    """The scenario does not enable this action, or it is for the outside only."""
    EMPTY_CONTENT = 6
    WRONG_TARGET = 7
    """The target's kind does not fit the action."""
    BANNED = 8
    REMOVED = 9
    """The target was removed, or is hidden from this agent."""
    NOT_MEMBER = 10
    SOLD_OUT = 11
    OVER_LIMIT = 12
    """More actions than one activation may take."""
    BAD_ARGUMENT = 13
    LLM_FAILED = 20
    """No usable answer from the server, after all retries."""
    LLM_INVALID = 21
    """Answers came, and none fitted the schema."""
    NO_STANCE = 22
    """Of an interview: the agent answers by its stance, and has none."""

    @property
    def label(self) -> str:
        """The name used in files."""
        return self.name.lower()


USER_ACTIONS: tuple[Action, ...] = tuple(a for a in Action if a < 40)
OUTSIDE_ACTIONS: tuple[Action, ...] = tuple(a for a in Action if 40 <= a < 60)
READ_ACTIONS: frozenset[Action] = frozenset(
    {Action.SEARCH_POSTS, Action.SEARCH_USER, Action.TREND, Action.REFRESH, Action.LISTEN_FROM_GROUP}
)
"""Answered from the frozen world inside an agent's turn; they change nothing."""
TEXT_ACTIONS: frozenset[Action] = frozenset(
    {
        Action.CREATE_POST,
        Action.QUOTE_POST,
        Action.CREATE_COMMENT,
        Action.SEARCH_POSTS,
        Action.SEARCH_USER,
        Action.CREATE_GROUP,
        Action.SEND_TO_GROUP,
    }
)
"""User actions that need content."""

_POST, _COMMENT, _USER = TargetKind.POST, TargetKind.COMMENT, TargetKind.USER
TARGETS: dict[Action, TargetKind] = {
    **dict.fromkeys(USER_ACTIONS, TargetKind.NONE),
    Action.REPOST: _POST,
    Action.QUOTE_POST: _POST,
    Action.LIKE_POST: _POST,
    Action.UNLIKE_POST: _POST,
    Action.DISLIKE_POST: _POST,
    Action.UNDO_DISLIKE_POST: _POST,
    Action.REPORT_POST: _POST,
    Action.CREATE_COMMENT: _POST,
    Action.LIKE_COMMENT: _COMMENT,
    Action.UNLIKE_COMMENT: _COMMENT,
    Action.DISLIKE_COMMENT: _COMMENT,
    Action.UNDO_DISLIKE_COMMENT: _COMMENT,
    Action.FOLLOW: _USER,
    Action.UNFOLLOW: _USER,
    Action.MUTE: _USER,
    Action.UNMUTE: _USER,
    Action.JOIN_GROUP: TargetKind.GROUP,
    Action.LEAVE_GROUP: TargetKind.GROUP,
    Action.SEND_TO_GROUP: TargetKind.GROUP,
    Action.LISTEN_FROM_GROUP: TargetKind.GROUP,
    Action.PURCHASE_PRODUCT: TargetKind.PRODUCT,
    Action.SIGN_UP: TargetKind.NONE,
    Action.INTERVIEW: _USER,
    Action.POST: _USER,
    Action.COMMENT: _POST,
    Action.SEED_VOTES: _POST,
    Action.OUTSIDE_FOLLOW: _USER,
    Action.OUTSIDE_MUTE: _USER,
    Action.BAN: _USER,
    Action.UNBAN: _USER,
    Action.LABEL_POST: _POST,
    Action.DEMOTE_POST: _POST,
    Action.REMOVE_POST: _POST,
    Action.EDIT_PROFILE: _USER,
    Action.SWAP_RECOMMENDER: TargetKind.NONE,
    Action.ADD_PRODUCT: TargetKind.NONE,
}
"""The kind of target each action takes (`SEED_VOTES` also takes comments)."""


def own_creation(index: int) -> int:
    """Return the target id that means "what my action number `index` (from 0) of this step created"."""
    return -2 - index


def _texts(values: Sequence[str | None] | pa.LargeStringArray | None, length: int) -> pa.LargeStringArray:
    if values is None:
        return pa.nulls(length, pa.large_string())
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values.cast(pa.large_string())
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError:  # lone surrogates, e.g. from "\ud800" in a model's JSON
        clean = [None if v is None else v.encode("utf-8", "replace").decode("utf-8") for v in values]
        return pa.array(clean, pa.large_string())


def _ids(values: npt.ArrayLike) -> npt.ArrayLike:
    """Return ids within int32: a cast would wrap a huge one around to one that exists."""
    ids = np.asarray(values)
    low, high = -(2**31), 2**31 - 1
    if ids.dtype == np.int32 or ids.ndim == 0 and low <= ids <= high:
        return values
    ids = np.asarray(np.minimum(ids, high))
    return (ids if ids.dtype.kind == "u" else np.maximum(ids, low)).astype(np.int32)


@dataclass(slots=True)
class ActionBatch:
    """Actions as columns; row order within an agent is the order in which it asks for them.

    Attributes
    ----------
    agent_id : ndarray, shape (m,), int32
        -1 for the outside.
    turn : ndarray, shape (m,), int16
        Which turn of the activation; read-only actions precede the final turn.
    action : ndarray, shape (m,), int16
        `Action` codes.
    target_kind : ndarray, shape (m,), int8
        `TargetKind` codes.
    target_id : ndarray, shape (m,), int32
        -1 for none; ``own_creation(i)`` for what the agent's i-th action of this step created.
    arg_id : ndarray, shape (m,), int32
        Community of a new post, parent comment of a new comment; -1 for none.
    text_id : ndarray, shape (m,), int32
        A text of the pool to use as content (reuse of an earlier text); -1 for none.
    content : pyarrow.LargeStringArray, length m
        New text, null for none. Outside actions carry their arguments as canonical JSON here.
    probability : ndarray, shape (m,), float32
        Probability with which the policy chose this; NaN where it has none.
    policy : ndarray, shape (m,), int16
        Index into the scenario's policies; -1 for the outside.
    outcome : ndarray, shape (m,), int16
        A final `Outcome` code where the policy already knows it (read-only, llm_failed, over_limit),
        else -1: the platform judges.
    """

    agent_id: npt.NDArray[np.int32]
    turn: npt.NDArray[np.int16]
    action: npt.NDArray[np.int16]
    target_kind: npt.NDArray[np.int8]
    target_id: npt.NDArray[np.int32]
    arg_id: npt.NDArray[np.int32]
    text_id: npt.NDArray[np.int32]
    content: pa.LargeStringArray
    probability: npt.NDArray[np.float32]
    policy: npt.NDArray[np.int16]
    outcome: npt.NDArray[np.int16]

    @classmethod
    def build(
        cls,
        agent_id: npt.ArrayLike,
        action: npt.ArrayLike,
        *,
        target_id: npt.ArrayLike = -1,
        target_kind: npt.ArrayLike | None = None,
        arg_id: npt.ArrayLike = -1,
        text_id: npt.ArrayLike = -1,
        content: Sequence[str | None] | pa.LargeStringArray | None = None,
        turn: npt.ArrayLike = 0,
        probability: npt.ArrayLike = np.nan,
        policy: npt.ArrayLike = -1,
        outcome: npt.ArrayLike = -1,
    ) -> Self:
        """Make a batch from arrays or scalars, which are broadcast to the length of `agent_id`.

        `target_kind` defaults to the one kind that each action takes. Ids beyond int32 become the nearest one in it,
        which names nothing.
        """
        agents = np.atleast_1d(np.asarray(agent_id, np.int32))
        m = len(agents)

        def column(value: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype), (m,)))

        actions = column(action, np.int16)
        if target_kind is None:
            target_kind = _TARGET_KIND_OF[actions]
        return cls(
            agents,
            column(turn, np.int16),
            actions,
            column(target_kind, np.int8),
            column(_ids(target_id), np.int32),
            column(_ids(arg_id), np.int32),
            column(_ids(text_id), np.int32),
            _texts(content, m),
            column(probability, np.float32),
            column(policy, np.int16),
            column(outcome, np.int16),
        )

    @classmethod
    def empty(cls) -> Self:
        """Return a batch of no actions."""
        return cls.build(np.empty(0, np.int32), np.empty(0, np.int16))

    @classmethod
    def concat(cls, batches: Sequence[Self]) -> Self:
        """Join batches in the order given."""
        if not batches:
            return cls.empty()
        if len(batches) == 1:
            return batches[0]
        columns = []
        for field in fields(cls):
            parts = [getattr(b, field.name) for b in batches]
            columns.append(pa.concat_arrays(parts) if field.name == "content" else np.concatenate(parts))
        return cls(*columns)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows given by index (any integer dtype) or mask (bool)."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        columns = []
        for field in fields(self):
            value = getattr(self, field.name)
            columns.append(value.take(pa.array(rows)) if field.name == "content" else value[rows])
        return type(self)(*columns)

    def slice(self, start: int, end: int) -> Self:
        """Return the rows from `start` to `end` without a copy: what is written to them is written to these."""
        columns = []
        for field in fields(self):
            value = getattr(self, field.name)
            columns.append(value.slice(start, end - start) if field.name == "content" else value[start:end])
        return type(self)(*columns)

    def __len__(self) -> int:
        return len(self.agent_id)


_TARGET_KIND_OF = np.zeros(max(Action) + 1, np.int8)
for _action, _kind in TARGETS.items():
    _TARGET_KIND_OF[_action] = _kind
