"""OASIS: a social-platform simulator whose numbers can be rerun and trusted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oasis.errors import OasisError
    from oasis.interfaces import Question
    from oasis.runs import Run, open_run
    from oasis.runs.comparison import compare
    from oasis.runs.lineage import lineage
    from oasis.runs.verification import verify
    from oasis.scenario import Scenario
    from oasis.simulation import RunSummary, Simulation, StepResult
    from oasis.simulation.again import replay, resume
    from oasis.simulation.branching import branch

__all__ = [
    "OasisError",
    "Question",
    "Run",
    "RunSummary",
    "Scenario",
    "Simulation",
    "StepResult",
    "branch",
    "compare",
    "lineage",
    "open_run",
    "replay",
    "resume",
    "verify",
]

_HOME = {
    "OasisError": "oasis.errors",
    "Question": "oasis.interfaces",
    "Run": "oasis.runs",
    "RunSummary": "oasis.simulation",
    "Scenario": "oasis.scenario",
    "Simulation": "oasis.simulation",
    "StepResult": "oasis.simulation",
    "branch": "oasis.simulation.branching",
    "compare": "oasis.runs.comparison",
    "lineage": "oasis.runs.lineage",
    "open_run": "oasis.runs",
    "replay": "oasis.simulation.again",
    "resume": "oasis.simulation.again",
    "verify": "oasis.runs.verification",
}


def __getattr__(name: str) -> Any:  # imported when first used, so that ``oasis --help`` answers at once
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'oasis' has no attribute {name!r}")
