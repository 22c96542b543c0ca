"""A point of a run between two steps, from which it goes on: in memory, or as a checkpoint on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa

from oasis.runs.checkpoints import Checkpoint

__all__ = ["Point"]

_ACTIVE = "run@active"  # the table of who acted so far; not a name that a store can have


@dataclass(frozen=True)
class Point:
    """Everything that the steps after it depend on, and what was counted up to it.

    Attributes
    ----------
    step : int
    digest : str
        ``step_digest`` of that step, hex.
    recommender : dict or None
        ``kind`` and ``parameters`` of one that an intervention has put in the place of the scenario's.
    coverage : dict
        Of `oasis.simulation.coverage.Coverage.state`, with `active`.
    calls : dict
        Of `oasis.simulation.calls.CallCounts`.
    tables : mapping
        Of `oasis.world.snapshot.store_tables`, and maybe others.
    altered : bool
        Whether what follows is by another scenario: then stores of its policies and recommender may be missing.
    reassign : bool
        Whether agents get their policies anew.
    """

    step: int
    digest: str
    recommender: dict[str, Any] | None
    coverage: dict[str, Any]
    active: pa.Table = field(repr=False)
    calls: dict[str, int]
    tables: Mapping[str, pa.Table] = field(repr=False)
    altered: bool = False
    reassign: bool = False

    def to_checkpoint(self) -> Checkpoint:
        """Return it as what is written to disk."""
        facts = {
            "step_digest": self.digest,
            "recommender": self.recommender,
            "coverage": self.coverage,
            "calls": self.calls,
        }
        return Checkpoint(self.step, facts, {**self.tables, _ACTIVE: self.active})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """Return it from what was read.

        Raises
        ------
        KeyError
            If it lacks something.
        """
        facts = checkpoint.facts
        return cls(
            checkpoint.step,
            facts["step_digest"],
            facts["recommender"],
            facts["coverage"],
            checkpoint.tables[_ACTIVE],
            facts["calls"],
            checkpoint.tables,
        )
