"""What an agent may see at all: not what was removed, nor anything of an author who is banned or whom it muted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.world.schemas import KIND_QUOTE
from oasis.world.world import World

__all__ = ["comments_visible", "posts_visible", "users_visible"]

I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


def posts_visible(world: World, agents: I32, posts: I32, report_hide_threshold: int) -> Bool:
    """Return whether each agent may see each post, shape (m,).

    A version shows the original too, and a quote of a quote the quote between them: all their authors count.
    """
    table, banned = world.posts, world.users["banned"]
    root = table["root"][posts]
    author, first = table["author"][posts], table["author"][root]
    seen = ~(table["hidden"][posts] | table["hidden"][root] | banned[author] | banned[first])
    if report_hide_threshold:
        seen &= table["reports"][root] <= report_hide_threshold
    parent = table["parent"][posts]
    nested = np.flatnonzero((parent >= 0) & (parent != root))
    nested = nested[table["kind"][parent[nested]] == KIND_QUOTE]
    middle = parent[nested]
    between = table["author"][middle]
    seen[nested] &= ~banned[between]
    if len(world.mutes):
        seen &= ~world.mutes.contains(agents, author)
        version = np.flatnonzero(first != author)
        seen[version] &= ~world.mutes.contains(agents[version], first[version])
        seen[nested] &= ~world.mutes.contains(agents[nested], between)
    return np.asarray(seen)


def comments_visible(world: World, agents: I32, comments: I32) -> Bool:
    """Return whether each agent may see each comment (of a post that it may see), shape (m,)."""
    author = world.comments["author"][comments]
    return ~world.comments["hidden"][comments] & users_visible(world, agents, author)


def users_visible(world: World, agents: I32, users: I32) -> Bool:
    """Return whether each user is neither banned nor muted by the agent, shape (m,)."""
    seen = ~world.users["banned"][users]
    if len(world.mutes):
        seen &= ~world.mutes.contains(agents, users)
    return np.asarray(seen)
