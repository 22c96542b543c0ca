"""The discrete-choice policy: who examines what, chooses which action, and writes what."""

from oasis.agents.choice.policy import Choice

__all__ = ["Choice"]
