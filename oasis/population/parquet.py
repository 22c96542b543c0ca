"""Our own format: a folder with ``users.parquet``, ``follows.parquet``, ``posts.parquet`` and ``refused.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import PopulationError, nearest
from oasis.population.activity import HOURS, check_probabilities, constant_activity
from oasis.population.edges import EdgeList, accept_edges
from oasis.population.population import HistoryPosts, Population

__all__ = ["FOLLOWS", "POSTS", "USERS", "read_parquet", "write_parquet"]

_TEXT, _I32 = pa.large_string(), pa.int32()
USERS = pa.schema(
    [
        ("username", _TEXT),
        ("name", _TEXT),
        ("bio", _TEXT),
        ("persona", _TEXT),
        ("group", _TEXT),
        ("stance", pa.float32()),
        ("base_followers", _I32),
        ("activity", pa.list_(pa.float32(), HOURS)),
    ]
)
"""Columns of ``users.parquet`` (agents by row; only ``username`` must be there); further ones become attributes."""
FOLLOWS = pa.schema([("follower_id", _I32), ("followee_id", _I32)])
POSTS = pa.schema(
    [
        ("author_id", _I32),
        ("content", _TEXT),
        ("topic", _TEXT),
        ("community", _TEXT),
        ("likes", _I32),
        ("dislikes", _I32),
        ("veracity", pa.int8()),
    ]
)
"""Columns of ``posts.parquet``; only ``author_id`` and ``content`` must be there."""


def write_parquet(population: Population, folder: Path) -> None:
    """Write a population into a new folder.

    Raises
    ------
    PopulationError
        If `folder` exists.
    """
    if folder.exists():
        raise PopulationError(f"{folder}: is there already; choose another --out, or remove it")
    p = population
    activity = pa.FixedSizeListArray.from_arrays(pa.array(p.activity.ravel()), HOURS)
    stance = pa.array(p.stance, pa.float32(), mask=np.isnan(p.stance))
    texts = [p.username, p.name, p.bio, p.persona, p.group]
    users = pa.table([*texts, stance, pa.array(p.base_followers), activity], schema=USERS)
    for field in p.attributes.schema:
        users = users.append_column(field, p.attributes.column(field.name))
    posts = p.posts
    columns = [posts.author, posts.text, posts.topic, posts.community, posts.likes, posts.dislikes, posts.veracity]
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True)
    pq.write_table(users, part / "users.parquet", compression="zstd")
    pq.write_table(pa.table([p.follower, p.followee], schema=FOLLOWS), part / "follows.parquet", compression="zstd")
    pq.write_table(pa.table([pa.array(c) for c in columns], schema=POSTS), part / "posts.parquet", compression="zstd")
    (part / "refused.json").write_text(json.dumps(p.refused_rows, indent=1) + "\n", "utf-8")
    part.rename(folder)


def read_parquet(folder: Path, mean_active: float) -> Population:
    """Read a population; ``follows.parquet`` and ``posts.parquet`` may be missing, and so may most columns.

    Where ``activity`` is missing, it is `mean_active` for all; where it is there, it is taken as it is.

    Raises
    ------
    PopulationError
        Naming file, row and column.
    """
    if not folder.is_dir():
        raise PopulationError(f"{folder}: no such folder; it must hold users.parquet (and follows, posts)")
    place = str(folder / "users.parquet")
    users = _read(folder / "users.parquet", USERS, ("username",))
    n = users.num_rows
    if n == 0:
        raise PopulationError(f"{place}: has no users; a population needs at least one")
    follows = _read(folder / "follows.parquet", FOLLOWS, FOLLOWS.names, optional=True)
    edges = EdgeList(
        _ids(follows, "follower_id", folder / "follows.parquet").astype(np.int64),
        _ids(follows, "followee_id", folder / "follows.parquet").astype(np.int64),
        np.arange(1, follows.num_rows + 1),
    )
    follower, followee, refused = accept_edges(edges, n, str(folder / "follows.parquet"), "followee_id")
    if (folder / "refused.json").exists():
        refused = json.loads((folder / "refused.json").read_text("utf-8")) + refused
    further = [c for c in users.column_names if c not in USERS.names]

    def column(name: str) -> pa.Array:
        return users.column(name).combine_chunks()

    return Population(
        **{name: column(name) for name in ("username", "name", "bio", "persona", "group")},
        activity=_activity(column("activity"), mean_active, place),
        stance=column("stance").to_numpy(zero_copy_only=False).astype(np.float32),
        base_followers=column("base_followers").fill_null(0).to_numpy(),
        follower=follower,
        followee=followee,
        posts=read_posts(folder / "posts.parquet", n, optional=True),
        attributes=users.select(further),
        refused_rows=refused,
    )


def read_posts(path: Path, agents: int, optional: bool = False) -> HistoryPosts:
    """Read posts that exist before step 1.

    Raises
    ------
    PopulationError
        Naming the row, for an author that does not exist among `agents`.
    """
    table = _read(path, POSTS, ("author_id", "content"), optional)
    author = _ids(table, "author_id", path)
    unknown = np.flatnonzero((author < 0) | (author >= agents))
    if len(unknown):
        raise PopulationError(
            f"{path}, row {unknown[0] + 1}: author_id {author[unknown[0]]} does not exist; allowed: 0 to {agents - 1}"
        )

    def column(name: str, missing: Any = None) -> Any:
        values = table.column(name).combine_chunks()
        return values if missing is None else values.fill_null(missing).to_numpy()

    content, topic, community = (column(name) for name in ("content", "topic", "community"))
    return HistoryPosts(
        author, content, topic, community, column("likes", 0), column("dislikes", 0), column("veracity", -1)
    )


def _read(path: Path, schema: pa.Schema, required: Any, optional: bool = False) -> pa.Table:
    """Read a Parquet file; columns of `schema` that are missing are null, further ones stay."""
    if not path.exists():
        if optional:
            return schema.empty_table()
        raise PopulationError(f"{path}: no such file")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise PopulationError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    for name in required:
        if name not in table.column_names:
            raise PopulationError(
                f"{path}: no column {name!r}{nearest(name, table.column_names)}; "
                f"it has: {', '.join(table.column_names)}"
            )
    columns: dict[str, Any] = {}
    for field in schema:
        values = table.column(field.name) if field.name in table.column_names else None
        try:
            columns[field.name] = pa.nulls(table.num_rows, field.type) if values is None else values.cast(field.type)
        except pa.ArrowException:
            raise PopulationError(
                f"{path}: column {field.name!r} must be {field.type}, got {table.schema.field(field.name).type}"
            ) from None
    columns |= {name: table.column(name) for name in table.column_names if name not in columns}
    return pa.table(columns)


def _ids(table: pa.Table, name: str, path: Path) -> npt.NDArray[np.int32]:
    column = table.column(name)
    if column.null_count:
        row = column.is_null().to_numpy().argmax() + 1
        raise PopulationError(f"{path}, row {row}: {name} is empty")
    return np.asarray(column.to_numpy(), np.int32)


def _activity(column: pa.Array, mean_active: float, place: str) -> npt.NDArray[np.float32]:
    if column.null_count == len(column):
        return constant_activity(len(column), mean_active)
    if column.null_count:
        raise PopulationError(
            f"{place}, row {column.is_null().to_numpy(zero_copy_only=False).argmax()}: activity is empty"
        )
    flat = column.flatten().fill_null(np.nan).to_numpy(zero_copy_only=False)
    activity = np.asarray(flat, np.float32).reshape(len(column), HOURS)
    check_probabilities(activity, place)
    return activity
