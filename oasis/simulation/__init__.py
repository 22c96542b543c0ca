"""The step loop: activate, recommend, observe, decide, commit, record."""

from oasis.simulation.engine import StepResult
from oasis.simulation.simulation import RunSummary, Simulation

__all__ = ["RunSummary", "Simulation", "StepResult"]
