"""What an agent is interested in: its bio and what it recently engaged with, as one integer vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.interests import add_up
from oasis.world.world import World

__all__ = ["interest_vectors"]

BIO_WEIGHT = 2
"""Weight of the bio against one engaged post. Assumed: a bio is short, and ten posts soon outweigh it."""


def interest_vectors(world: World, agents: npt.NDArray[np.integer]) -> npt.NDArray[np.int8]:
    """Return int8 interest vectors, shape (n, dimensions).

    The vector is ``BIO_WEIGHT * bio + sum of the posts in the agent's engagement ring`` (the last 10), computed in
    integers and scaled back so that its largest component is 127 in absolute value (integer division,
    rounding half up). Agents with an empty bio and no engagement have the zero vector.
    """
    pool, posts = world.embeddings, world.posts["text"]
    agents = np.asarray(agents)
    engaged = world.engaged.get(agents)
    texts = np.where(engaged >= 0, posts[engaged], -1) if len(posts) else np.full_like(engaged, -1)
    bio, rows = pool.rows(world.users["bio"][agents]), pool.rows(texts)
    out = np.empty((len(agents), pool.dimensions), np.int8)
    add_up(pool.matrix, bio, rows, BIO_WEIGHT, out)
    return out
