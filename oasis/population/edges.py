"""Follow lists: what is refused, and what stops the reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.errors import PopulationError

__all__ = ["EdgeList", "accept_edges"]

I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class EdgeList:
    """Edges as they stand in a source, in its order, each with the line (of text) or row (of Parquet) that names it."""

    follower: npt.NDArray[np.int64]
    followee: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    unit: str = "line"


def accept_edges(
    edges: EdgeList, agents: int, file: str, fields: tuple[str, str]
) -> tuple[I32, I32, list[dict[str, Any]]]:
    """Return (follower, followee, refused rows): self-follows and repeats are refused.

    Raises
    ------
    PopulationError
        For an agent that does not exist, naming file and line or row.
    """
    for ids, field in zip((edges.follower, edges.followee), fields, strict=True):
        unknown = np.flatnonzero((ids < 0) | (ids >= agents))
        if len(unknown):
            at = unknown[0]
            raise PopulationError(
                f"{file}, {edges.unit} {edges.place[at]}: {field} names agent {ids[at]}, which does not exist; "
                f"allowed: 0 to {agents - 1} (agents are numbered by their row)"
            )
    itself = edges.follower == edges.followee
    pair = edges.follower * agents + edges.followee
    repeated = np.zeros(len(pair), np.bool_)
    if np.any(pair[1:] <= pair[:-1]):  # our own files are sorted, which is quick to see
        order = np.argsort(pair, kind="stable")
        repeated[order[1:]] = pair[order[1:]] == pair[order[:-1]]
    kept = ~itself & ~repeated
    refused = [
        {
            "file": file,
            edges.unit: int(edges.place[i]),
            "agent_id": int(edges.follower[i]),
            "field": fields[1],
            "value": int(edges.followee[i]),
            "reason": "self-follow" if itself[i] else "repeated follow",
        }
        for i in np.flatnonzero(~kept)
    ]
    return edges.follower[kept].astype(np.int32), edges.followee[kept].astype(np.int32), refused
