"""Opinion: which stances an agent saw in a step, what it began with, and the stance that it has after.

Axes: ``n`` agents observed, ``s`` stances seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.agents.choice.occasions import authors_of
from oasis.agents.choice.shown import Shown
from oasis.agents.choice.stance_rules import OpinionParameters
from oasis.interfaces import PolicyContext, Stances
from oasis.world.store import grow

__all__ = ["Anchors", "moved"]

I32 = npt.NDArray[np.int32]
F32 = npt.NDArray[np.float32]


class Anchors:
    """The stance that each agent had before a rule first moved it; agents that were never moved have none."""

    schema = pa.schema([("agent_id", pa.int32()), ("stance", pa.float32())])

    def __init__(self) -> None:
        self._stance = np.empty(0, np.float32)  # by agent, NaN for none

    def of(self, agents: I32) -> F32:
        """Return anchors, shape of `agents`; NaN for none."""
        out = np.full(len(agents), np.nan, np.float32)
        there = agents < len(self._stance)
        out[there] = self._stance[agents[there]]
        return out

    def keep(self, agents: I32, stances: F32) -> None:
        """Note what agents began with."""
        used = len(self._stance)
        self._stance = grow(self._stance, used, int(agents.max(initial=-1)) + 1)
        self._stance[used:] = np.nan
        self._stance[agents] = stances

    def to_arrow(self) -> pa.Table:
        """Return the rows of agents that have one, by agent."""
        agents = np.flatnonzero(~np.isnan(self._stance)).astype(np.int32)
        return pa.table([pa.array(agents), pa.array(self._stance[agents])], schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace all rows by those of `table`."""
        self._stance = np.empty(0, np.float32)
        self.keep(table["agent_id"].to_numpy(), table["stance"].to_numpy())


def moved(
    rule: OpinionParameters, anchors: Anchors, agents: I32, parts: Sequence[Shown], ctx: PolicyContext
) -> tuple[Stances, tuple[I32, F32]]:
    """Return the stances of agents after what they examined. Pure.

    A post carries the stance that the author of its text has in the frozen world. Posts of unknown stance and an
    agent's own do not count; agents of unknown stance have none afterwards, and those that saw nothing keep theirs.

    Parameters
    ----------
    agents : ndarray, shape (n,), int32
        The agents observed.
    parts : sequence of Shown
        What they examined, in the order in which they did.

    Returns
    -------
    stances : Stances
        Of those that saw something.
    begun : (agents, stances)
        Of these, who had no anchor yet, and the stance that becomes it.
    """
    stance = ctx.world.users["stance"]
    row = np.concatenate([part.agent for part in parts])
    author = np.concatenate([authors_of(ctx, part) for part in parts])
    counts = ~np.isnan(stance[author]) & (author != agents[row]) & ~np.isnan(stance[agents[row]])
    row, author = row[counts], author[counts]
    if len(parts) > 1:
        order = np.argsort(row, kind="stable")
        row, author = row[order], author[order]
    offsets = np.zeros(len(agents) + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=len(agents)), out=offsets[1:])
    saw = np.flatnonzero(np.diff(offsets))
    offsets = offsets[np.r_[saw, len(agents)]]
    agents = agents[saw]
    own, anchor = stance[agents], anchors.of(agents)
    new = np.isnan(anchor) if rule.anchored else np.zeros(len(agents), np.bool_)
    anchor[new] = own[new]
    after = rule.moved(offsets, stance[author].astype(np.float64), own.astype(np.float64), anchor.astype(np.float64))
    return Stances(agents, after.astype(np.float32)), (agents[new], own[new])
