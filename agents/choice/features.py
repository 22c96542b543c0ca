"""What the utilities are made of: one row of features per occasion.

Axes: ``r`` occasions, ``f`` features (`oasis.agents.choice.model.FEATURES`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.agents.choice.model import FEATURES
from oasis.interfaces import RowFlag, StepContext
from oasis.kernels import choice as kernel
from oasis.world.interests import interest_vectors
from oasis.world.schemas import KIND_REPOST
from oasis.world.table import Table
from oasis.world.world import World

__all__ = ["author_features", "comment_features", "content_of", "post_features"]

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

_AT = {name: column for column, name in enumerate(FEATURES)}


def content_of(world: World, posts: I32) -> I32:
    """Return whose text and author a shown post presents: the root's for a repost, its own else."""
    return np.asarray(np.where(world.posts["kind"][posts] == KIND_REPOST, world.posts["root"][posts], posts), np.int32)


def post_features(world: World, ctx: StepContext, agents: I32, posts: I32, flags: npt.NDArray[np.uint8]) -> F64:
    """Return features of posts shown to agents, shape (r, f), float64.

    Counts are those of the root, as users see them (base included), 0 where the platform does not show them; text,
    author, label and veracity those of the text shown; the age is that of the post shown.
    """
    table = world.posts
    content, root = content_of(world, posts), table["root"][posts]
    out = author_features(world, agents, table["author"][content])
    out[:, _AT["interest"]] = _cosines(world, agents, table["text"][content])
    out[:, _AT["in_network"]] = flags & RowFlag.IN_NETWORK != 0
    if ctx.show_scores:
        _add_votes(out, table, root)
        out[:, _AT["log1p_reposts"]] = _log1p(table["reposts"][root])
    out[:, _AT["seen"]] = flags & RowFlag.SEEN != 0
    out[:, _AT["age"]] = _age(ctx, table["step"][posts])
    out[:, _AT["reports"]] = _log1p(table["reports"][root])
    out[:, _AT["labelled"]] = table["label"][content] >= 0
    out[:, _AT["warned"]] = flags & RowFlag.WARNED != 0
    veracity = table["veracity"][content]
    out[:, _AT["veracity"]] = np.where(veracity < 0, 0, 2 * veracity - 1)
    return out


def comment_features(world: World, ctx: StepContext, agents: I32, comments: I32) -> F64:
    """Return features of comments shown to agents, shape (r, f), float64; their interest is not computed (0)."""
    table = world.comments
    author = table["author"][comments]
    out = author_features(world, agents, author)
    out[:, _AT["in_network"]] = world.follows.contains(agents, author) if len(agents) else 0.0
    if ctx.show_scores:
        _add_votes(out, table, comments)
    out[:, _AT["age"]] = _age(ctx, table["step"][comments])
    return out


def author_features(world: World, agents: I32, authors: I32) -> F64:
    """Return the features that depend on agent and author only, shape (r, f), float64; the others are 0."""
    users = world.users
    out = np.zeros((len(agents), len(FEATURES)))
    out[:, _AT["intercept"]] = 1.0
    out[:, _AT["log_author_followers"]] = _log1p(users["followers"][authors] + users["base_followers"][authors])
    stance = users["stance"]
    distance = np.abs(stance[agents].astype(np.float64) - stance[authors].astype(np.float64))
    out[:, _AT["stance_distance"]] = np.where(np.isnan(distance), 0.0, distance)
    return out


def _add_votes(out: F64, table: Table, rows: I32) -> None:
    """Fill in the features of the votes on posts or comments."""
    likes = table["likes"][rows] + table["base_likes"][rows]
    out[:, _AT["log1p_likes"]] = _log1p(likes)
    out[:, _AT["log1p_score"]] = _log1p(likes - table["dislikes"][rows] - table["base_dislikes"][rows])


def _log1p(values: npt.NDArray[np.integer] | F64) -> F64:
    out = np.empty(len(values))
    kernel.signed_log1p(values.astype(np.float64), out)
    return out


def _age(ctx: StepContext, steps: I32) -> F64:
    hours = (ctx.step - steps.astype(np.float64)) * (ctx.clock.step_minutes / 60.0)
    return _log1p(np.maximum(hours, 0.0))


def _cosines(world: World, agents: I32, texts: I32) -> F64:
    """Return cosines of interest vectors and texts: the exact integer product over the product of two lengths."""
    out = np.zeros(len(agents))
    if not world.has_embeddings or not len(agents):
        return out
    distinct_agents, row = np.unique(agents, return_inverse=True)
    distinct_texts, column = np.unique(texts, return_inverse=True)
    a = interest_vectors(world, distinct_agents)
    b = world.embeddings.vectors(distinct_texts)
    product = np.empty(len(agents), np.int64)
    kernel.pair_products(a, b, row, column, product)
    wide = a.astype(np.int32)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide).astype(np.float64))
    scale = length[row] * world.embeddings.norms(distinct_texts)[column]
    np.divide(product, scale, out=out, where=scale > 0)
    return out
