"""The step loop: activate, recommend, observe, decide, commit, record."""

from oasis.simulation.simulation import Simulation, StepResult

__all__ = ["Simulation", "StepResult"]
