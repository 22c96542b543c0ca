"""Runs and the branches off them, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oasis.errors import RunDirectoryError
from oasis.runs.manifest import MANIFEST
from oasis.runs.reading import Run, open_run

__all__ = ["Lineage", "lineage"]


@dataclass
class Lineage:
    """A run in a tree of branches.

    Attributes
    ----------
    run : Run
    branches : list of Lineage
        By the step that they branch off at, then by name.
    """

    run: Run
    branches: list[Lineage] = field(default_factory=list)

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Yield a line for each run of the tree."""
        run, parent = self.run, self.run.manifest.parent
        since = "" if parent is None else f" from step {parent.step}"
        yield f"{'  ' * depth}{run.path}{since}: {run.state}, {run.steps_done} of {run.manifest.steps_planned} steps"
        if depth == 0 and parent is not None:
            yield f"  (a branch of {parent.path}, which is not here)"
        for branch in self.branches:
            yield from branch.lines(depth + 1)

    def to_json(self) -> dict[str, Any]:
        """Return the tree as JSON values."""
        manifest = self.run.manifest
        return {
            "path": str(self.run.path),
            "run_id": manifest.run_id,
            "state": self.run.state,
            "steps_done": self.run.steps_done,
            "parent": None if manifest.parent is None else manifest.parent.model_dump(),
            "state_hash": manifest.state_hash,
            "branches": [branch.to_json() for branch in self.branches],
        }


def lineage(folder: str | Path, damage: list[str] | None = None) -> list[Lineage]:
    """Return the runs in a folder, each with the branches off it that are there too.

    Parents are known by their ``run_id``, whatever they are called now; of copies, by their path.

    Parameters
    ----------
    damage : list of str, optional
        What is wrong with runs that cannot be read is appended, and they are left out; else it is raised.

    Raises
    ------
    RunDirectoryError
        If there is no such folder, or no run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunDirectoryError(f"{folder}: no such folder; give one that runs are in, such as runs")
    runs = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            if path.parent.name[0] != ".":
                runs.append(open_run(path.parent))
        except RunDirectoryError as error:
            if damage is None:
                raise
            damage.append(str(error))
    if not runs and not damage:
        raise RunDirectoryError(f"{folder}: there is no run in it")
    nodes = [Lineage(run) for run in runs]
    by_id: dict[str, list[Lineage]] = {}
    for node in nodes:
        by_id.setdefault(node.run.manifest.run_id or "", []).append(node)
    roots: list[Lineage] = []
    for node in nodes:
        parent = node.run.manifest.parent
        same = by_id.get(parent.run_id, []) if parent is not None and parent.run_id else []
        above = min(same, key=lambda run: str(run.run.path.resolve()) != parent.path) if parent and same else None
        (roots if above is None or above is node else above.branches).append(node)
    for node in nodes:
        node.branches.sort(key=lambda child: (_branched_at(child), child.run.path.name))
    return roots


def _branched_at(node: Lineage) -> int:
    parent = node.run.manifest.parent
    return 0 if parent is None else parent.step
