"""The world as the tables that a run keeps of it: names instead of codes, texts instead of ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.world.schemas import POST_KINDS, UNKNOWN_VERACITY
from oasis.world.world import World

__all__ = ["world_tables"]


def world_tables(world: World, policies: Sequence[str] = ()) -> Mapping[str, pa.Table]:
    """Return the tables ``users``, ``posts``, ``comments`` and ``follows`` of a world, each made when it is asked for.

    ``key`` is the stable key of an agent or post: the same in runs that differ in what else happened, while ids shift.
    Counts are as users see them, with what came from outside (``base_*``, beside them); ids and texts that are not
    there are null. The population's further attributes are columns of ``users`` (null for those who signed up later).

    Parameters
    ----------
    policies : sequence of str
        Names of the policies by index.
    """
    return _WhenAsked(
        {
            "users": partial(_users, world, policies),
            "posts": partial(_posts, world),
            "comments": partial(_comments, world),
            "follows": world.follows.to_arrow,
        }
    )


class _WhenAsked(Mapping[str, pa.Table]):
    """Tables that are made when they are asked for: of a large world all of them together take as much as it does."""

    def __init__(self, makers: Mapping[str, Callable[[], pa.Table]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> pa.Table:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _users(world: World, policies: Sequence[str]) -> pa.Table:
    users = world.users
    columns = {
        "agent_id": _numbers(len(users)),
        **{name: world.texts.take(users[name]) for name in ("username", "name", "bio", "persona")},
        "followers": pa.array(users["followers"] + users["base_followers"]),
        "following": pa.array(users["following"]),
        "policy": _labels(users["policy"], policies),
        "group": world.texts.take(users["group"]),
        "stance": pa.array(users["stance"], mask=np.isnan(users["stance"])),
        "base_followers": pa.array(users["base_followers"]),
        "posts": pa.array(users["posts"]),
        "mean_activity": pa.array(users["activity"].mean(axis=1, dtype=np.float64)),
        "joined_step": pa.array(users["joined_step"]),
        "banned": pa.array(users["banned"]),
        "key": pa.array(users["key"]),
    }
    late = len(users) - world.attributes.num_rows
    for field in world.attributes.schema:
        if field.name not in columns:
            given = world.attributes.column(field.name).chunks
            columns[field.name] = pa.chunked_array([*given, pa.nulls(late, field.type)], field.type)
    return pa.table(columns)


def _posts(world: World) -> pa.Table:
    posts, texts = world.posts, world.texts
    names = pa.concat_arrays([texts.take(world.communities["name"]), pa.nulls(1, pa.large_string())])
    community = names.take(pa.array(np.where(posts["community"] < 0, len(names) - 1, posts["community"])))
    return pa.table(
        {
            "post_id": _numbers(len(posts)),
            "author_id": pa.array(posts["author"]),
            "kind": _labels(posts["kind"], POST_KINDS),
            "root_id": pa.array(posts["root"]),
            "parent_id": _optional(posts["parent"]),
            "community": community,
            "step": pa.array(posts["step"]),
            "content": texts.take(posts["text"]),
            "likes": pa.array(posts["likes"] + posts["base_likes"]),
            "dislikes": pa.array(posts["dislikes"] + posts["base_dislikes"]),
            **{name: pa.array(posts[name]) for name in ("reposts", "quotes", "comments", "reports")},
            "topic": texts.take(posts["topic"]),
            "veracity": pa.array(posts["veracity"], mask=posts["veracity"] == UNKNOWN_VERACITY),
            "label": texts.take(posts["label"]),
            "hidden": pa.array(posts["hidden"]),
            "weight": pa.array(posts["weight"]),
            "base_likes": pa.array(posts["base_likes"]),
            "base_dislikes": pa.array(posts["base_dislikes"]),
            "key": pa.array(posts["key"]),
        }
    )


def _comments(world: World) -> pa.Table:
    comments = world.comments
    return pa.table(
        {
            "comment_id": _numbers(len(comments)),
            "post_id": pa.array(comments["post"]),
            "parent_comment_id": _optional(comments["parent"]),
            "author_id": pa.array(comments["author"]),
            "step": pa.array(comments["step"]),
            "content": world.texts.take(comments["text"]),
            "likes": pa.array(comments["likes"] + comments["base_likes"]),
            "dislikes": pa.array(comments["dislikes"] + comments["base_dislikes"]),
            "hidden": pa.array(comments["hidden"]),
            "base_likes": pa.array(comments["base_likes"]),
            "base_dislikes": pa.array(comments["base_dislikes"]),
        }
    )


def _numbers(length: int) -> pa.Array:
    return pa.array(np.arange(length, dtype=np.int32))


def _optional(ids: npt.NDArray[np.int32]) -> pa.Array:
    return pa.array(ids, pa.int32(), mask=ids < 0)


def _labels(codes: npt.NDArray[np.integer], names: Sequence[str]) -> pa.DictionaryArray:
    """Return names of codes; null for negative ones and for those without a name."""
    missing = (codes < 0) | (codes >= len(names))
    indices = pa.array(np.where(missing, 0, codes).astype(np.int16), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))
