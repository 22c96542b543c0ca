"""OASIS: a social-platform simulator whose numbers can be rerun and trusted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oasis.errors import OasisError
    from oasis.interfaces import Question
    from oasis.runs import Run, open_run
    from oasis.scenario import Scenario
    from oasis.simulation import RunSummary, Simulation, StepResult

__all__ = [
    "OasisError",
    "Question",
    "Run",
    "RunSummary",
    "Scenario",
    "Simulation",
    "StepResult",
    "open_run",
]

_HOME = {
    "OasisError": "oasis.errors",
    "Question": "oasis.interfaces",
    "Run": "oasis.runs",
    "RunSummary": "oasis.simulation",
    "Scenario": "oasis.scenario",
    "Simulation": "oasis.simulation",
    "StepResult": "oasis.simulation",
    "open_run": "oasis.runs",
}


def __getattr__(name: str) -> Any:  # imported when first used, so that ``oasis --help`` answers at once
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'oasis' has no attribute {name!r}")
