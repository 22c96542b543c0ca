"""Cascades: the tree of an original post and its reposts.

A repost's parent is the post that was shown to the reposter; where that was a quote, the nearest post above it that
is none. Quotes are counted apart and are no part of the tree. Real data reconstructs parents, and platforms
attribute reposts to the root: depths of the two do not mean the same.

The root is at depth 0. *Depth* is the largest depth, *breadth* the number of reposts at one depth, so that a post that
nobody reposted has depth 0 and maximum breadth 0, as in the published curves of real cascades.

Axes: ``m`` posts, ``r`` roots, ``t`` steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.errors import InputError, RunDirectoryError
from oasis.runs.reading import Run

__all__ = [
    "REAL_CURVE",
    "cascade_curve",
    "cascade_table",
    "cascades",
    "compare_with_real",
    "curve_of",
    "depths",
    "read_real_curve",
    "repost_tree",
    "structural_virality",
    "tree_columns",
]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

REAL_CURVE = ("minute", "scale", "depth", "max_breadth")
"""Columns of a real cascade's growth."""


def cascades(run: Run) -> pl.DataFrame:
    """Return one row per original post, largest first (ties: earlier post).

    Columns: ``root_id``, ``author_id``, ``step``, ``size`` (posts in the tree, the root included), ``depth``,
    ``max_breadth``, ``virality`` (structural, see `structural_virality`; null below two posts), ``quotes`` (all in the
    tree), ``last_step`` (of its last repost), ``likes``, ``comments``.
    """
    return cascade_table(tree_columns(run))


def tree_columns(run: Run) -> pl.DataFrame:
    """Return the posts of a run without their texts."""
    names = ("post_id", "author_id", "kind", "root_id", "parent_id", "step", "likes", "comments")
    return run.posts.select(names).collect()


def cascade_table(posts: pl.DataFrame) -> pl.DataFrame:
    """Return `cascades` of a table of posts (columns of ``posts.parquet``, row number = ``post_id``)."""
    kind, root, parent = repost_tree(posts)
    roots = np.flatnonzero(kind == 0)
    row_of = np.full(len(kind), -1, np.int64)
    row_of[roots] = np.arange(len(roots))
    depth = depths(parent)
    inside = np.flatnonzero((kind < 2) & (row_of[root] >= 0))
    of = row_of[root[inside]]

    size = np.bincount(of, minlength=len(roots))
    deepest = np.zeros(len(roots), np.int64)
    np.maximum.at(deepest, of, depth[inside])
    breadth = np.zeros(len(roots), np.int64)
    levels = int(depth.max(initial=0)) + 1
    level, counts = np.unique(of * levels + depth[inside], return_counts=True)
    below = level % levels > 0
    np.maximum.at(breadth, level[below] // levels, counts[below])
    step = posts["step"].to_numpy()
    last = np.zeros(len(roots), np.int64)
    np.maximum.at(last, of, step[inside])
    quotes = np.flatnonzero((kind == 2) & (row_of[root] >= 0))
    frame = posts[roots].select("post_id", "author_id", "step", "likes", "comments").rename({"post_id": "root_id"})
    return (
        frame.with_columns(
            size=pl.Series(size, dtype=pl.Int32),
            depth=pl.Series(deepest, dtype=pl.Int32),
            max_breadth=pl.Series(breadth, dtype=pl.Int32),
            virality=pl.Series(structural_virality(parent, row_of[root], depth, inside, len(roots))).fill_nan(None),
            quotes=pl.Series(np.bincount(row_of[root[quotes]], minlength=len(roots)), dtype=pl.Int32),
            last_step=pl.Series(last, dtype=pl.Int32),
        )
        .sort(["size", "root_id"], descending=[True, False])
        .select(
            "root_id",
            "author_id",
            "step",
            "size",
            "depth",
            "max_breadth",
            "virality",
            "quotes",
            "last_step",
            "likes",
            "comments",
        )
    )


def structural_virality(parent: I64, tree: I64, depth: I64, inside: I64, trees: int) -> npt.NDArray[np.float64]:
    """Return the mean distance between the posts of each tree, shape (r,); NaN below two posts.

    Goel, Anderson, Hofman and Watts (2016), "The structural virality of online diffusion", Management Science 62(1),
    eq. 1: ``2 W / (n (n - 1))`` with W the sum of distances over pairs (the Wiener index), which for a tree is the sum
    over its edges of ``s (n - s)``, s being the number of posts below the edge.

    Parameters
    ----------
    parent, tree, depth : ndarray, shape (m,), int64
        Post above (-1 for a root), number of the tree, depth.
    inside : ndarray, int64
        The posts that are part of a tree.
    trees : int
        Number of trees, r.
    """
    below = np.zeros(len(parent), np.int64)
    below[inside] = 1
    order = inside[np.argsort(-depth[inside], kind="stable")]
    bounds = np.flatnonzero(np.diff(depth[order], prepend=-1, append=-1))
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):  # one round per level, deepest first
        level = order[start:end]
        hanging = level[parent[level] >= 0]
        np.add.at(below, parent[hanging], below[hanging])
    n = np.bincount(tree[inside], minlength=trees).astype(np.int64)
    edges = inside[parent[inside] >= 0]
    index = np.zeros(trees, np.int64)
    np.add.at(index, tree[edges], below[edges] * (n[tree[edges]] - below[edges]))
    return np.where(n > 1, 2.0 * index / np.maximum(n * (n - 1), 1), np.nan)


def cascade_curve(run: Run, root: int) -> pl.DataFrame:
    """Return a cascade's growth, one row per step from the root's to the last done.

    Columns: ``step``, ``minute`` (simulated, since the root was posted), ``scale`` (posts, the root included),
    ``depth``, ``max_breadth``, ``quotes``.

    Raises
    ------
    InputError
        If `root` is no original post of the run.
    """
    return curve_of(tree_columns(run), root, run.steps_done, run.manifest.step_minutes)


def curve_of(posts: pl.DataFrame, root: int, steps_done: int, step_minutes: float) -> pl.DataFrame:
    """Return `cascade_curve` of a table of posts."""
    kind, roots, parent = repost_tree(posts)
    if not 0 <= root < len(kind):
        raise InputError(f"no post {root} in this run; there are posts 0 to {len(kind) - 1}")
    if kind[root] != 0:
        raise InputError(f"post {root} is no original but a {posts['kind'][root]}; its root is post {roots[root]}")
    step = posts["step"].to_numpy().astype(np.int64)
    first, last = int(step[root]), max(steps_done, int(step[root]))
    mine = np.flatnonzero((roots == root) & (kind < 2))
    depth = depths(parent)[mine]
    at = np.zeros((last - first + 1, int(depth.max()) + 1), np.int64)
    np.add.at(at, (step[mine] - first, depth), 1)
    counts = at.cumsum(axis=0)
    quotes = np.bincount(step[(roots == root) & (kind == 2)] - first, minlength=len(at)).cumsum()
    steps = np.arange(first, last + 1)
    there = np.where(counts > 0, np.arange(counts.shape[1]), 0)
    return pl.DataFrame(
        {
            "step": pl.Series(steps, dtype=pl.Int32),
            "minute": (steps - first) * step_minutes,
            "scale": pl.Series(counts.sum(axis=1), dtype=pl.Int32),
            "depth": pl.Series(there.max(axis=1), dtype=pl.Int32),
            "max_breadth": pl.Series(counts[:, 1:].max(axis=1, initial=0), dtype=pl.Int32),
            "quotes": pl.Series(quotes, dtype=pl.Int32),
        }
    )


def compare_with_real(curve: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    """Return a simulated cascade beside a real one, aligned by minutes since the root was posted.

    Parameters
    ----------
    curve : polars.DataFrame
        Of `cascade_curve`.
    path : path
        CSV with the columns ``minute``, ``scale``, ``depth``, ``max_breadth``, minutes ascending.

    Returns
    -------
    polars.DataFrame
        The columns of `curve` and ``real_scale``, ``real_depth``, ``real_max_breadth`` as of the same minute; null
        after the last minute that the real curve has.

    Raises
    ------
    InputError
        If the file is missing or is no such curve.
    """
    real = read_real_curve(path)
    real = real.select(pl.col("minute").cast(pl.Float64), *(pl.col(n).alias(f"real_{n}") for n in REAL_CURVE[1:]))
    end = real["minute"].max()
    return curve.join_asof(real, on="minute", strategy="backward").with_columns(
        pl.when(pl.col("minute") <= end).then(pl.col(f"real_{name}")).alias(f"real_{name}") for name in REAL_CURVE[1:]
    )


def read_real_curve(path: str | Path) -> pl.DataFrame:
    """Read the growth of a real cascade: a CSV with the columns of `REAL_CURVE`, minutes ascending.

    Raises
    ------
    InputError
        If the file is missing or is no such curve.
    """
    try:
        real = pl.read_csv(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: no CSV file: {error}") from None
    missing = [name for name in REAL_CURVE if name not in real.columns]
    if missing:
        raise InputError(
            f"{path}: no column {missing[0]!r}; a real curve has {', '.join(REAL_CURVE)}, got {', '.join(real.columns)}"
        )
    for name in REAL_CURVE:
        if not real[name].dtype.is_numeric() or real[name].null_count():
            raise InputError(f"{path}: column {name!r} must hold numbers only")
    if not real["minute"].is_sorted() or not real.height:
        raise InputError(f"{path}: column 'minute' must be ascending and not empty")
    return real.select(REAL_CURVE)


def repost_tree(posts: pl.DataFrame) -> tuple[npt.NDArray[np.int8], I64, I64]:
    """Return kind (0 original, 1 repost, 2 quote), root, and parent in the tree of reposts (-1 for none)."""
    if not (posts["post_id"].to_numpy() == np.arange(posts.height)).all():
        raise RunDirectoryError("the posts of this run are damaged: post_id does not count up from 0")
    names = posts["kind"].cast(pl.String)
    kind = names.replace_strict(["original", "repost", "quote"], [0, 1, 2], return_dtype=pl.Int8).to_numpy()
    parent = posts["parent_id"].fill_null(-1).to_numpy().astype(np.int64)
    while len(on_quote := np.flatnonzero((parent >= 0) & (kind[parent] == 2))):
        parent[on_quote] = parent[parent[on_quote]]
    parent[kind == 0] = -1
    return kind, posts["root_id"].to_numpy().astype(np.int64), parent


def depths(parent: I64) -> I64:
    """Return how many posts are above each post, shape (m,)."""
    depth = np.zeros(len(parent), np.int64)
    rows, above = np.arange(len(parent)), parent
    while len(rows):
        there = above >= 0
        rows, above = rows[there], parent[above[there]]
        depth[rows] += 1
    return depth
