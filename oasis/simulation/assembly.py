"""Build the parts of a run from its scenario: components by name, the world from the population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from oasis.errors import InputError, ScenarioError
from oasis.interfaces import Activation, ChecksAgents, ChecksTexts, Platform, Policy, Recommender
from oasis.plugins import available, load
from oasis.population import load_population
from oasis.randomness import Draws
from oasis.scenario import PolicyConfig, Scenario
from oasis.selection import Selection, select
from oasis.simulation import baselines
from oasis.simulation.point import Point
from oasis.simulation.policy_names import policy_names
from oasis.world.snapshot import restore
from oasis.world.tables import users_frame
from oasis.world.world import World

__all__ = ["Parts", "assemble", "build_recommender", "check_endpoint"]


@dataclass
class Parts:
    """Everything that a run is made of, before its first step."""

    scenario: Scenario
    world: World
    draws: Draws
    platform: Platform
    recommender: Recommender
    activation: Activation
    policies: list[Policy]
    policy_names: list[str]
    rest_policy: int
    """The policy of agents that sign up during the run: the entry that takes the rest."""
    refused_rows: list[dict[str, Any]] = field(repr=False)
    """Rows of the population that were left out, each with its place and reason."""
    warnings: list[str] = field(default_factory=list, repr=False)
    """What of the population could not be used as it is."""
    point: Point | None = field(default=None, repr=False)
    """Where the world was taken up, None for the population at the start."""


def assemble(
    scenario: Scenario, needs_endpoint: bool = True, point: Point | None = None, embeds: bool = False
) -> Parts:
    """Build components and world.

    Parameters
    ----------
    needs_endpoint : bool
        Whether a policy that asks a language model needs one that the scenario names.
    point : Point, optional
        Where to go on from, instead of the population at the start.
    embeds : bool
        Whether texts are embedded though nothing in the scenario needs it.

    Raises
    ------
    InputError
        For anything in the scenario or the population that cannot work.
    """
    scenario = baselines.with_rates(scenario)
    draws = Draws(scenario.simulation.seed)
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
    embedder = None
    if (
        embeds
        or recommender.needs_embeddings
        or any(p.needs_embeddings for p in policies)
        or _swaps_to_embeddings(scenario)
    ):
        embedder = load("embedders", scenario.recsys.embedder)()
    recommender = baselines.recommending(scenario, recommender)

    world = World()
    if embedder is not None:
        world.attach_embedder(embedder)
    refused, warnings = _populate(world, scenario, draws) if point is None else ([], [])
    owners = {"platform": platform, "recsys": recommender, **dict(zip(names, policies, strict=True))}
    for owner, part in owners.items():
        for name, store in part.tables().items():
            world.register(f"{owner}.{name}", store)
    if point is not None:
        own = tuple(f"{owner}." for owner in owners if owner != "platform")
        restore(world, point.tables, point.step, own if point.altered else ())
    if point is None or point.reassign:
        _assign_policies(world, entries, names, draws)
        _check_named_agents(world, scenario, entries, policies)
    if point is None or point.altered:
        _check_texts(world, scenario, entries, policies)
    takes_rest = [n for n, p in enumerate(entries) if p.select is None and p.share is None]
    rest = takes_rest[0] if takes_rest else len(names) - 1
    return Parts(
        scenario, world, draws, platform, recommender, activation, policies, names, rest, refused, warnings, point
    )


def _build_policy(entry: PolicyConfig, number: int) -> Policy:
    policy_class = load("policies", entry.kind)
    with _naming(entry, number):
        policy: Policy = policy_class.from_parameters(entry.parameters)
    return policy


@contextmanager
def _naming(entry: PolicyConfig, number: int) -> Iterator[None]:
    """Say which ``[[policies]]`` entry an error is about."""
    try:
        yield
    except InputError as error:
        raise ScenarioError(f"policies.{number} ({entry.kind}): {error}") from None


def _check_named_agents(
    world: World, scenario: Scenario, entries: Sequence[PolicyConfig], policies: Sequence[Policy]
) -> None:
    newcomers = any(entry.kind == "sign_up" for entry in scenario.interventions)
    for number, (entry, policy) in enumerate(zip(entries, policies, strict=True)):
        if isinstance(policy, ChecksAgents):
            with _naming(entry, number):
                policy.check_agents(world.users["policy"], number, newcomers)


def _check_texts(world: World, scenario: Scenario, entries: Sequence[PolicyConfig], policies: Sequence[Policy]) -> None:
    for number, (entry, policy) in enumerate(zip(entries, policies, strict=True)):
        if isinstance(policy, ChecksTexts):
            said = pa.array(list(_strings([change.arguments for change in scenario.interventions])), pa.large_string())
            with _naming(entry, number):
                policy.check_texts(pa.chunked_array([*world.texts.to_arrow()["text"].chunks, said], pa.large_string()))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _strings(part)


def _swaps_to_embeddings(scenario: Scenario) -> bool:
    """Return whether a later recommender needs embeddings; names that nothing has are refused elsewhere."""
    names = [entry.arguments.get("recommender") for entry in scenario.interventions if entry.kind == "swap_recommender"]
    return any(load("recommenders", name).needs_embeddings for name in available("recommenders") if name in names)


def _populate(world: World, scenario: Scenario, draws: Draws) -> tuple[list[dict[str, Any]], list[str]]:
    p = scenario.population
    population = load_population(
        p.source,
        p.path,
        activity_path=p.activity_path,
        agents=p.agents,
        seed=scenario.simulation.seed,
        mean_active=p.mean_active,
        **p.further,
    )
    population = baselines.people(scenario, population, draws)
    return population.refused_rows, population.install(world)


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


def _assign_policies(world: World, entries: Sequence[PolicyConfig], names: Sequence[str], draws: Draws) -> None:
    """Give every agent the first policy that takes it.

    A share is of all agents; a selection is of those still without a policy.
    """
    assigned = world.users["policy"]
    assigned[:] = -1
    frame = users_frame(world)
    keys = world.users["key"]
    for number, entry in enumerate(entries):
        free = frame.filter(pl.Series(assigned == -1))
        where = f"policies.{number}"
        if entry.select is not None:
            # An id that is taken already is no error; one that does not exist is.
            chosen = select(
                entry.select, frame if entry.select.ids is not None else free, "agent_id", draws, keys, where
            )
        elif entry.share is not None:
            part = Selection(count=round(entry.share * len(assigned)))
            chosen = select(part, free, "agent_id", draws, keys, where)
        else:
            chosen = free["agent_id"].to_numpy()
        chosen = chosen[assigned[chosen] == -1]
        assigned[chosen] = number
    left = int(np.count_nonzero(assigned == -1))
    if left:
        raise ScenarioError(
            f"policies: {left} of {len(assigned)} agents have no policy; end with an entry without select and share, "
            f'such as [[policies]] kind = "choice"'
        )
