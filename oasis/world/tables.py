"""The world's tables as frames with texts resolved, for selections and exports."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from oasis.world.schemas import POST_KINDS
from oasis.world.world import World

__all__ = ["comments_frame", "posts_frame", "users_frame"]


def users_frame(world: World) -> pl.DataFrame:
    """Return one row per agent: profile texts but for bio and persona, counters, and the population's attributes."""
    users = world.users
    n = len(users)
    frame = pl.DataFrame(
        {
            "agent_id": np.arange(n, dtype=np.int32),
            "username": _texts(world, users["username"]),
            "name": _texts(world, users["name"]),
            "group": _texts(world, users["group"]),
            "stance": users["stance"],
            "followers": users["followers"] + users["base_followers"],
            "following": users["following"],
            "posts": users["posts"],
            "mean_activity": users["activity"].mean(axis=1),
            "policy": users["policy"],
            "joined_step": users["joined_step"],
            "banned": users["banned"],
        }
    ).with_columns(pl.col("stance").fill_nan(None))
    further = pl.DataFrame(pl.from_arrow(world.attributes))
    if further.width:
        further = further.select(c for c in further.columns if c not in frame.columns)
        if further.height < n:
            further = pl.concat([further, further.clear(n - further.height)])
        frame = frame.hstack(further)
    return frame


def posts_frame(world: World) -> pl.DataFrame:
    """Return one row per post, without its content; likes and dislikes as shown (base and counted)."""
    posts = world.posts
    columns = {
        "post_id": np.arange(len(posts), dtype=np.int32),
        "author_id": posts["author"],
        "kind": pl.Series(np.asarray(POST_KINDS, dtype=object)[posts["kind"]], dtype=pl.String),
        "root_id": posts["root"],
        "step": posts["step"],
        "likes": posts["likes"] + posts["base_likes"],
        "dislikes": posts["dislikes"] + posts["base_dislikes"],
        **{name: posts[name] for name in ("reposts", "quotes", "comments", "reports", "veracity", "hidden")},
        "topic": _texts(world, posts["topic"]),
        "label": _texts(world, posts["label"]),
    }
    return pl.DataFrame(columns)


def comments_frame(world: World) -> pl.DataFrame:
    """Return one row per comment, without its content; likes and dislikes as shown (base and counted)."""
    comments = world.comments
    return pl.DataFrame(
        {
            "comment_id": np.arange(len(comments), dtype=np.int32),
            "post_id": comments["post"],
            "author_id": comments["author"],
            "step": comments["step"],
            "likes": comments["likes"] + comments["base_likes"],
            "dislikes": comments["dislikes"] + comments["base_dislikes"],
        }
    )


def _texts(world: World, ids: np.ndarray) -> pl.Series:
    return pl.Series(pl.from_arrow(pa.array(world.texts.take(ids))))
