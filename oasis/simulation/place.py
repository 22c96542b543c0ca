"""Where a run is kept: in a directory that is new, goes on, or branches off."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from oasis.errors import RunDirectoryError
from oasis.paths import check_absent
from oasis.runs import RunDirectory, world_tables
from oasis.simulation.assembly import Parts
from oasis.simulation.provenance import provenance

__all__ = ["NewPlace", "Place"]


class Place(Protocol):
    """A run directory to be.

    Attributes
    ----------
    path : Path
    checkpoint : Path or None
        The one that the world was taken up from, found whole.
    """

    path: Path
    checkpoint: Path | None

    def make(self, parts: Parts) -> RunDirectory:
        """Make it ready for the next step, and locked; called when that is about to begin.

        Raises
        ------
        RunDirectoryError
            If it cannot be made; then all is as it was.
        """
        ...

    def leave(self) -> None:
        """Let go of it, `make` not having been called."""
        ...


class NewPlace:
    """A directory that does not exist yet.

    Attributes
    ----------
    predicted : mapping or None
        What the run will ask of language models, for its manifest: see `oasis.simulation.estimate.Estimate.ranges`.

    Raises
    ------
    RunDirectoryError
        If it does, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        check_absent(path, RunDirectoryError)
        self.path = path
        self.checkpoint: Path | None = None
        self.predicted: dict[str, dict[str, float]] | None = None

    def make(self, parts: Parts) -> RunDirectory:
        """Make the directory."""
        return RunDirectory.create(
            self.path,
            parts.scenario.with_absolute_paths().to_dict(),
            refused_rows=parts.refused_rows,
            world=world_tables(parts.world, parts.policy_names),
            predicted=self.predicted,
            **provenance(parts),
        )

    def leave(self) -> None:
        """Do nothing."""
