"""What each agent was shown, line by line, and what it may do to each line: computed for all agents at once.

An action without a candidate is left out of an agent's options, so a model is not offered what the platform
would refuse. The platform judges all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from oasis.actions import TARGETS, Action, TargetKind
from oasis.world.world import World

__all__ = ["Numbers", "Shown", "candidates"]

I32 = npt.NDArray[np.int32]
Numbers = dict[Action, tuple[int, ...]]
_FREE = frozenset(action for action, kind in TARGETS.items() if kind == TargetKind.NONE)
"""Actions that aim at nothing."""


class Shown:
    """The numbered lines that one agent has been shown in its activation, from 1.

    Attributes
    ----------
    kinds : list of TargetKind
    ids : list of int
        Of posts, comments, users, groups or products.
    users : list of int
        Whom a line is about: who wrote the post or comment (of a repost, the original), or the user; -1 for none.
    """

    __slots__ = ("_at", "_borrows", "ids", "kinds", "posts_of", "users")

    def __init__(
        self,
        kinds: Iterable[TargetKind] = (),
        ids: Iterable[int] = (),
        users: Iterable[int] = (),
        posts_of: Iterable[int] = (),
    ) -> None:
        self.kinds, self.ids, self.users, self.posts_of = list(kinds), list(ids), list(users), list(posts_of)
        self._at: dict[tuple[TargetKind, int], int] | None = None  # made when first asked for: most are not
        self._borrows = False

    @classmethod
    def of_posts(cls, posts: Sequence[int], users: Sequence[int]) -> Shown:
        """Return lines of posts, each another one."""
        n = len(posts)
        return cls([TargetKind.POST] * n, posts, users, [-1] * n)

    def __len__(self) -> int:
        return len(self.ids)

    def copy(self) -> Shown:
        """Return lines that can be added to without changing these."""
        other = Shown(self.kinds, self.ids, self.users, self.posts_of)
        other._at, other._borrows = self._lines(), True
        return other

    def add(self, kind: TargetKind, number: int, user: int = -1, post: int = -1) -> int:
        """Return the line's number, that of its first appearance where it was shown before."""
        at = self._lines()
        line = at.get((kind, number))
        if line is None:
            if self._borrows:
                at, self._borrows = dict(at), False
                self._at = at
            self.kinds.append(kind)
            self.ids.append(number)
            self.users.append(user)
            self.posts_of.append(post)
            line = at[(kind, number)] = len(self.ids)
        return line

    def line(self, kind: TargetKind, number: int) -> int:
        """Return the number of a line that was shown."""
        return self._lines()[(kind, number)]

    def _lines(self) -> dict[tuple[TargetKind, int], int]:
        if self._at is None:
            self._at = {key: line for line, key in enumerate(zip(self.kinds, self.ids, strict=True), 1)}
        return self._at

    def aim(self, action: Action, line: int) -> tuple[int, int]:
        """Return (target, argument) of an action at a line: an answer to a comment names its post too."""
        kind, number = self.kinds[line - 1], self.ids[line - 1]
        if TARGETS[action] == TargetKind.USER:
            return self.users[line - 1], -1
        if action is Action.CREATE_COMMENT and kind == TargetKind.COMMENT:
            return self.posts_of[line - 1], number
        return number, -1


def candidates(world: World, agents: I32, shown: Sequence[Shown], allowed: Iterable[Action]) -> list[Numbers]:
    """Return, for each agent, its possible actions and the lines that each may aim at.

    Parameters
    ----------
    agents : ndarray, shape (n,)
    shown : sequence of n Shown
    allowed : iterable of Action
    """
    allowed = sorted({*allowed, Action.DO_NOTHING})
    lines = _Lines(agents, shown)
    posts, comments = lines.of(TargetKind.POST), lines.of(TargetKind.COMMENT)
    groups, products = lines.of(TargetKind.GROUP), lines.of(TargetKind.PRODUCT)
    users = lines.about_users()
    either = lines.of(TargetKind.POST, TargetKind.COMMENT)

    root = world.posts["root"][posts.ids]
    own = (world.posts["author"][posts.ids] == posts.agents) | (world.posts["author"][root] == posts.agents)
    vote = world.post_reactions.values(posts.agents, root)
    own_comment = world.comments["author"][comments.ids] == comments.agents
    comment_vote = world.comment_reactions.values(comments.agents, comments.ids)
    self_ = users.ids == users.agents
    follows = world.follows.contains(users.agents, users.ids)
    muted = world.mutes.contains(users.agents, users.ids)
    member = world.group_members.contains(groups.ids, groups.agents)

    free = [action for action in allowed if action in _FREE]
    found: dict[Action, list[tuple[int, ...]]] = {action: [()] * len(agents) for action in free}
    for action, rows, mask in (
        (Action.REPOST, posts, ~own & ~world.reposts.contains(posts.agents, root)),
        (Action.QUOTE_POST, posts, None),
        (Action.LIKE_POST, posts, ~own & (vote <= 0)),
        (Action.UNLIKE_POST, posts, vote > 0),
        (Action.DISLIKE_POST, posts, ~own & (vote >= 0)),
        (Action.UNDO_DISLIKE_POST, posts, vote < 0),
        (Action.REPORT_POST, posts, ~own & ~world.reports.contains(posts.agents, root)),
        (Action.CREATE_COMMENT, either, None),
        (Action.LIKE_COMMENT, comments, ~own_comment & (comment_vote <= 0)),
        (Action.UNLIKE_COMMENT, comments, comment_vote > 0),
        (Action.DISLIKE_COMMENT, comments, ~own_comment & (comment_vote >= 0)),
        (Action.UNDO_DISLIKE_COMMENT, comments, comment_vote < 0),
        (Action.FOLLOW, users, ~self_ & ~follows & ~muted),
        (Action.UNFOLLOW, users, follows),
        (Action.MUTE, users, ~self_ & ~muted),
        (Action.UNMUTE, users, muted),
        (Action.JOIN_GROUP, groups, ~member),
        (Action.LEAVE_GROUP, groups, member),
        (Action.SEND_TO_GROUP, groups, member),
        (Action.LISTEN_FROM_GROUP, groups, member),
        (Action.PURCHASE_PRODUCT, products, None),
    ):
        if action in allowed:
            found[action] = rows.split(mask)
    actions = sorted(found)
    columns = (found[action] for action in actions)
    return [
        {action: numbers for action, numbers in zip(actions, row, strict=True) if numbers or action in _FREE}
        for row in zip(*columns, strict=True)
    ]


class _Lines:
    """The lines of all agents, as columns."""

    def __init__(self, agents: I32, shown: Sequence[Shown]) -> None:
        self.count = len(shown)
        counts = np.fromiter(map(len, shown), np.int64, self.count)
        n = int(counts.sum())
        self.row = np.repeat(np.arange(self.count), counts)
        self.agents = agents[self.row].astype(np.int32)
        self.kinds = np.fromiter(chain.from_iterable(s.kinds for s in shown), np.int8, n)
        self.ids = np.fromiter(chain.from_iterable(s.ids for s in shown), np.int32, n)
        self.users = np.fromiter(chain.from_iterable(s.users for s in shown), np.int32, n)
        self.numbers = np.arange(1, n + 1) - np.repeat(np.cumsum(counts) - counts, counts)

    def of(self, *kinds: TargetKind) -> _Rows:
        at = np.flatnonzero(np.logical_or.reduce([self.kinds == kind for kind in kinds]))
        return _Rows(self, at, self.ids[at])

    def about_users(self) -> _Rows:
        at = np.flatnonzero(self.users >= 0)
        return _Rows(self, at, self.users[at])


class _Rows:
    """Some lines, with what they stand for."""

    def __init__(self, lines: _Lines, at: npt.NDArray[np.integer], ids: I32) -> None:
        self.row, self.agents, self.numbers = lines.row[at], lines.agents[at], lines.numbers[at]
        self.ids, self._count = ids, lines.count

    def split(self, mask: npt.NDArray[np.bool_] | None) -> list[tuple[int, ...]]:
        """Return the numbers where `mask`, per agent; all without one."""
        row, numbers = (self.row, self.numbers) if mask is None else (self.row[mask], self.numbers[mask])
        ends = np.cumsum(np.bincount(row, minlength=self._count)).tolist()
        told = tuple(numbers.tolist())
        return [told[a:b] for a, b in zip([0, *ends], ends, strict=False)]
