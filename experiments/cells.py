"""The runs of an experiment: points of the sweep x arms x replicates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from oasis.experiments.design import Design
from oasis.experiments.interfaces import Cell

__all__ = ["cells_of", "points_of", "seed_of"]


def points_of(design: Design) -> Iterator[dict[str, Any]]:
    """Yield each combination of the sweep's values; one without keys where there is no sweep."""
    for values in product(*design.sweep.values()):
        yield dict(zip(design.sweep, values, strict=True))


def seed_of(design: Design, replicate: int) -> int:
    """Return the seed that all arms of a replicate have."""
    return design.experiment.seed + replicate


def cells_of(design: Design, replicates: int) -> list[Cell]:
    """Return all runs, replicate by replicate, so that what is done early is paired."""
    return [
        Cell(arm.name, point, replicate, seed_of(design, replicate))
        for replicate in range(1, replicates + 1)
        for point in points_of(design)
        for arm in design.arms
    ]
