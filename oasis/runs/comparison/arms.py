"""Which runs are replicates of one arm, and which of two arms are pairs.

Runs whose scenarios say the same but for seed and name are replicates of one arm. Files that they were made from count
by content, not by path. A scenario is looked at with its history: a branch was made with its ancestors' scenarios up to
where it left them. Runs of two arms with the same seed share every draw that the difference does not touch, so they are
a pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from oasis.errors import ScenarioError
from oasis.runs.manifest import Manifest
from oasis.runs.reading import Run
from oasis.scenario import Scenario

__all__ = ["NEVER_TELLS_APART", "Arm", "Period", "group_runs", "periods"]

NEVER_TELLS_APART = (
    *("simulation.seed", "simulation.name", "output", "budget"),
    *(f"llm.{key}" for key in ("endpoints", "api_key_env", "concurrency", "timeout_s", "attempts")),
    *("llm.failure_limit", "llm.failure_window"),
)
"""Keys, and tables of keys, that make no other arm: which replicate it is, what is kept, when to stop, how servers are
reached."""


@dataclass(frozen=True)
class Period:
    """Steps `first` to `last` (None: the end) were made with `scenario`, injected interventions included."""

    first: int
    last: int | None
    scenario: Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One variant of a scenario.

    Attributes
    ----------
    label : str
        A, B, ... in the order in which arms were given.
    runs : tuple of Run
        Its replicates, one per seed, by seed.
    periods : tuple of Period
    repeats : str or None
        The label of the arm whose runs these repeat: the same scenario and seed once more.
    """

    label: str
    runs: tuple[Run, ...]
    periods: tuple[Period, ...]
    repeats: str | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """Path to SHA-256 of the files that its first run was made from."""
        return self.runs[0].manifest.inputs

    @property
    def seeds(self) -> list[int]:
        """Of its runs, ascending."""
        return [run.manifest.seed for run in self.runs]

    def of_seed(self, seed: int) -> Run:
        """Return the run with a seed."""
        return self.runs[self.seeds.index(seed)]


def group_runs(runs: Sequence[Run], ignored: Sequence[str] = ()) -> list[Arm]:
    """Return the arms of runs, in the order in which they come first.

    A second run of the same scenario and seed stands in an arm of its own, that repeats the first.

    Parameters
    ----------
    ignored : sequence of str
        Further keys or tables that tell no arms apart.
    """
    members: dict[tuple[str, int], dict[int, Run]] = {}
    for run in runs:
        made_with = _fingerprint(run.manifest, ignored)
        again = 0
        while run.manifest.seed in members.get((made_with, again), {}):
            again += 1
        members.setdefault((made_with, again), {})[run.manifest.seed] = run
    arms: list[Arm] = []
    label_of: dict[str, str] = {}
    for number, ((made_with, again), by_seed) in enumerate(members.items()):
        label = _label(number)
        replicates = tuple(by_seed[seed] for seed in sorted(by_seed))
        first = next(iter(by_seed.values()))
        arms.append(Arm(label, replicates, periods(first.manifest), label_of.get(made_with) if again else None))
        label_of.setdefault(made_with, label)
    return arms


def periods(manifest: Manifest) -> tuple[Period, ...]:
    """Return which scenario made which steps; neighbours that say the same are one."""
    made = [(past.last_step, past.scenario) for past in manifest.past]
    out: list[Period] = []
    first = 1
    for last, scenario in [*made, (None, manifest.scenario)]:
        if last is not None and last < first:  # it made none: a branch was branched off where it had begun
            continue
        if out and _comparable(out[-1].scenario) == _comparable(scenario):
            first = out.pop().first
        out.append(Period(first, last, scenario))
        first = first if last is None else last + 1
    if manifest.injected:
        final = out[-1]
        out[-1] = Period(final.first, final.last, {**final.scenario, "injected": manifest.injected})
    return tuple(out)


def _label(number: int) -> str:
    letter = chr(ord("A") + number % 26)
    return letter if number < 26 else f"{letter}{number // 26 + 1}"


def _fingerprint(manifest: Manifest, ignored: Sequence[str]) -> str:
    made = [(part.first, part.last, _comparable(part.scenario, ignored)) for part in periods(manifest)]
    return json.dumps([made, sorted(manifest.inputs.values())], sort_keys=True)


def _comparable(scenario: Mapping[str, Any], ignored: Sequence[str] = ()) -> dict[str, Any]:
    """Return a scenario without what tells no arms apart."""
    own = {key: value for key, value in scenario.items() if key != "injected"}
    with suppress(ScenarioError):  # one of another version is compared as it is written
        own = Scenario.from_dict(own).decisive()
    kept = _without(own, [key.split(".") for key in (*NEVER_TELLS_APART, *ignored)])
    return kept | {key: scenario[key] for key in ("injected",) if key in scenario}


def _without(table: Mapping[str, Any], paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    gone = {path[0] for path in paths if len(path) == 1}
    out = {}
    for key, value in table.items():
        if key in gone:
            continue
        deeper = [path[1:] for path in paths if path[0] == key]
        out[key] = _without(value, deeper) if deeper and isinstance(value, Mapping) else value
    return out
