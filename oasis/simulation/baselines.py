"""What a ``[baseline]`` changes in the parts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oasis.interfaces import Recommender
from oasis.population import Population
from oasis.population.shuffle import shuffled_personas
from oasis.randomness import Draws
from oasis.runs import open_run
from oasis.runs.rates import action_rates
from oasis.scenario import PolicyConfig, Scenario
from oasis.simulation.policy_names import policy_names
from oasis.simulation.shuffled_feeds import ShuffledFeeds

__all__ = ["deciding", "people", "recommending", "rules", "with_rates"]

_SCRIPTED = "scripted"  # what a script does is given, not decided
_TEXTS = ("reuse", "reply_to_comment")
_UNLIMITED = 100  # the rates say how much agents do


def with_rates(scenario: Scenario) -> Scenario:
    """Return the scenario with the numbers of ``rates_from`` in its place, so that it means the same without that run.

    Raises
    ------
    RunDirectoryError
        If there is no run to be read there.
    """
    baseline = scenario.baseline
    if baseline is None or baseline.rates_from is None:
        return scenario
    names = policy_names(scenario.policies)
    scripted = [name for name, entry in zip(names, scenario.policies, strict=True) if entry.kind == _SCRIPTED]
    rates = action_rates(open_run(baseline.rates_from), scripted)
    return Scenario.from_dict({**scenario.to_dict(), "baseline": {"kind": baseline.kind, "rates": rates}})


def deciding(scenario: Scenario) -> list[PolicyConfig]:
    """Return who decides: as the scenario says, or all but scripts by the rates of ``activity-only``."""
    baseline = scenario.baseline
    if baseline is None or baseline.rates is None:
        return scenario.policies
    return [entry if entry.kind == _SCRIPTED else _by_rates(entry, baseline.rates) for entry in scenario.policies]


def _by_rates(entry: PolicyConfig, rates: Mapping[str, float]) -> PolicyConfig:
    """Return an entry that takes the same agents, whose texts are made as before where the choice model makes them."""
    texts = {key: value for key, value in entry.parameters.items() if key in _TEXTS and entry.kind == "choice"}
    parameters = {**texts, "rates": dict(rates), "max_actions": _UNLIMITED}
    return entry.model_copy(update={"kind": "choice", "parameters": parameters})


def rules(scenario: Scenario) -> Mapping[str, Any]:
    """Return the platform's rules; with ``no-interaction``, what agents write is not shown."""
    hidden = {"show_written": False} if _is(scenario, "no-interaction") else {}
    return {**scenario.platform.rules, **hidden}


def people(scenario: Scenario, population: Population, draws: Draws) -> Population:
    """Return the population, with personas that change hands for ``shuffled-persona``."""
    return shuffled_personas(population, draws) if _is(scenario, "shuffled-persona") else population


def recommending(scenario: Scenario, recommender: Recommender) -> Recommender:
    """Return the recommender, with feeds that change hands for ``shuffled-feed``."""
    return ShuffledFeeds(recommender) if _is(scenario, "shuffled-feed") else recommender


def _is(scenario: Scenario, kind: str) -> bool:
    return scenario.baseline is not None and scenario.baseline.kind == kind
