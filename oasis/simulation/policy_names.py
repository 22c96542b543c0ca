"""The names of policies in a run's tables."""

from __future__ import annotations

from collections.abc import Sequence

from oasis.scenario import PolicyConfig

__all__ = ["policy_names"]


def policy_names(policies: Sequence[PolicyConfig]) -> list[str]:
    """Return a distinct name for each policy entry: its own, or its kind (numbered when repeated)."""
    names: list[str] = []
    for entry in policies:
        base = entry.name or entry.kind
        name, number = base, 2
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names
