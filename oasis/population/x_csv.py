"""X profiles as CSV, in the reference's format: one row per user, lists as Python literals in their cells."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.errors import PopulationError, nearest
from oasis.population.activity import HOURS, constant_activity, scale_to_mean
from oasis.population.csv_rows import GREATEST, Rows, text_array
from oasis.population.edges import EdgeList, accept_edges
from oasis.population.population import HistoryPosts, Population
from oasis.world.text import normalise_one

__all__ = ["read_x_csv"]

FOLLOWS, TWEETS, ACTIVITY = "following_agentid_list", "previous_tweets", "activity_level_frequency"
_COUNTS = ("followers_count", "follower_count")
_COLUMNS = ("user_id", "username", "name", "description", "user_char", FOLLOWS, TWEETS, ACTIVITY, *_COUNTS)
_UNUSED = frozenset(
    {"activity_level", "created_at", "follower_agentid_list", "following_count", "following_list"}
    | {"is_super_user", "tweets_id"}
)
"""Columns of the reference's files that tell nothing more; they are near ours by their spelling."""
_ALMOST = 0.85  # likeness at which a column is taken for a misspelling; assumed


def read_x_csv(path: Path, activity_path: Path | None, mean_active: float) -> Population:
    """Read X profiles; agents are numbered by their row.

    Columns: ``user_id`` (unique), ``username`` (may repeat), ``name``, ``description`` (the bio), ``user_char`` (the
    persona), ``following_agentid_list``, ``previous_tweets``, ``followers_count`` (or
    ``follower_count``), ``activity_level_frequency`` (24 counts). Only ``username`` must be there; others are left
    alone, unless their name is all but one of these.

    Parameters
    ----------
    activity_path : Path, optional
        Another CSV with the same users in the same order, whose activity counts are used.

    Raises
    ------
    PopulationError
        Naming file, line and column.
    """
    rows = Rows(path)
    _check_columns(rows)
    n = len(rows)
    _check_ids(rows)
    follows = rows.lists(FOLLOWS, "[1, 2]")
    edges = EdgeList(
        np.repeat(np.arange(n, dtype=np.int64), [len(f) for f in follows]),
        np.array([rows.whole(v, i, FOLLOWS) for i, f in enumerate(follows) for v in f], np.int64),
        np.repeat(np.array(rows.lines, np.int64), [len(f) for f in follows]),
    )
    follower, followee, refused = accept_edges(edges, n, str(path), ("agent", FOLLOWS))
    posts, empty = _posts(rows)
    bio, persona = rows.texts("description"), rows.texts("user_char")
    return Population(
        username=rows.texts("username"),
        name=rows.texts("name"),
        bio=bio,
        persona=persona if "user_char" in rows.columns else bio,
        group=pa.nulls(n, pa.large_string()),
        activity=_activity(rows, activity_path, mean_active),
        stance=np.full(n, np.nan, np.float32),
        base_followers=_base_followers(rows, followee),
        follower=follower,
        followee=followee,
        posts=posts,
        attributes=pa.table({}),
        refused_rows=refused + empty,
    )


def _check_columns(rows: Rows) -> None:
    """Refuse a header without ``username``, and columns that are all but one of ours: they would be left alone."""
    if "username" not in rows.columns:
        raise PopulationError(
            f"{rows.path}: no column 'username'{nearest('username', rows.columns)}; it has: {', '.join(rows.columns)}"
        )
    for column in _COLUMNS:
        others = [c for c in rows.columns if c not in _COLUMNS and c not in _UNUSED]
        close = get_close_matches(column, others, n=1, cutoff=_ALMOST) if column not in rows.columns else []
        if close:
            raise PopulationError(
                f"{rows.path}, line 1: unknown column {close[0]!r} (did you mean {column!r}?); rename or remove it"
            )


def _posts(rows: Rows) -> tuple[HistoryPosts, list[dict[str, Any]]]:
    """Return earlier posts, and those refused because nothing is in them."""
    author, texts, refused = [], [], []
    for i, listed in enumerate(rows.lists(TWEETS, "['first', 'second']")):
        for tweet in listed:
            if not isinstance(tweet, str):
                raise PopulationError(f"{rows.place(i)}: {TWEETS} must be a list of texts, got {tweet!r:.80} in it")
            if normalise_one(tweet).strip():
                author.append(i)
                texts.append(tweet)
            else:
                place = {"file": str(rows.path), "line": rows.lines[i], "agent_id": i}
                refused.append({**place, "field": TWEETS, "value": None, "reason": "empty post"})
    return HistoryPosts.build(author, text_array(texts)), refused


def _check_ids(rows: Rows) -> None:
    if "user_id" not in rows.columns:
        return
    first: dict[str, int] = {}
    for i, user_id in enumerate(cell.strip() for cell in rows.column("user_id")):
        if not user_id:
            raise PopulationError(f"{rows.place(i)}: user_id is empty; each row needs its own")
        if user_id in first:
            raise PopulationError(
                f"{rows.place(i)}: user_id {user_id!r} is that of line {rows.lines[first[user_id]]} too; "
                "ids must be unique"
            )
        first[user_id] = i


def _activity(rows: Rows, activity_path: Path | None, mean_active: float) -> npt.NDArray[np.float32]:
    if activity_path is not None:
        other = Rows(activity_path)
        if ACTIVITY not in other.columns:
            raise PopulationError(f"{activity_path}: no column {ACTIVITY!r}; it has: {', '.join(other.columns)}")
        if len(other) != len(rows):
            raise PopulationError(f"{activity_path}: has {len(other)} users, but {rows.path} has {len(rows)}")
        if "user_id" in rows.columns and "user_id" in other.columns:
            for i, (mine, theirs) in enumerate(zip(rows.column("user_id"), other.column("user_id"), strict=True)):
                if mine != theirs:
                    raise PopulationError(
                        f"{other.place(i)}: user_id {theirs!r}, but {rows.place(i)} has {mine!r}; "
                        "both need the same order"
                    )
        rows = other
    if ACTIVITY not in rows.columns:
        return constant_activity(len(rows), mean_active)
    counts = np.empty((len(rows), HOURS))
    for i, listed in enumerate(rows.lists(ACTIVITY, "[0, 2, 5, ...] of 24 counts")):
        numbers = [v for v in listed if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(listed) != HOURS or len(numbers) != HOURS or not all(0 <= v <= GREATEST for v in numbers):
            raise PopulationError(
                f"{rows.place(i)}: {ACTIVITY} must be {HOURS} counts from 0 to 2^53, got {listed!r:.80}"
            )
        counts[i] = numbers
    return scale_to_mean(counts, mean_active, str(rows.path))


def _base_followers(rows: Rows, followee: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return followers from outside: those that the profile counts, less those in the file."""
    name = next((c for c in _COUNTS if c in rows.columns), None)
    inside = np.bincount(followee, minlength=len(rows))
    if name is None:
        return np.zeros(len(rows), np.int32)
    counted = [rows.whole(cell or 0, i, name) for i, cell in enumerate(rows.column(name))]
    return np.clip(np.array(counted, np.int64) - inside, 0, 2**31 - 1).astype(np.int32)
