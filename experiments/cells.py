"""The runs of an experiment: points of the sweep x arms x replicates."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product
from typing import Any

from oasis.experiments.design import Design
from oasis.experiments.interfaces import Cell

__all__ = ["cells_of", "points_of", "seed_of"]


def points_of(design: Design, fixed: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield each combination of the sweep's values but for `fixed` keys; one without keys where nothing is left."""
    swept = {key: values for key, values in design.sweep.items() if key not in fixed}
    for values in product(*swept.values()):
        yield dict(zip(swept, values, strict=True))


def seed_of(design: Design, replicate: int) -> int:
    """Return the seed that all arms of a replicate have."""
    return design.experiment.seed + replicate


def cells_of(design: Design, replicates: int, fixed: Collection[str] = ()) -> list[Cell]:
    """Return all runs, replicate by replicate, so that what is done early is paired.

    Parameters
    ----------
    fixed : collection of str
        Keys of the scenario that are not swept over, whatever the design says.
    """
    return [
        Cell(arm.name, point, replicate, seed_of(design, replicate))
        for replicate in range(1, replicates + 1)
        for point in points_of(design, fixed)
        for arm in design.arms
    ]
