"""Re-rankers: what happens to good candidates before they are a feed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import feeds
from oasis.recsys.frame import AgentFrame, Candidates

__all__ = ["interleave", "stack"]


def _roots(agents: AgentFrame, lists: Candidates) -> npt.NDArray[np.int32]:
    if not len(agents.posts):
        return lists.posts
    return np.where(lists.posts >= 0, agents.posts.root[lists.posts], -1)


def interleave(agents: AgentFrame, first: Candidates, second: Candidates, share: int, size: int) -> Candidates:
    """Return lists of `size`: `share` places for the first, the rest for the second, taking turns.

    One list is filled from the other when it is short. A root that both hold is shown once, from the first.
    """
    out = Candidates.none(len(agents), size)
    column = np.full(out.posts.shape, -1, np.int32)
    which = np.full(out.posts.shape, -1, np.int32)
    roots = _roots(agents, first), _roots(agents, second)
    feeds.merge(first.posts, roots[0], second.posts, roots[1], share, size, column, which)
    for number, lists in enumerate((first, second)):
        row, at = np.nonzero(which == number)
        taken = column[row, at]
        out.posts[row, at] = lists.posts[row, taken]
        out.scores[row, at] = lists.scores[row, taken]
        out.sources[row, at] = lists.sources[row, taken]
    out.complete = first.complete & second.complete
    return out


def stack(unseen: Candidates, seen: Candidates, size: int) -> Candidates:
    """Return lists of `size` with the posts that were seen before behind those that were not."""
    both = [np.concatenate([getattr(unseen, f), getattr(seen, f)], axis=1) for f in ("posts", "scores", "sources")]
    order = np.argsort(both[0] < 0, axis=1, kind="stable")[:, :size]
    posts, scores, sources = (np.take_along_axis(values, order, axis=1) for values in both)
    return Candidates(posts, scores, sources, unseen.complete & seen.complete)
