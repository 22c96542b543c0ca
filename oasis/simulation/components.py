"""The components that a scenario names: platform, recommender, activation, policies, each with its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from oasis.errors import InputError, ScenarioError
from oasis.interfaces import Activation, Platform, Policy, Recommender
from oasis.plugins import load
from oasis.scenario import PolicyConfig, Scenario
from oasis.simulation import baselines
from oasis.simulation.point import Point
from oasis.simulation.policy_names import policy_names

__all__ = ["Components", "build_components", "build_recommender", "check_endpoint", "naming"]


@dataclass(frozen=True)
class Components:
    """What a scenario names, built; `entries` are the ``[[policies]]`` that decide, one for each of `policies`."""

    platform: Platform
    recommender: Recommender
    activation: Activation
    entries: Sequence[PolicyConfig]
    policy_names: list[str]
    policies: list[Policy]


def build_components(scenario: Scenario, needs_endpoint: bool = True, point: Point | None = None) -> Components:
    """Build what a scenario names. No population is read, so all scenarios of an experiment can be checked with it.

    Parameters are those of `oasis.simulation.assembly.assemble`.

    Raises
    ------
    InputError
        For a component that does not exist, and parameters that it does not take.
    """
    platform_class = load("platforms", scenario.platform.kind)
    platform = platform_class.from_parameters(scenario.platform.allowed, baselines.rules(scenario))
    kind = platform.default_recommender if scenario.recsys.kind is None else scenario.recsys.kind
    recommender = build_recommender(kind, scenario.recsys.parameters)
    if point is not None and point.recommender is not None:
        recommender = build_recommender(**point.recommender)
    activation = load("activations", scenario.activation.kind).from_parameters(scenario.activation.parameters)
    entries = baselines.deciding(scenario)
    names = policy_names(entries)
    policies = [_build_policy(entry, number) for number, entry in enumerate(entries)]
    if needs_endpoint:
        check_endpoint(scenario, names, policies)
    return Components(platform, recommender, activation, entries, names, policies)


def _build_policy(entry: PolicyConfig, number: int) -> Policy:
    policy_class = load("policies", entry.kind)
    with naming(entry, number):
        policy: Policy = policy_class.from_parameters(entry.parameters)
    return policy


@contextmanager
def naming(entry: PolicyConfig, number: int) -> Iterator[None]:
    """Say which ``[[policies]]`` entry an error is about."""
    try:
        yield
    except InputError as error:
        raise ScenarioError(f"policies.{number} ({entry.kind}): {error}") from None


def check_endpoint(scenario: Scenario, names: Sequence[str], policies: Sequence[Policy]) -> None:
    """Refuse policies that ask a language model where the scenario names none, or none that can do what they need.

    Raises
    ------
    ScenarioError
    """
    asking = [name for name, policy in zip(names, policies, strict=True) if policy.needs_inference]
    llm = scenario.llm
    if asking and llm.backend == "server" and (not llm.endpoints or llm.model is None):
        raise ScenarioError(
            f"policy {asking[0]!r} asks a language model, and none is named: give --llm URL --model NAME, "
            'or [llm] endpoints and model, or [llm] backend = "local"'
        )
    scoring = [name for name, policy in zip(names, policies, strict=True) if getattr(policy, "needs_scores", False)]
    if scoring and llm.backend == "server":
        raise ScenarioError(
            f"policy {scoring[0]!r} has decoding = 'score', for which servers give no log-probabilities of given texts;"
            ' run the model in this process (--llm local, or [llm] backend = "local"), or set decoding = "choice"'
        )


def build_recommender(kind: str, parameters: Mapping[str, object]) -> Recommender:
    """Return a recommender by name."""
    recommender: Recommender = load("recommenders", kind).from_parameters(parameters)
    return recommender
