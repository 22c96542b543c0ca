"""What an agent may see at all: not what was removed, nor anything of an author who is banned or whom it muted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import platform as kernels
from oasis.kernels.threads import in_parts
from oasis.world.schemas import KIND_QUOTE
from oasis.world.world import World

__all__ = ["comments_visible", "posts_visible", "users_visible"]

I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]

_NEVER = 2**31 - 1  # no post has more reports
_JUDGED = 10_000  # rows worth a thread: 0.2 ms


def posts_visible(world: World, agents: I32, posts: I32, report_hide_threshold: int) -> Bool:
    """Return whether each agent may see each post, shape (m,).

    A version shows the original too, and a quote of a quote the quote between them: all their authors count.
    """
    table = world.posts
    author, root, parent, kind = table["author"], table["root"], table["parent"], table["kind"]
    hidden, reports, banned, muted = table["hidden"], table["reports"], world.users["banned"], world.mutes.slots
    most = report_hide_threshold or _NEVER
    agents, posts = np.ascontiguousarray(agents, np.int32), np.ascontiguousarray(posts, np.int32)
    seen = np.empty(len(posts), np.bool_)

    def judge(part: slice) -> None:
        of = (author, root, parent, kind, hidden, reports, banned, muted, KIND_QUOTE, most)
        kernels.visible(agents[part], posts[part], *of, seen[part])

    in_parts(len(posts), judge, _JUDGED)
    return seen


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
