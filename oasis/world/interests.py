"""What an agent is interested in: its bio and what it recently engaged with, as one integer vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    pool = world.embeddings
    agents = np.asarray(agents)
    total = pool.vectors(world.users["bio"][agents]).astype(np.int32) * BIO_WEIGHT
    engaged = world.engaged.get(agents)
    row, column = np.nonzero(engaged >= 0)
    if len(row):
        texts = world.posts["text"][engaged[row, column]]
        distinct, inverse = np.unique(texts, return_inverse=True)
        vectors = pool.vectors(distinct)
        for slot in range(engaged.shape[1]):  # one post per agent at a time: no repeated rows in an addition
            mine = column == slot
            total[row[mine]] += vectors[inverse[mine]]
    largest = np.abs(total).max(axis=1, initial=1)[:, None]
    return ((254 * total + largest) // (2 * largest)).astype(np.int8)
