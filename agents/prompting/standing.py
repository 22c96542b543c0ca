"""What each agent may do to each thing it was shown: candidates per action, computed for all agents at once.

An action without a candidate is left out of an agent's options, so a model is not offered what the platform
would refuse. The platform judges all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from oasis.actions import TARGETS, Action, TargetKind
from oasis.world.world import World

__all__ = ["Shown", "candidates"]

I32 = npt.NDArray[np.int32]
Targets = dict[Action, tuple[int, ...]]


class Shown:
    """What one agent has been shown in its activation: ids in the order of appearance, without repeats."""

    __slots__ = ("comments", "groups", "posts", "products", "users")

    def __init__(self) -> None:
        self.posts: dict[int, None] = {}
        self.comments: dict[int, None] = {}
        self.users: dict[int, None] = {}
        self.groups: dict[int, None] = {}
        self.products: dict[int, None] = {}


def candidates(world: World, agents: I32, shown: Sequence[Shown], allowed: Iterable[Action]) -> list[Targets]:
    """Return, for each agent, its possible actions and the ids that each may aim at, sorted.

    Parameters
    ----------
    agents : ndarray, shape (n,)
    shown : sequence of n Shown
    allowed : iterable of Action
    """
    allowed = sorted(allowed)
    posts = _Rows(agents, [s.posts for s in shown])
    comments = _Rows(agents, [s.comments for s in shown])
    users = _Rows(agents, [s.users for s in shown])
    groups = _Rows(agents, [s.groups for s in shown])
    products = _Rows(agents, [s.products for s in shown])

    root = world.posts["root"][posts.ids]
    own = (world.posts["author"][posts.ids] == posts.agents) | (world.posts["author"][root] == posts.agents)
    vote = world.post_reactions.values(posts.agents, root)
    own_comment = world.comments["author"][comments.ids] == comments.agents
    comment_vote = world.comment_reactions.values(comments.agents, comments.ids)
    self_ = users.ids == users.agents
    follows = world.follows.contains(users.agents, users.ids)
    muted = world.mutes.contains(users.agents, users.ids)
    member = world.group_members.contains(groups.ids, groups.agents)
    everything = np.ones(len(posts.ids), np.bool_)

    found: dict[Action, list[tuple[int, ...]]] = {}
    for action, rows, mask in (
        (Action.REPOST, posts, ~own & ~world.reposts.contains(posts.agents, root)),
        (Action.QUOTE_POST, posts, everything),
        (Action.LIKE_POST, posts, ~own & (vote <= 0)),
        (Action.UNLIKE_POST, posts, vote > 0),
        (Action.DISLIKE_POST, posts, ~own & (vote >= 0)),
        (Action.UNDO_DISLIKE_POST, posts, vote < 0),
        (Action.REPORT_POST, posts, ~own & ~world.reports.contains(posts.agents, root)),
        (Action.CREATE_COMMENT, posts, everything),
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
        (Action.PURCHASE_PRODUCT, products, np.ones(len(products.ids), np.bool_)),
    ):
        if action in allowed:
            found[action] = rows.split(mask)
    out: list[Targets] = []
    for i in range(len(agents)):
        targets: Targets = {Action.DO_NOTHING: ()}
        for action in allowed:
            if TARGETS[action] == TargetKind.NONE:
                targets[action] = ()
            elif action in found and found[action][i]:
                targets[action] = found[action][i]
        out.append(targets)
    return out


class _Rows:
    """(agent, thing shown) pairs of all agents, as columns."""

    def __init__(self, agents: I32, things: Sequence[Iterable[int]]) -> None:
        lists = [sorted(t) for t in things]
        self.ids = np.array([i for each in lists for i in each], np.int32)
        self.row = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
        self.agents = agents[self.row].astype(np.int32)
        self._count = len(lists)

    def split(self, mask: npt.NDArray[np.bool_]) -> list[tuple[int, ...]]:
        """Return the ids where `mask`, per agent."""
        parts: dict[int, list[int]] = defaultdict(list)
        for row, thing in zip(self.row[mask].tolist(), self.ids[mask].tolist(), strict=True):
            parts[row].append(thing)
        return [tuple(parts[i]) for i in range(self._count)]
