"""Decisions as choices among lettered options: the model gives the odds, the run's own randomness draws.

A choice is made in stages of at most 20 options: what to do, then where. Which letter stands for which option is drawn
for each agent and stage, so that a liking for a letter or a place favours nothing; what liking is left is divided out
by the odds of the same letters where all options say N/A (contextual calibration: Zhao et al. 2021, equations 1 to 3,
with a content-free option list in the place of a content-free input, so that the odds of *actions* stay the model's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.agents.prompting.conversation import Conversation
from oasis.interfaces import Completion, InferenceClient, InferenceRequest, StepContext
from oasis.world.world import World

__all__ = ["LETTERS", "WHAT", "WHERE", "Chooser", "Picked", "Question", "draw", "uniforms"]

F64 = npt.NDArray[np.float64]
LETTERS = "ABCDEFGHIJKLMNOPQRST"
_LEAST_PRIOR = 0.05
"""A letter's prior is taken for at least this share of an even one: one that the model hardly ever says would make
any sign of it certain."""
WHAT, WHERE = 0, 1
"""Stages of a choice: the action, and the line that it aims at."""
_STAGES = 8
"""Most stages of a turn, for the names of draws."""


@dataclass(frozen=True, slots=True)
class Question:
    """One stage of one agent's choice.

    Attributes
    ----------
    conversation : Conversation
    lead : str
        What is asked, before the options.
    names : sequence of str
        The options, in an order that is the same for all agents.
    codes : sequence of int
        What they stand for, for the records.
    stage : int
        Distinct within a turn.
    """

    conversation: Conversation
    lead: str
    names: Sequence[str]
    codes: Sequence[int]
    stage: int


@dataclass(frozen=True, slots=True)
class Picked:
    """An option drawn: its place, and how likely it was."""

    place: int
    probability: float


_ONLY = Picked(0, 1.0)


class Chooser:
    """Asks for odds and draws.

    Parameters
    ----------
    client : InferenceClient
    world : World
    base : StepContext
        Draws ``llm.letters`` and ``llm.choice``, keyed by agent, turn and stage.
    system : str
        The first message.
    temperature : float
        The odds' exponent is its inverse; 0 takes the likeliest.
    most_outside : float
        Probability of other answers than the letters, above which nothing is drawn.
    calibrated : bool
        Whether the odds are divided by those of the letters alone.
    """

    def __init__(
        self, client: InferenceClient, world: World, base: StepContext, system: str, temperature: float,
        most_outside: float, calibrated: bool,
    ) -> None:  # fmt: skip
        self.client, self._world, self._base, self.system = client, world, base, system
        self.step = base.step
        self._temperature, self._most_outside, self._calibrated = temperature, most_outside, calibrated

    async def pick(self, questions: Sequence[Question], turn: int) -> list[Picked | None]:
        """Return what was drawn for each question; None where the model answered something else too often, or nothing.

        More than 20 options are halved into at most 20 runs of neighbours, of which one is chosen first.
        """
        runs = [_runs(len(q.names)) for q in questions]
        picked = await self._ask([_among_runs(q, r) for q, r in zip(questions, runs, strict=True)], turn)
        chosen = [None if found is None else r[found.place] for found, r in zip(picked, runs, strict=True)]
        longer = {i: run for i, run in enumerate(chosen) if run is not None and len(run) > 1}
        inside = await self.pick([_inside(questions[i], run) for i, run in longer.items()], turn) if longer else []
        within = dict(zip(longer, inside, strict=True))
        out: list[Picked | None] = []
        for i, (found, run) in enumerate(zip(picked, chosen, strict=True)):
            last = within.get(i, _ONLY)
            if found is None or run is None or last is None:
                out.append(None)
            else:
                out.append(Picked(run.start + last.place, found.probability * last.probability))
        return out

    async def _ask(self, questions: Sequence[Question], turn: int) -> list[Picked | None]:
        """Return what was drawn for questions of at most 20 options; one that has no other is not asked about."""
        open_ = [q for q in questions if len(q.names) > 1]
        drawn = iter(await self._odds(open_, turn) if open_ else [])
        return [next(drawn) if len(q.names) > 1 else _ONLY for q in questions]

    async def _odds(self, questions: Sequence[Question], turn: int) -> list[Picked | None]:
        keys, items = _names_of_draws(self._world, questions, turn)
        drawn, step = uniforms(self._base, self._world, questions, turn), self.step
        widths = sorted({len(q.names) for q in questions})
        places = np.tile(np.arange(len(LETTERS), dtype=np.uint64), len(questions))
        shuffle = self._base.draws.bits(
            "llm.letters", step, np.repeat(keys, len(LETTERS)), np.repeat(items << np.uint64(8), len(LETTERS)) | places
        ).reshape(len(questions), -1)
        orders = [np.argsort(row[: len(q.names)]) for row, q in zip(shuffle, questions, strict=True)]
        requests = [self._request(q, order, turn) for q, order in zip(questions, orders, strict=True)]
        letters = [self._letters(width) for width in widths] if self._calibrated else []
        completions = await self.client.complete([*letters, *requests])
        priors = dict(zip(widths, map(_prior, completions[: len(letters)]), strict=False))
        out: list[Picked | None] = []
        for q, order, completion, u in zip(questions, orders, completions[len(letters) :], drawn, strict=True):
            prior = priors.get(len(q.names))
            out.append(self._draw(completion, order, prior, u))
        return out

    def _request(self, q: Question, order: npt.NDArray[np.int64], turn: int) -> InferenceRequest:
        letters = tuple(LETTERS[: len(q.names)])
        options = ", ".join(f"{letter} {q.names[at]}" for letter, at in zip(letters, order.tolist(), strict=True))
        *before, (role, last) = q.conversation.messages
        messages = (("system", self.system), *before[1:], (role, f"{last}\n{q.lead}{options}\nOne letter:"))
        return InferenceRequest(
            self.step, q.conversation.agent_id, turn, "decide", messages, _no_check, max_tokens=1,
            temperature=0.0, cut=q.conversation.cut, labels=letters,
            options=tuple(q.codes[at] for at in order.tolist()),
        )  # fmt: skip

    def _letters(self, width: int) -> InferenceRequest:
        """Return the question without content, the same for all agents of a step."""
        letters = tuple(LETTERS[:width])
        options = ", ".join(f"{letter} N/A" for letter in letters)
        messages = (("system", self.system), ("user", f"N/A\n\nWhat do you do?\n{options}\nOne letter:"))
        return InferenceRequest(
            self.step, -1, 0, "calibrate", messages, _no_check, max_tokens=1, temperature=0.0, labels=letters,
            options=tuple(range(width)),
        )  # fmt: skip

    def _draw(self, completion: Completion, order: npt.NDArray[np.int64], prior: F64 | None, u: float) -> Picked | None:
        mass = _mass(completion)
        if mass is None or 1.0 - mass.sum() > self._most_outside:
            return None
        odds = mass if prior is None else mass / prior
        if self._temperature == 0:
            odds = (odds == odds.max()).astype(np.float64)
        else:
            odds = (odds / odds.max()) ** (1.0 / self._temperature)
        of_options = np.empty(len(odds))
        of_options[order] = odds  # back in the order of the options, which draws are made in
        return draw(of_options, u)


def uniforms(base: StepContext, world: World, questions: Sequence[Question], turn: int) -> list[float]:
    """Return the number in [0, 1) that each choice is drawn with."""
    drawn: list[float] = base.draws.uniform("llm.choice", base.step, *_names_of_draws(world, questions, turn)).tolist()
    return drawn


def draw(odds: F64, u: float) -> Picked:
    """Return the option that `u` falls on; `odds` need not sum to 1."""
    chances = odds / odds.sum()
    place = int(min(np.searchsorted(np.cumsum(chances), u, side="right"), np.flatnonzero(chances)[-1]))
    return Picked(place, float(chances[place]))


def _names_of_draws(
    world: World, questions: Sequence[Question], turn: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    agents = np.array([q.conversation.agent_id for q in questions], np.int64)
    return world.users["key"][agents], np.array([turn * _STAGES + q.stage for q in questions], np.uint64)


def _mass(completion: Completion) -> F64 | None:
    """Return the probability of each letter; None where nothing is known of them."""
    if completion.status != "ok":
        return None
    mass: F64 = np.exp(np.array(completion.value, np.float64))
    return mass if mass.sum() > 0 else None


def _prior(completion: Completion) -> F64 | None:
    """Return how likely each letter is by itself; None where that could not be had."""
    mass = _mass(completion)
    if mass is None:
        return None
    prior: F64 = np.maximum(mass / mass.sum(), _LEAST_PRIOR / len(mass))
    return prior / prior.sum()


def _runs(count: int) -> list[range]:
    """Return at most 20 runs of nearly equal length that make up `count` options."""
    parts = min(count, len(LETTERS))
    bounds = [i * count // parts for i in range(parts + 1)]
    return [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]


def _among_runs(q: Question, runs: Sequence[range]) -> Question:
    if len(runs) == len(q.names):
        return q
    names = [q.names[r.start] if len(r) == 1 else f"{q.names[r.start]} to {q.names[r.stop - 1]}" for r in runs]
    return Question(q.conversation, q.lead, names, [q.codes[r.start] for r in runs], q.stage)


def _inside(q: Question, run: range) -> Question:
    return Question(q.conversation, q.lead, q.names[run.start : run.stop], q.codes[run.start : run.stop], q.stage + 2)


def _no_check(text: str) -> str:
    return text
