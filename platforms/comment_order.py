"""Which comments of a post compete for being shown, and in what order they stand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.interfaces import StepContext
from oasis.platforms.round import I32, I64, Bool
from oasis.world.world import World

__all__ = ["COMPETING", "ranked_comments"]

COMPETING = 16
"""How many of a post's comments compete: its newest, or with the order ``old`` its oldest. Assumed: a screen or two."""


def ranked_comments(world: World, posts: I64, ctx: StepContext, order: str, allowed: Bool | None = None) -> I32:
    """Return the comments that compete under each post, first to last, shape (len(posts), 16), -1 where there is none.

    Removed ones take part and are left out in the end.

    Parameters
    ----------
    posts : ndarray, shape (p,), ascending
    order : str
        ``top`` (likes minus dislikes), ``new`` or ``old``; ties are drawn.
    allowed : ndarray of bool, optional
        By comment: whether it competes at all.
    """
    comments = world.comments
    if order == "old" or allowed is not None:
        ids = _gathered(world, posts, order == "old", allowed)
    else:
        ids = _newest(world, posts)
    there: Bool = ids >= 0
    found = ids[there]
    rank = np.zeros(ids.shape, np.int64)
    tie = np.zeros(ids.shape, np.uint64)
    if order == "top":
        rank[there] = comments["dislikes"][found] + comments["base_dislikes"][found]
        rank[there] -= comments["likes"][found] + comments["base_likes"][found]
    else:
        rank[there] = comments["step"][found] if order == "old" else -comments["step"][found]
    tie[there] = ctx.draws.bits("comments shown", ctx.step, comments["key"][found])
    ids[there] = np.where(comments["hidden"][found], np.int32(-1), found)
    return np.take_along_axis(ids, np.lexsort((tie, rank, ids < 0), axis=-1), axis=1)


def _newest(world: World, posts: I64) -> I32:
    newest = np.full((len(posts), COMPETING), -1, np.int32)
    newest[:, 0] = world.posts["last_comment"][posts]
    for column in range(1, COMPETING):
        rows = np.flatnonzero(newest[:, column - 1] >= 0)
        if not len(rows):
            break
        newest[rows, column] = world.comments["previous_on_post"][newest[rows, column - 1]]
    return newest


def _gathered(world: World, posts: I64, oldest: bool, allowed: Bool | None) -> I32:
    """Return the oldest or newest allowed comments of each post, by a look at all comments there are."""
    wanted = np.zeros(len(world.posts), np.bool_)
    wanted[posts] = True
    of: npt.NDArray[np.int32] = world.comments["post"]
    ids = np.flatnonzero(wanted[of] if allowed is None else wanted[of] & allowed)
    if not oldest:
        ids = ids[::-1]
    ids = ids[np.argsort(of[ids], kind="stable")]
    row = np.searchsorted(posts, of[ids])
    place = np.arange(len(ids)) - np.searchsorted(row, row)
    ids, row, place = (x[place < COMPETING] for x in (ids, row, place))
    out = np.full((len(posts), COMPETING), -1, np.int32)
    out[row, place] = ids
    return out
