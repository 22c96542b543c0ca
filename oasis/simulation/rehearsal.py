"""The beginning of a run, rehearsed with made-up answers: what its questions and answers cost, in tokens.

Either the whole run, or as much as `MOST_DECISIONS` allow, is rehearsed as it would go. Or, where that would not show
what questions are like once agents remember something, a panel of agents decides in every step of a short rehearsal;
the choice model decides for the others. Axes: ``n`` agents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from oasis.inference.likely import Habit, LikelyClient
from oasis.inference.tokens import encode, encode_prompts, unshared
from oasis.interfaces import Activation, StepContext
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts, assemble
from oasis.simulation.engine import Engine
from oasis.simulation.interventions import check_interventions, schedule
from oasis.world.snapshot import copied, restore, store_tables
from oasis.world.world import World

__all__ = ["MOST_DECISIONS", "Counts", "Rehearsal"]

I32 = npt.NDArray[np.int32]

MOST_DECISIONS = 2_000
"""Decisions of a rehearsal: 3 to 5 s."""
MOST_TIMES = 5
REMEMBERED = 12
"""So many decisions fill what an agent remembers (5 deeds by default), also of one that often does nothing."""
WARM_UP = 2
"""Steps before the panel, so that its first feeds are not those of an empty platform."""
MOST_DRAWS = 200_000_000
"""Agents times steps for which it is drawn who acts: about 8 s."""
INTERVIEWED = 50


@dataclass(frozen=True)
class Counts:
    """What was asked, and what of it is computed once where prompts begin alike."""

    decisions: float = 0.0
    calls: float = 0.0
    tokens_in: float = 0.0
    unshared: float = 0.0
    tokens_out: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def __mul__(self, factor: float) -> Counts:
        return Counts(*(factor * a for a in self._values()))

    def _values(self) -> tuple[float, ...]:
        return self.decisions, self.calls, self.tokens_in, self.unshared, self.tokens_out


class Rehearsal:
    """A run that can be rehearsed again and again from its start, by different habits.

    Parameters
    ----------
    scenario : Scenario
        No endpoint needs to be named.

    Attributes
    ----------
    agents : int
        Agents that a language model decides for, at the start.
    decisions : float
        Their activations over the whole run: drawn as in the run, so exact as long as nobody signs up or is banned.
    steps : int
        Steps rehearsed, 0 where no policy asks a language model.
    rehearsed : int
        Agents that decide in the rehearsal: all, or those of the panel.

    Raises
    ------
    InputError
        For anything in the scenario or the population that cannot work.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._interviews = [entry for entry in scenario.interventions if entry.kind == "interview"]
        values = scenario.to_dict()
        values["interventions"] = [e for e in values.get("interventions", []) if e["kind"] != "interview"]
        self._scenario = Scenario.from_dict(values)
        self._parts = parts = assemble(self._scenario, needs_endpoint=False)
        check_interventions(scenario, parts.world, parts.policy_names)
        self._asks = np.array([policy.needs_inference for policy in parts.policies])
        mine = self._asks[parts.world.users["policy"]]
        self.agents, self.decisions, self.steps = int(np.count_nonzero(mine)), 0.0, 0
        self.rehearsed = 0
        self._panel: I32 | None = None
        if not self._asks.any():
            return
        self._per_step, self._per_agent = _activity(Engine(parts), mine, scenario.simulation.steps)
        self.decisions = float(self._per_step.sum())
        if self.decisions > MOST_DECISIONS and REMEMBERED * self.agents > MOST_DECISIONS:
            self._panel = _panel(parts, mine)
            values["policies"].append({"kind": "choice", "name": "in the rehearsal"})
            self._scenario = Scenario.from_dict(values)
            self._parts = parts = assemble(self._scenario, needs_endpoint=False)
        self._policy = parts.world.users["policy"].copy()
        self._warm_up = 0
        if self._panel is not None:
            self._warm_up = min(WARM_UP, scenario.simulation.steps // 4)
            others = np.setdiff1d(np.flatnonzero(mine), self._panel)
            parts.world.users["policy"][others] = len(parts.policies) - 1
            parts.activation = _WithPanel(parts.activation, self._panel, self._warm_up)
        self.rehearsed = self.agents if self._panel is None else len(self._panel)
        self._start = copied(store_tables(parts.world))
        self.steps = self._length()

    async def by(self, habit: Habit) -> Counts:
        """Return what the whole run would ask for: the mean of several rehearsals where it is short."""
        if not self.steps:
            return Counts()
        times = int(np.clip(MOST_DECISIONS / max(self.decisions, 1.0), 1, MOST_TIMES))
        total = sum([await self._rehearse(habit, number) for number in range(times)], Counts())
        return total * (1.0 / times)

    async def _rehearse(self, habit: Habit, number: int) -> Counts:
        parts = self._parts
        parts.world.replace("recsys", parts.recommender.tables())  # an intervention may have swapped it
        restore(parts.world, self._start, 0)
        client = LikelyClient(habit, number)
        engine = Engine(parts, client)
        found = []
        for _ in range(self.steps):
            await engine.step()
            if parts.world.step > self._warm_up:
                found.append(self._count(client))
            client.clear()
        weighted = self._weighted(found) if self._panel is None else self._weighted_panel(found)
        counts = sum((part * weight for part, weight in weighted), Counts())
        return counts + await self._interviewed(engine, client)

    def _length(self) -> int:
        steps = self._scenario.simulation.steps
        if self._panel is not None:
            return self._warm_up + max(1, min(REMEMBERED, round(float(self._per_agent.max()))))
        return min(steps, max(1, int(np.searchsorted(np.cumsum(self._per_step), MOST_DECISIONS)) + 1))

    def _count(self, client: LikelyClient) -> Counts:
        """Return what was asked in a step; of a panel's, what is not shared as if all the others had been asked too."""
        asked, agents = client.asked, client.agents
        if not asked:
            return Counts(len(agents))
        prompts = encode_prompts([request.messages for request, _ in asked])
        tokens_in, alone = sum(map(len, prompts)), float(unshared(prompts))
        tokens_out = sum(map(len, encode([text for _, text in asked])))
        if self._panel is not None and len(agents) > 1:
            half = {-1, *sorted(agents)[::2]}  # -1: nobody
            part = unshared([p for (request, _), p in zip(asked, prompts, strict=True) if request.agent_id in half])
            each = max(alone - part, 0.0) / (len(agents) // 2)
            in_common, active = max(alone - each * len(agents), 0.0), float(np.mean(self._per_step))
            alone = len(agents) * (each + in_common / max(active, 1.0))
        return Counts(len(agents), len(asked), tokens_in, alone, tokens_out)

    def _weighted(self, found: list[Counts]) -> Iterator[tuple[Counts, float]]:
        """Yield the rehearsed steps, and their last quarter for all steps after them."""
        yield from ((counts, 1.0) for counts in found)
        rest = float(self._per_step[len(found) :].sum())
        last = sum(found[-max(1, len(found) // 4) :], Counts())
        if rest and last.decisions:
            yield last, rest / last.decisions

    def _weighted_panel(self, found: list[Counts]) -> Iterator[tuple[Counts, float]]:
        """Yield the panel's first decision, second, ..., with how many first, second, ... ones the run has."""
        for number, counts in enumerate(found):
            more = self._per_agent - number
            with_so_many = more.clip(0, 1) if number < len(found) - 1 else more.clip(0)
            if counts.decisions:
                yield counts, float(with_so_many.sum()) / counts.decisions

    async def _interviewed(self, engine: Engine, client: LikelyClient) -> Counts:
        """Return what interviews ask, of agents as they are at the end of the rehearsal."""
        world, parts, total = self._parts.world, self._parts, Counts()
        world.users["policy"][: len(self._policy)] = self._policy
        for entry in self._interviews:
            times = sum(entry.happens_at(step) for step in range(entry.step, self._scenario.simulation.steps + 1))
            due = schedule([entry], entry.step, world, parts.policy_names, parts.draws) if times else None
            for question, chosen in () if due is None else due.interviews:
                agents = chosen[chosen < len(world.users)]
                agents = agents[self._asks_of(world)[agents]]
                if len(agents):
                    await engine.interview(question, agents[:INTERVIEWED], world.step)
                    total += self._count(client) * (times * len(agents) / min(len(agents), INTERVIEWED))
                    client.clear()
        return Counts(0.0, total.calls, total.tokens_in, total.unshared, total.tokens_out)

    def _asks_of(self, world: World) -> npt.NDArray[np.bool_]:
        asks = np.r_[self._asks, np.zeros(len(self._parts.policies) - len(self._asks), np.bool_)]
        return asks[world.users["policy"]]


class _WithPanel(Activation):
    """In the warm-up all but the panel act as they would; after it the panel acts in every step besides."""

    def __init__(self, activation: Activation, panel: I32, warm_up: int) -> None:
        self._activation, self._panel, self._warm_up = activation, panel, warm_up

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def active(self, world: World, ctx: StepContext) -> I32:
        active = self._activation.active(world, ctx)
        if ctx.step <= self._warm_up:
            return np.setdiff1d(active, self._panel).astype(np.int32)
        return np.union1d(active, self._panel[~world.users["banned"][self._panel]]).astype(np.int32)


def _panel(parts: Parts, mine: npt.NDArray[np.bool_]) -> I32:
    """Return agents drawn among those that the model decides for and that act at all."""
    world = parts.world
    drawn = parts.draws.uniform("rehearsal panel", 0, world.users["key"])
    able = np.flatnonzero(mine & ~world.users["banned"])
    return np.sort(able[np.argsort(drawn[able], kind="stable")][: MOST_DECISIONS // REMEMBERED]).astype(np.int32)


def _activity(
    engine: Engine, mine: npt.NDArray[np.bool_], steps: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how many of `mine` act in each step, shape (steps,), and in how many steps each acts, shape (n,).

    Of a run that is too large for that, steps spread over it are drawn, and others are taken to be between them.
    """
    number = max(2, min(steps, MOST_DRAWS // max(len(mine), 1)))
    drawn = np.unique(np.linspace(1, steps, number).round().astype(np.int64))
    per_agent, counts = np.zeros(len(mine)), []
    for step in drawn.tolist():
        active = engine.active(step)
        active = active[mine[active]]
        per_agent[active] += 1
        counts.append(len(active))
    return np.interp(np.arange(1, steps + 1), drawn, counts), per_agent * (steps / len(drawn))
