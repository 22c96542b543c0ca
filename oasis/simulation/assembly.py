"""Build the parts of a run from its scenario: its components, and the world from the population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from oasis.errors import ScenarioError
from oasis.interfaces import Activation, ChecksAgents, ChecksTexts, Platform, Policy, Recommender
from oasis.plugins import available, load
from oasis.population import load_population
from oasis.randomness import Draws
from oasis.scenario import PolicyConfig, Scenario
from oasis.selection import Selection, select
from oasis.simulation import baselines
from oasis.simulation.components import build_components, naming
from oasis.simulation.point import Point
from oasis.world.snapshot import restore
from oasis.world.tables import users_frame
from oasis.world.world import World

__all__ = ["Parts", "assemble"]


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
    made = build_components(scenario, needs_endpoint, point)
    platform, recommender, activation = made.platform, made.recommender, made.activation
    entries, names, policies = made.entries, made.policy_names, made.policies
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
    owners: dict[str, Any] = {"platform": platform, "recsys": recommender, **dict(zip(names, policies, strict=True))}
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


def _check_named_agents(
    world: World, scenario: Scenario, entries: Sequence[PolicyConfig], policies: Sequence[Policy]
) -> None:
    newcomers = any(entry.kind == "sign_up" for entry in scenario.interventions)
    for number, (entry, policy) in enumerate(zip(entries, policies, strict=True)):
        if isinstance(policy, ChecksAgents):
            with naming(entry, number):
                policy.check_agents(world.users["policy"], number, newcomers)


def _check_texts(world: World, scenario: Scenario, entries: Sequence[PolicyConfig], policies: Sequence[Policy]) -> None:
    for number, (entry, policy) in enumerate(zip(entries, policies, strict=True)):
        if isinstance(policy, ChecksTexts):
            said = pa.array(list(_strings([change.arguments for change in scenario.interventions])), pa.large_string())
            with naming(entry, number):
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
