"""A choice dilemma put to agents that were primed for risk or for caution: who they are, what they are asked, when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import ndtr, ndtri

from oasis.errors import InputError
from oasis.experiments.interfaces import Cell, Setting
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.population import Population, load_population
from oasis.randomness import Draws
from oasis.scenario import Scenario
from oasis.simulation.policy_names import policy_names

__all__ = [
    "ADVICE",
    "ANSWER",
    "MIXED",
    "POPULATIONS",
    "PRIMES",
    "STANCE",
    "STANCE_SCALE",
    "DilemmaParameters",
    "Prime",
    "in_scenario",
    "opinions_of_stances",
    "parameters_of",
    "population_of",
    "waves",
]

F64 = npt.NDArray[np.float64]

PRIMES = ("risky", "cautious")
MIXED = "mixed"
POPULATIONS = (*PRIMES, MIXED)
ANSWER, STANCE, ADVICE = "dilemma", "stance", "advice"
"""Questions: the one that is put to everybody, the exact stance of agents without a language model, and what those with
one would advise, in words."""
STANCE_SCALE = (-500.0, 500.0)
"""So wide that agents without a language model answer with their stance unrounded (docs/choice-model.md)."""
MOST = 20_000
"""Agents; each is primed by an event of its own."""


class Prime(Parameters):
    """What a group of agents is told, or assumed, to be.

    Attributes
    ----------
    stance : float
        Mean of its stances before they are cut off at -1 and 1: -1 is the riskiest, 1 the most cautious. Assumed.
    persona : str
        Added to what a generated agent says of itself; only language models read it.
    file : str
        With data: the X profiles with this prime. Those of both primes are the same accounts.
    """

    stance: float = Field(ge=-1, le=1, allow_inf_nan=False)
    persona: str
    file: str


class DilemmaParameters(Parameters):
    """``[parameters]``.

    Attributes
    ----------
    risky, cautious : Prime
    stance_sd : float
        Of the normal distribution within a prime. Assumed.
    every : int
        Steps between interviews. The first is before anybody acts, the last before anybody acts in the last step.
    poser : int
        The agent that posts the dilemma. It has no stance and is not asked. With data its one earlier tweet is the
        dilemma.
    dilemma : str
        Without data: what the poser posts before step 1.
    question : str
        What is asked, after the dilemma in the same words.
    advice : str
        What agents of language models are asked besides in the first and the last interview, for a text that a judge
        may read; empty: nothing.
    """

    risky: Prime
    cautious: Prime
    stance_sd: float = Field(default=0.3, ge=0.01, le=10, allow_inf_nan=False)
    every: int = Field(default=12, ge=1)
    poser: int = Field(default=1, ge=0)
    dilemma: str = Field(min_length=1)
    question: str = Field(min_length=1)
    advice: str = "What do you advise, and why? Answer in your own words, in one or two sentences."

    def prime(self, name: str) -> Prime:
        """Return that of ``risky`` or ``cautious``."""
        return self.risky if name == PRIMES[0] else self.cautious


@dataclass(frozen=True)
class _People:
    """Who is primed, and how: `groups` (n,) indexes `PRIMES`, `stances` (n,), `personas` n texts."""

    groups: npt.NDArray[np.int64]
    stances: F64
    personas: Sequence[str]


def parameters_of(setting: Setting) -> DilemmaParameters:
    """Return ``[parameters]``, checked.

    Raises
    ------
    ScenarioError
    """
    return parse_parameters(DilemmaParameters, setting.parameters, "parameters")


def population_of(arm: str) -> str:
    """Return which population an arm has: its name begins with it.

    Raises
    ------
    InputError
    """
    name = arm.partition("-")[0]
    if name not in POPULATIONS:
        raise InputError(
            f"arms: {arm!r} does not say which population it has; names of arms of polarization begin with one of"
            f" {', '.join(POPULATIONS)}, as in 'risky-alone'"
        )
    return name


def opinions_of_stances(stances: npt.ArrayLike) -> F64:
    """Return opinions, the lowest acceptable probability of success in tenths: ``5.5 + 4.5 stance``, shape as given.

    Stance -1 is 1 in 10, the riskiest; 0 is 5.5; 1 is 10 in 10, the most cautious: the same line by which agents
    without a language model answer on a scale from 1 to 10, without its rounding.
    """
    return np.asarray(5.5 + 4.5 * np.asarray(stances, np.float64), np.float64)


def waves(steps: int, every: int) -> list[int]:
    """Return the steps in which agents are asked, ascending: 1, each `every`-th after it, and the last."""
    return sorted({*range(1, steps + 1, every), steps})


def in_scenario(scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
    """Return the scenario with a primed population, the dilemma, and interviews.

    Primes, stances and who has which of the two in a mix are drawn from ``cell.seed`` and not from the arm.

    Raises
    ------
    InputError
        For an arm without a population, or data that are not there or do not fit together.
    """
    p = parameters_of(setting)
    name = population_of(cell.arm)
    changed: dict[str, Any] = {}
    if setting.data is None:
        settings = scenario.population
        bases = [_load("generate", None, agents=settings.agents, seed=cell.seed, **settings.further)] * len(PRIMES)
        personas = [
            [f"{bio} {p.prime(prime).persona}".strip() for bio in base.bio.to_pylist()]
            for prime, base in zip(PRIMES, bases, strict=True)
        ]
        _check_poser(p, len(bases[0]), "population.agents")
        dilemma, posts = p.dilemma, [{"step": 1, "kind": "post", "author": p.poser, "content": p.dilemma}]
    else:
        bases = _read(setting.data, p)
        personas = [base.persona.to_pylist() for base in bases]
        source = setting.data / p.prime(PRIMES[0] if name == MIXED else name).file
        active = scenario.population.mean_active
        changed["population"] = {"source": "x-csv", "path": str(source), "mean_active": active}
        dilemma, posts = str(bases[0].posts.text.to_pylist()[0]), []
    people = _drawn(Draws(cell.seed), name, personas, p)
    entries = [*_primed(people, p), *posts, *_interviews(scenario, len(bases[0]), dilemma, p)]
    return scenario.with_values({**changed, "interventions": [*entries, *scenario.to_dict()["interventions"]]})


def _load(source: Literal["generate", "x-csv"], path: Path | None, **further: Any) -> Population:
    found = load_population(source, path, **further)
    if len(found) > MOST:
        raise InputError(f"population: {len(found):,} agents are more than the {MOST:,} that can be primed one by one")
    return found


def _read(folder: Path, p: DilemmaParameters) -> list[Population]:
    """Return the population of each prime: the same accounts, the poser's dilemma their one earlier tweet."""
    for name in PRIMES:
        path = folder / p.prime(name).file
        if not path.is_file():
            raise InputError(
                f"{path}: is not there; it should hold X profiles with the {name} prime (data of polarization:"
                f" {p.risky.file} and {p.cautious.file})"
            )
    found = [_load("x-csv", folder / p.prime(name).file) for name in PRIMES]
    first, second = found
    path = folder / p.cautious.file
    if not first.username.equals(second.username):
        raise InputError(f"{path}: has other accounts than {folder / p.risky.file}; a mix needs the same, row by row")
    _check_poser(p, len(first), str(path))
    if any(base.posts.author.tolist() != [p.poser] for base in found):
        raise InputError(f"{path}: agent {p.poser} (parameters.poser) must have the only earlier tweet, the dilemma")
    return found


def _check_poser(p: DilemmaParameters, agents: int, where: str) -> None:
    if p.poser >= agents:
        raise InputError(f"{where}: parameters.poser is {p.poser}, but agents are numbered from 0 to {agents - 1}")
    if agents < 3:
        raise InputError(f"{where}: {agents} agents are too few; the poser and at least two others are needed")


def _drawn(draws: Draws, population: str, personas: Sequence[Sequence[str]], p: DilemmaParameters) -> _People:
    """Draw primes and stances; in a mix a half of the agents, drawn, has each prime.

    Stances are normal, cut off at -1 and 1 (by the inverse of the distribution function, so that one uniform draw per
    agent gives its place within any prime).
    """
    n = len(personas[0])
    agents = np.arange(n, dtype=np.uint64)
    if population == MIXED:
        groups = np.empty(n, np.int64)
        groups[np.argsort(draws.bits("polarization.prime", 0, agents), kind="stable")] = np.arange(n) % 2
    else:
        groups = np.full(n, PRIMES.index(population))
    mean = np.array([p.prime(name).stance for name in PRIMES])[groups]
    low, high = ndtr((-1 - mean) / p.stance_sd), ndtr((1 - mean) / p.stance_sd)
    level = draws.uniform("polarization.stance", 0, agents)
    stances = np.clip(mean + p.stance_sd * ndtri(low + level * (high - low)), -1, 1)
    return _People(groups, stances, [personas[group][agent] for agent, group in enumerate(groups.tolist())])


def _primed(people: _People, p: DilemmaParameters) -> list[dict[str, Any]]:
    """Return an edit of each agent's profile; the poser's takes its stance away, if it has one."""
    found = [
        {"step": 1, "kind": "edit_profile", "agents": [agent], "persona": persona, "group": PRIMES[group]}
        for agent, (group, persona) in enumerate(zip(people.groups.tolist(), people.personas, strict=True))
    ]
    for agent, stance in enumerate(people.stances.tolist()):
        found[agent]["stance"] = None if agent == p.poser else stance
    return found


def _interviews(scenario: Scenario, agents: int, dilemma: str, p: DilemmaParameters) -> list[dict[str, Any]]:
    """Return the questions of each wave: the dilemma to all but the poser, the stance to those of the choice model.

    In the first and the last, those of language models are asked for their advice too.
    """
    asked = [agent for agent in range(agents) if agent != p.poser]
    names = policy_names(scenario.policies) if scenario.policies else ["choice"]
    kinds = [entry.kind for entry in scenario.policies] or ["choice"]
    of_kind = {
        kind: [name for name, its in zip(names, kinds, strict=True) if its == kind] for kind in ("choice", "llm")
    }
    found: list[dict[str, Any]] = []
    steps = waves(scenario.simulation.steps, p.every)
    for step in steps:
        common = {"step": step, "kind": "interview"}
        text = f"{dilemma.strip()} {p.question.strip()}"
        found.append({**common, "agents": asked, "question_id": ANSWER, "question": text, "scale": [1.0, 10.0]})
        of_model = {"ids": asked, "where": {"policy": of_kind["choice"]}}
        scale = list(STANCE_SCALE)
        found.append({**common, "agents": of_model, "question_id": STANCE, "question": "Stance?", "scale": scale})
        if p.advice and of_kind["llm"] and step in (steps[0], steps[-1]):
            of_model = {"ids": asked, "where": {"policy": of_kind["llm"]}}
            text = f"{dilemma.strip()} {p.advice.strip()}"
            found.append({**common, "agents": of_model, "question_id": ADVICE, "question": text})
    return found
