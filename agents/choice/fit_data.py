"""Recorded decisions of a run's policy, as choices that a model is fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oasis.agents.choice.choice_data import ChoiceData, Collected
from oasis.agents.choice.model import ChoiceParameters, Model
from oasis.errors import InputError
from oasis.runs import open_run
from oasis.simulation.watching import watch_run

__all__ = ["READINGS", "recorded_choices"]

READINGS = tuple((p, c) for p in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0) for c in (0.5, 1.0))
"""``persistence`` and ``comments`` (see `ChoiceParameters`; ``first`` is 1) that are tried."""


def recorded_choices(
    directory: Path, policy: str | None = None
) -> tuple[dict[str, ChoiceData], Model, dict[str, int], str]:
    """Read the decisions of a run's policy.

    Parameters
    ----------
    policy : str, optional
        Its name in the run; not needed where the run has one.

    Returns
    -------
    choices : dict of ChoiceData
        By kind; kinds without an action on the menu are left out.
    model : Model
        That the fit begins from: of a choice policy its own, else the platform's defaults.
    counts : dict of int
        ``activations``; ``undecided`` (of these: no answer); ``elsewhere`` (actions on what was not in the feed).
    policy : str

    Raises
    ------
    InputError
        If the run has several policies and none is named, or no decisions.
    """
    manifest = open_run(directory).manifest
    name = _policy(directory, sorted(manifest.coverage.decided_by), policy)
    entry: dict[str, Any] = next(
        (e for e in manifest.scenario["policies"] if name in (e.get("name"), e["kind"])), {"kind": ""}
    )
    own: dict[str, Any] = entry.get("parameters", {}) if entry["kind"] == "choice" else {}
    collected = Collected(ChoiceParameters.model_validate(own), [(1.0, *reading) for reading in READINGS])
    watch_run(directory, {name: collected.add})
    if collected.model is None or not any(collected.parts.values()):
        raise InputError(f"{directory}: policy {name!r} decided nothing; choose another run")
    counts = {"activations": collected.activations, "undecided": collected.undecided, "elsewhere": collected.elsewhere}
    return collected.choices(), collected.model, counts, name


def _policy(directory: Path, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    if len(names) != 1:
        raise InputError(f"{directory}: several policies decided: name one with --decided-by ({', '.join(names)})")
    return names[0]
