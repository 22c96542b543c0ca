"""One agent's list of the best rows: what may not stand in it, and insertion in its order.

A list holds distinct roots, ordered by (score falling, tie draw rising, post id rising). The tie draw is one of the
root's, so the versions of a root with equal scores stand together, the earliest first. A list is at any time the best
of what was looked at, whatever the order of looking.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import pairs
from oasis.kernels.compiled import kernel
from oasis.kernels.csr import holds

__all__ = ["allowed", "best_numpy", "may_look", "place"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


@kernel()
def may_look(
    author: int, root_author: int, root: int, me: int, mutes: I32, low: int, high: int, seen: I32, want_seen: bool
) -> bool:
    """Whether an agent may be given a row unless it acted on it; see `oasis.kernels.feeds`."""
    if author == me or root_author == me:
        return False
    if low < high and (holds(mutes, low, high, author) or holds(mutes, low, high, root_author)):
        return False
    return bool(holds(seen, 0, len(seen), root) == want_seen)


@kernel()
def allowed(
    author: int, root_author: int, root: int, me: int, mutes: I32, low: int, high: int, seen: I32, want_seen: bool,
    acted: tuple[I64, ...],
) -> bool:  # fmt: skip
    """Whether an agent may be given a row; see `oasis.kernels.feeds`."""
    if not may_look(author, root_author, root, me, mutes, low, high, seen, want_seen):
        return False
    for slots in acted:  # noqa: SIM110
        if pairs.holds(slots, me, root):
            return False
    return True


@kernel()
def _before(score: float, tie: np.uint64, post: int, score2: float, tie2: np.uint64, post2: int) -> bool:
    if score != score2:
        return score > score2
    if tie != tie2:
        return bool(tie < tie2)
    return post < post2


@kernel()
def place(
    post: int, root: int, score: float, tie: np.uint64, count: int, posts: I32, roots: I32, scores: F64, ties: U64
) -> int:
    """Insert a row into one list of distinct roots; return its new length."""
    width = len(posts)
    at = count
    for j in range(count):
        if roots[j] == root:
            at = j
            break
    if at < count:  # another version of this root is there: the better one stays
        if not _before(score, tie, post, scores[at], ties[at], posts[at]):
            return count
    elif count == width:
        at = width - 1
        if not _before(score, tie, post, scores[at], ties[at], posts[at]):
            return count
    else:
        count += 1
    while at > 0 and _before(score, tie, post, scores[at - 1], ties[at - 1], posts[at - 1]):
        posts[at], roots[at], scores[at], ties[at] = posts[at - 1], roots[at - 1], scores[at - 1], ties[at - 1]
        at -= 1
    posts[at], roots[at], scores[at], ties[at] = post, root, score, tie
    return count


def best_numpy(posts: I32, roots: I32, scores: F64, ties: U64, width: int) -> I64:
    """Return which rows are an agent's list of at most `width`, in order, with NumPy alone.

    What every selecting kernel here fills in, given the rows that the agent may be shown.
    """
    order = np.lexsort((posts, ties, -scores))
    _, first = np.unique(roots[order], return_index=True)
    return order[np.sort(first)[:width]]
