"""Real cascades parted into some that are fitted to and others, held out, that share neither user nor story."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from oasis.errors import InputError

__all__ = ["held_out", "related"]


def related(cascades: pl.DataFrame, same_story: Sequence[Sequence[str]] = ()) -> npt.NDArray[np.int64]:
    """Return the group of each cascade, shape (n,): the same where root user or story join them, through others too.

    Parameters
    ----------
    cascades : polars.DataFrame
        ``root_user``, ``topic_name``.
    same_story : sequence of sequences of str
        ``topic_name`` of cascades that tell one story; each topic is a story of its own otherwise.

    Raises
    ------
    InputError
        If there is no such topic.
    """
    names = cascades["topic_name"].to_list()
    for name in (name for names_of_story in same_story for name in names_of_story):
        if name not in names:
            raise InputError(f"there is no cascade with topic_name {name!r}")
    story_of = {name: names_of_story[0] for names_of_story in same_story for name in names_of_story}
    story = cascades["topic_name"].replace(story_of)
    n = cascades.height
    marks = [series.rank("dense").to_numpy().astype(np.int64) - 1 for series in (cascades["root_user"], story)]
    edges = np.concatenate([n + marks[0], n + n + marks[1]])
    rows = np.tile(np.arange(n), 2)
    graph = coo_array((np.ones(2 * n), (rows, edges)), shape=(3 * n, 3 * n))
    _, group = connected_components(graph, directed=False)
    return np.unique(group[:n], return_inverse=True)[1].astype(np.int64)


def held_out(
    group: npt.ArrayLike, share: float, rng: np.random.Generator, first: npt.ArrayLike = ()
) -> npt.NDArray[np.bool_]:
    """Return which cascades are held out, shape (n,): whole groups, in a random order, until `share` of all are.

    Parameters
    ----------
    group : array_like, shape (n,)
        As in `related`.
    share : float
        Of the cascades, from 0 to 1. A group that would go beyond is left out, and smaller ones follow.
    first : array_like
        Groups that are held out in any case.
    """
    of = np.asarray(group)
    most = round(share * len(of))
    out = np.isin(of, first)
    for number in rng.permutation(np.setdiff1d(of, first)):
        more = of == number
        if (out | more).sum() <= most:
            out |= more
    return out
