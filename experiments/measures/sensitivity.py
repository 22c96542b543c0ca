"""Rank-list sensitivity: how much feeds change when one interaction does.

Axes: ``n`` agents, ``k`` positions. A list is a row of post ids, -1 after its end; no id stands twice in a row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.errors import InputError

__all__ = ["jaccard", "rank_biased_overlap", "rank_list_sensitivity", "rank_lists"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PERSISTENCE = 0.9
"""p of rank-biased overlap: the first 10 positions hold 86% of the weight (Webber et al. 2010)."""
_CHUNK = 1 << 24  # comparisons at a time


def rank_biased_overlap(first: npt.ArrayLike, second: npt.ArrayLike, p: float = PERSISTENCE) -> F64:
    """Return the extrapolated rank-biased overlap of each pair of lists, shape (n,): 1 the same, 0 nothing in common.

    Webber, Moffat and Zobel (2010), "A similarity measure for indefinite rankings", ACM TOIS 28(4), eq. 32, for lists
    of lengths s <= l with X(d) in common down to depth d: ``(1 - p)/p (sum over d <= l of X(d)/d p^d + sum over
    s < d <= l of X(s)(d - s)/(s d) p^d) + ((X(l) - X(s))/l + X(s)/s) p^l``. An empty list has 0 in common with
    another, 1 with an empty one.

    Parameters
    ----------
    first, second : array_like, shape (n, k)

    Raises
    ------
    InputError
        If shapes differ or `p` is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise InputError(f"p must be between 0 and 1, got {p}")
    a, b = _lists(first, second)
    n, k = a.shape
    lengths = np.sort(np.stack([(a >= 0).sum(axis=1), (b >= 0).sum(axis=1)]), axis=0)
    short, long = lengths[0], lengths[1]
    common = _common(a, b)
    d = np.arange(1, k + 1)
    weight = p**d
    at_short = np.where(short > 0, common[np.arange(n), np.maximum(short - 1, 0)], 0)
    at_long = np.where(long > 0, common[np.arange(n), np.maximum(long - 1, 0)], 0)
    inside = d <= long[:, None]
    beyond = inside & (d > short[:, None])
    share = at_short / np.maximum(short, 1)
    sums = (np.where(inside, common / d * weight, 0)).sum(axis=1)
    sums += (np.where(beyond, share[:, None] * (d - short[:, None]) / d * weight, 0)).sum(axis=1)
    tail = ((at_long - at_short) / np.maximum(long, 1) + share) * p ** long.astype(np.float64)
    return np.where(long == 0, 1.0, np.where(short == 0, 0.0, (1 - p) / p * sums + tail))


def jaccard(first: npt.ArrayLike, second: npt.ArrayLike) -> F64:
    """Return the Jaccard similarity of each pair of lists as sets, shape (n,); 1 for two empty ones.

    Jaccard (1901): what both have, over what either has. With lists cut to k this is Oh et al.'s top-k Jaccard.
    """
    a, b = _lists(first, second)
    both = _common(a, b)[:, -1] if a.shape[1] else np.zeros(len(a), np.int64)
    either = (a >= 0).sum(axis=1) + (b >= 0).sum(axis=1) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def rank_lists(
    before: pl.LazyFrame, after: pl.LazyFrame, k: int = 10, item: str = "post_id"
) -> tuple[I64, I64, pl.DataFrame]:
    """Return the first k of each feed in two runs, row i of both being the same agent in the same step.

    Parameters
    ----------
    before, after : polars.LazyFrame
        Impressions of a run and of its twin with one interaction changed: ``step``, ``agent_id``, ``turn``,
        ``position``, `item`. Filter them for the steps to compare.
    item : str
        Post ids serve until the runs write different posts; then join the posts' ``key`` and give its name, as int64.

    Returns
    -------
    first, second : ndarray, shape (n, k), int64
        A feed that is empty in one run only is a row of -1 there; one that is empty in both has no row.
    feeds : polars.DataFrame
        ``step``, ``agent_id`` of each row.
    """
    keys = ["step", "agent_id"]
    sides = [
        side.filter((pl.col("turn") == 0) & pl.col(item).is_not_null())
        .select(*keys, "position", item)
        .sort(*keys, "position")
        .group_by(keys, maintain_order=True)
        .agg(items=pl.col(item).cast(pl.Int64).head(k))
        .collect()
        for side in (before, after)
    ]
    both = sides[0].join(sides[1], on=keys, how="full", coalesce=True, suffix="_after").sort(keys)
    first, second = (_padded(both[name], k) for name in ("items", "items_after"))
    return first, second, both.select(keys)


def rank_list_sensitivity(
    before: pl.LazyFrame, after: pl.LazyFrame, k: int = 10, p: float = PERSISTENCE, item: str = "post_id"
) -> dict[str, float | int | None]:
    """Return the mean similarity of feeds before and after: ``rbo``, ``jaccard`` (of the first k) and ``feeds``.

    Oh et al. (2022), "Rank List Sensitivity of Recommender Systems to Interaction Perturbations", CIKM: the mean
    over users of the similarity of their rank lists. 1 is stable. Parameters as in `rank_lists`.
    """
    first, second, feeds = rank_lists(before, after, k, item)
    if not feeds.height:
        return {"rbo": None, "jaccard": None, "feeds": 0}
    rbo, same = rank_biased_overlap(first, second, p), jaccard(first, second)
    return {"rbo": float(rbo.mean()), "jaccard": float(same.mean()), "feeds": feeds.height}


def _lists(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[I64, I64]:
    a, b = np.asarray(first, np.int64), np.asarray(second, np.int64)
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"lists must be two arrays of one shape (lists, positions), got {a.shape} and {b.shape}")
    return a, b


def _common(a: I64, b: I64) -> I64:
    """Return how many ids both lists have down to each depth, shape (n, k)."""
    n, k = a.shape
    out = np.zeros((n, k), np.int64)
    depth = np.maximum.outer(np.arange(k), np.arange(k))  # at which a pair of positions begins to count
    rows = max(1, _CHUNK // max(k * k, 1))
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        same = (a[part, :, None] == b[part, None, :]) & (a[part, :, None] >= 0)
        list_, i, j = np.nonzero(same)
        np.add.at(out, (list_ + start, depth[i, j]), 1)
    return out.cumsum(axis=1)


def _padded(lists: pl.Series, k: int) -> I64:
    lists = lists.fill_null(pl.Series([[]], dtype=lists.dtype)) if lists.null_count() else lists
    length = lists.list.len().to_numpy()
    out = np.full((len(lists), k), -1, np.int64)
    out[np.arange(k) < length[:, None]] = lists.explode().drop_nulls().to_numpy()
    return out
