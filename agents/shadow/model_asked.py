"""Which language model is asked, in what way, and for which choice policy of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oasis.agents.choice.model import ChoiceParameters
from oasis.agents.llm import LLM
from oasis.errors import InputError
from oasis.plugins import parse_parameters
from oasis.scenario import Scenario
from oasis.scenario_model import deciding_parameters
from oasis.simulation.baselines import deciding, with_rates
from oasis.simulation.components import check_endpoint
from oasis.simulation.policy_names import policy_names

__all__ = ["asked_policy", "asking_scenario", "shadowed_policy"]

_CHANGED = {"llm": "llm", "budget": "budget", "policy": "policies.0.parameters"}
"""What may be changed, and where it stands in the scenario that asks."""


def shadowed_policy(directory: Path, scenario: Scenario, wanted: str | None) -> tuple[str, ChoiceParameters]:
    """Return the name of the run's choice policy and its parameters.

    Raises
    ------
    InputError
        If the run has none, several and none is wanted, another of that name, or one that decides by rates.
    """
    entries = deciding(with_rates(scenario))
    kinds = dict(zip(policy_names(entries), entries, strict=True))
    choices = [name for name, entry in kinds.items() if entry.kind == "choice"]
    if not choices:
        raise InputError(
            f"{directory}: no agent is decided for by a choice policy (there are {', '.join(kinds)}), so there is"
            " nothing that stands in for a language model; choose another run"
        )
    if wanted is None and len(choices) > 1:
        raise InputError(f"{directory}: has several choice policies: name one with --decided-by ({', '.join(choices)})")
    name = choices[0] if wanted is None else wanted
    if name not in choices:
        raise InputError(f"{directory}: has no choice policy {name!r}; there are {', '.join(choices)}")
    parameters = parse_parameters(ChoiceParameters, kinds[name].parameters, "policies.parameters")
    if parameters.rates is not None:
        raise InputError(
            f"{directory}: {name!r} decides by given rates, whatever agents are shown, and has no coefficients to"
            " score; choose a run with a choice model"
        )
    return name, parameters


def asking_scenario(scenario: Scenario, llm: Mapping[str, Any], overrides: Sequence[str]) -> Scenario:
    """Return the scenario in which the language model decides for all: its one policy says how it is asked.

    That is as the run's first ``llm`` entry says, else by the defaults of ``kind = "llm"``.

    Parameters
    ----------
    llm : mapping
        Keys of ``[llm]`` that change the run's.
    overrides : sequence of str
        ``llm.KEY=VALUE``, ``budget.KEY=VALUE`` or ``policy.KEY=VALUE``, a parameter of ``kind = "llm"``.

    Raises
    ------
    InputError
        For other keys, and for whatever a scenario may not hold.
    """
    values = scenario.to_dict()
    values["llm"] |= llm
    given = [entry["parameters"] for entry in values["policies"] if entry["kind"] == "llm"]
    parameters = given[0] if given else deciding_parameters(values["llm"])
    values["policies"] = [{"kind": "llm", "parameters": {**parameters, "max_turns": 1}}]
    return Scenario.from_dict(values).with_overrides([_placed(override) for override in overrides])


def asked_policy(scenario: Scenario, needs_endpoint: bool = True) -> LLM:
    """Return the policy that asks, which an `asking_scenario` describes.

    Raises
    ------
    InputError
        For parameters that it does not know, or where no model is named.
    """
    policy = LLM.from_parameters(scenario.policies[0].parameters)
    if policy.parameters.max_turns > 1:
        raise InputError("policy.max_turns: looking things up is not scored, so each agent is asked once; leave it out")
    if needs_endpoint:
        check_endpoint(scenario, ["llm"], [policy])
    return policy


def _placed(override: str) -> str:
    table, _, rest = override.partition(".")
    if table not in _CHANGED or not rest:
        raise InputError(
            f"--set {override.partition('=')[0]!r}: the run stays as it is; allowed are llm.KEY, budget.KEY and"
            " policy.KEY (a parameter of the llm policy)"
        )
    return f"{_CHANGED[table]}.{rest}"
