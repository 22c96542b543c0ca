"""Our own format: a folder with ``users.parquet``, ``follows.parquet``, ``posts.parquet`` and what belongs to them.

Rows are counted from 0: the row of a user is its agent id.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oasis.errors import PopulationError, nearest
from oasis.kernels.csr import in_order
from oasis.paths import check_absent
from oasis.population.activity import HOURS
from oasis.population.columns import activity_column, ids_column, keys_column, within
from oasis.population.edges import EdgeList, accept_edges
from oasis.population.population import HistoryPosts, Population
from oasis.population.vectors import BIO_VECTORS, POST_VECTORS, stored_vectors, write_vectors
from oasis.world.embeddings import Embedder
from oasis.world.text import normalise

__all__ = ["FILES", "FOLLOWS", "POSTS", "USERS", "read_population", "write_population"]

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
        ("key", pa.uint64()),
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
REFUSED = "refused.json"
FILES = ("users.parquet", "follows.parquet", "posts.parquet", REFUSED, BIO_VECTORS, POST_VECTORS)
"""What is read, where it is there."""
_MOST = 2**31 - 1


def write_population(population: Population, folder: str | Path, embedder: Embedder | None = None) -> None:
    """Write a population into a new folder.

    Parameters
    ----------
    embedder : Embedder, optional
        Embeds bios and posts, so that runs with the same embedder need not.

    Raises
    ------
    PopulationError
        If `folder` exists.
    """
    folder = Path(folder)
    check_absent(folder, PopulationError)
    p = population
    activity = pa.FixedSizeListArray.from_arrays(pa.array(p.activity.ravel()), HOURS)
    stance = pa.array(p.stance, pa.float32(), mask=np.isnan(p.stance))
    texts = [p.username, p.name, p.bio, p.persona, p.group]
    users = pa.table([*texts, stance, pa.array(p.base_followers), activity, pa.array(p.keys)], schema=USERS)
    for field in p.attributes.schema:
        users = users.append_column(field, p.attributes.column(field.name))
    posts = p.posts
    columns = [posts.author, posts.text, posts.topic, posts.community, posts.likes, posts.dislikes, posts.veracity]
    tables = {
        "users": users,
        "follows": pa.table([p.follower, p.followee], schema=FOLLOWS),
        "posts": pa.table([pa.array(c) for c in columns], schema=POSTS),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as part:  # whole, or not there at all
            written = Path(part) / folder.name
            written.mkdir()
            for name, table in tables.items():
                pq.write_table(table, written / f"{name}.parquet", compression="zstd")
            if embedder is not None:
                write_vectors(written / BIO_VECTORS, p.bio, embedder)
                write_vectors(written / POST_VECTORS, posts.text, embedder)
            (written / REFUSED).write_text(json.dumps(p.refused_rows, indent=1) + "\n", "utf-8")
            written.rename(folder)
    except OSError as error:
        raise PopulationError(f"{folder}: cannot be written: {error.strerror}; choose another --out") from None


def read_population(folder: str | Path, mean_active: float = 0.05) -> Population:
    """Read a population; ``follows.parquet`` and ``posts.parquet`` may be missing, and so may most columns.

    Where ``activity`` is missing, it is `mean_active` for all; where it is there, it is taken as it is.

    Raises
    ------
    PopulationError
        Naming file, row and column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PopulationError(f"{folder}: no such folder; it must hold users.parquet (and follows, posts)")
    place = str(folder / "users.parquet")
    users = _read(folder / "users.parquet", USERS, ("username",))
    n = users.num_rows
    if n == 0:
        raise PopulationError(f"{place}: has no users; a population needs at least one")
    follower, followee, refused = _follows(folder / "follows.parquet", n)
    posts = read_posts(folder / "posts.parquet", n, optional=True)
    further = [c for c in users.column_names if c not in USERS.names]

    def column(name: str) -> pa.Array:
        return users.column(name).combine_chunks()

    return Population(
        **{name: column(name) for name in ("username", "name", "bio", "persona", "group")},
        activity=activity_column(column("activity"), mean_active, place),
        stance=within(column("stance"), (-1, 1), np.nan, place, "stance"),
        base_followers=within(column("base_followers"), (0, _MOST), 0, place, "base_followers"),
        follower=follower,
        followee=followee,
        posts=posts,
        attributes=users.select(further),
        refused_rows=_refused(folder / REFUSED) + refused,
        bio_vectors=stored_vectors(folder / BIO_VECTORS, n, "agents"),
        post_vectors=stored_vectors(folder / POST_VECTORS, len(posts), "posts"),
        keys=keys_column(column("key"), place),
    )


def _follows(path: Path, agents: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], list[dict[str, Any]]]:
    table = _read(path, FOLLOWS, FOLLOWS.names, optional=True)
    follower, followee = (ids_column(table, name, path) for name in FOLLOWS.names)
    known = all(ids.min(initial=0) >= 0 and ids.max(initial=0) < agents for ids in (follower, followee))
    if known and in_order(follower, followee) and not np.any(follower == followee):  # as we write them
        return follower, followee, []
    edges = EdgeList(follower.astype(np.int64), followee.astype(np.int64), np.arange(len(follower)), unit="row")
    return accept_edges(edges, agents, str(path), ("follower_id", "followee_id"))


def read_posts(path: Path, agents: int, optional: bool = False) -> HistoryPosts:
    """Read posts that exist before step 1.

    Raises
    ------
    PopulationError
        Naming the row, for an author that does not exist among `agents`.
    """
    table = _read(path, POSTS, ("author_id", "content"), optional)
    author = ids_column(table, "author_id", path)
    unknown = np.flatnonzero((author < 0) | (author >= agents))
    if len(unknown):
        raise PopulationError(
            f"{path}, row {unknown[0]}: author_id {author[unknown[0]]} does not exist; allowed: 0 to {agents - 1}"
        )

    content, topic, community = (table.column(name).combine_chunks() for name in ("content", "topic", "community"))
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(normalise(content.fill_null("")))), 0)
    if pc.any(blank).as_py():
        raise PopulationError(f"{path}, row {pc.index(blank, True).as_py()}: content is empty; a post needs a text")

    def votes(name: str) -> npt.NDArray[np.int32]:
        return within(table.column(name).combine_chunks(), (0, _MOST), 0, str(path), name)

    veracity = within(table.column("veracity").combine_chunks(), (-1, 1), -1, str(path), "veracity")
    return HistoryPosts(author, content, topic, community, votes("likes"), votes("dislikes"), veracity)


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
        except pa.ArrowException as error:
            got = table.schema.field(field.name).type
            raise PopulationError(
                f"{path}: column {field.name!r} must be {field.type}, got {got}: {str(error).splitlines()[0]}"
            ) from None
    columns |= {name: table.column(name) for name in table.column_names if name not in columns}
    return pa.table(columns)


def _refused(path: Path) -> list[dict[str, Any]]:
    """Return what an earlier reading refused."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise PopulationError(f"{path}: not JSON: {error}; restore or remove it") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "reason" in row for row in rows):
        raise PopulationError(f"{path}: must be a list of objects, each with a reason; restore or remove it")
    return rows
