"""Answers that a model might give: made from a question's JSON schema by habits, and checked as any answer is.

Nothing is known here of the form of answers but that actions stand in it by their names; and of questions for odds,
that they end with their labels, each before what it stands for. What is made costs about what a model's answer costs;
it means nothing.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from oasis.actions import READ_ACTIONS, TEXT_ACTIONS, USER_ACTIONS, Action
from oasis.interfaces import Completion, InferenceRequest
from oasis.records import LLM_CALLS

__all__ = ["BUSY", "QUIET", "TYPICAL", "Habit", "LikelyClient", "likely_answer"]

_LABELS = {action.label: action for action in USER_ACTIONS}
_TRIES = 12
_OPTIONS_END = 1_000
"""Characters at the end of a question for odds among which its options are."""
_COMMON = (
    "the a and of to in is it that this for on with about people time work city music food game team news plan week"
    " night really never always think feel know want love agree wonder maybe honestly great strange new old better"
    " because every after before today tomorrow everyone nobody something question idea story reason money school"
)
_WORDS = _COMMON.split()


@dataclass(frozen=True)
class Habit:
    """How often a model answers with which action, and at what length. Assumed, not measured.

    Attributes
    ----------
    name : str
    nothing, looking, writing : float
        Weights of do_nothing, of each read-only action, and of each action with a text.
    weights : mapping
        Of single actions, instead; all others weigh 1.
    further : float
        Chance that another action follows in an answer, where more than one may.
    words : tuple of int
        Fewest and most words of a text.
    """

    name: str
    nothing: float
    looking: float
    writing: float
    weights: Mapping[Action, float] = field(default_factory=dict)
    further: float = 0.0
    words: tuple[int, int] = (5, 30)

    def weight(self, action: Action) -> float:
        """Return how often an action is chosen, relative to others."""
        if action in self.weights:
            return self.weights[action]
        if action in READ_ACTIONS:
            return self.looking
        if action in TEXT_ACTIONS:
            return self.writing
        return self.nothing if action is Action.DO_NOTHING else 1.0


_OFTEN = {Action.LIKE_POST: 40.0, Action.LIKE_COMMENT: 3.0, Action.REPOST: 5.0, Action.CREATE_COMMENT: 4.0}
QUIET = Habit("quiet", 250.0, 1.0, 1.0, {Action.LIKE_POST: 20.0}, 0.0, (3, 15))
"""Nothing in nine answers of ten, else mostly a like."""
TYPICAL = Habit("typical", 20.0, 3.0, 1.5, _OFTEN, 0.4, (3, 14))
"""Mostly likes, sometimes two things at once; nothing in a third of the answers, a short text in a tenth."""
BUSY = Habit("busy", 3.0, 5.0, 5.0, {Action.LIKE_POST: 5.0}, 0.5, (10, 50))
"""Any action, often two at once; a text, and a longer one, in every second answer."""


def likely_answer(request: InferenceRequest, habit: Habit, seed: int = 0) -> str:
    """Return an answer to a question: a pure function of who is asked when, and of the seed.

    It is one that the question's check takes, if one of some tries is.
    """
    text = ""
    for number in range(_TRIES):
        key = f"{seed}/{request.step}/{request.agent_id}/{request.turn}/{request.purpose}/{number}"
        maker = _Maker(habit, random.Random(key), number < _TRIES // 2)
        text = maker.text() if request.schema is None else json.dumps(maker.value(request.schema), **_COMPACT)
        try:
            request.check(text)
        except ValueError:
            continue
        return text
    return text


_COMPACT: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}


class LikelyClient:
    """An `oasis.interfaces.InferenceClient` that answers by habit and asks nobody.

    Parameters
    ----------
    habit : Habit
    seed : int

    Attributes
    ----------
    asked : list of (InferenceRequest, str)
        Questions and answers so far. A question for odds that a step asks twice is answered once.
    agents : set of int
        Who asked.
    """

    def __init__(self, habit: Habit, seed: int = 0) -> None:
        self._habit, self._seed = habit, seed
        self.asked: list[tuple[InferenceRequest, str]] = []
        self.agents: set[int] = set()
        self._odds: set[tuple[Any, ...]] = set()
        self._of_nobody: set[tuple[Any, ...]] = set()  # asked once in a run

    def clear(self) -> None:
        """Forget what was asked."""
        self.asked.clear()
        self.agents.clear()
        self._odds.clear()

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        """Answer each question."""
        return [self._answer(request) for request in requests]

    def take_records(self) -> pa.Table:
        """Return no rows: nobody was asked."""
        return LLM_CALLS.empty_table()

    async def close(self) -> None:
        """Release nothing."""

    def _answer(self, request: InferenceRequest) -> Completion:
        if request.agent_id >= 0:
            self.agents.add(request.agent_id)
        if request.labels:
            return self._give_odds(request)
        if request.continuation is not None:
            return self._score(request, request.continuation)
        text = likely_answer(request, self._habit, self._seed)
        self.asked.append((request, text))
        try:
            return Completion(request, "ok", value=request.check(text), text=text)
        except ValueError as error:
            return Completion(request, "invalid", text=text, error=str(error))

    def _score(self, request: InferenceRequest, text: str) -> Completion:
        """Give every text the same log-probability: all are as likely to be chosen."""
        once = self._odds if request.agent_id >= 0 else self._of_nobody
        key = (request.step if request.agent_id >= 0 else 0, request.messages, text)
        if key not in once:
            once.add(key)
            self.asked.append((request, text))
        return Completion(request, "ok", value=0.0)

    def _give_odds(self, request: InferenceRequest) -> Completion:
        key = (request.step, request.turn, request.purpose, request.messages)
        if key not in self._odds:
            self._odds.add(key)
            self.asked.append((request, request.labels[0]))
        said = dict(re.findall(r"\b(\w+) (\w+)", request.messages[-1][1][-_OPTIONS_END:]))
        actions = [_LABELS.get(said.get(label, "")) for label in request.labels]
        weights = [1.0 if action is None else self._habit.weight(action) for action in actions]
        odds = tuple(math.log(weight / sum(weights)) for weight in weights)
        return Completion(request, "ok", value=odds, text=request.labels[0])


class _Maker:
    """Makes values that fit a schema: objects, arrays, ``anyOf``, ``enum``, ``const``, strings, numbers."""

    def __init__(self, habit: Habit, draw: random.Random, several: bool) -> None:
        self._habit, self._draw, self._several = habit, draw, several

    def value(self, schema: Mapping[str, Any]) -> Any:
        """Return a value that fits."""
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.value(self._pick(schema[key], [self._weight(part) for part in schema[key]]))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._pick(schema["enum"], [self._weight_of(value) for value in schema["enum"]])
        kind = schema.get("type")
        if kind == "object" or "properties" in schema:
            return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(self._length(schema))]
        if kind in ("integer", "number"):
            low, high = schema.get("minimum", 0), schema.get("maximum", 100)
            return self._draw.randint(int(low), int(high))
        if kind == "boolean":
            return self._draw.random() < 0.5
        return None if kind == "null" else self.text(schema.get("maxLength"))

    def text(self, longest: int | None = None) -> str:
        """Return a text of as many words as the habit has."""
        words = self._draw.choices(_WORDS, k=self._draw.randint(*self._habit.words))
        return " ".join(words)[:longest].strip() or "a"

    def _length(self, schema: Mapping[str, Any]) -> int:
        least = int(schema.get("minItems", 0))
        length, most = max(least, 1), int(schema.get("maxItems", least + 2))
        while length < most and self._several and self._draw.random() < self._habit.further:
            length += 1
        return min(length, most)

    def _pick(self, values: Sequence[Any], weights: Sequence[float]) -> Any:
        return self._draw.choices(values, weights)[0]

    def _weight_of(self, value: Any) -> float:
        return self._habit.weight(_LABELS[value]) if isinstance(value, str) and value in _LABELS else 1.0

    def _weight(self, schema: Mapping[str, Any]) -> float:
        """Return the weights of the actions that a part of a schema names, 1 where it names none."""
        return sum(self._habit.weight(_LABELS[label]) for label in _named(schema)) or 1.0


def _named(schema: Any) -> list[str]:
    """Return names of actions that are values in a schema."""
    if isinstance(schema, Mapping):
        own = [*schema.get("enum", ()), schema.get("const")]
        found = [value for value in own if isinstance(value, str) and value in _LABELS]
        return found + [label for key, part in schema.items() if key not in ("enum", "const") for label in _named(part)]
    return [label for part in schema for label in _named(part)] if isinstance(schema, list) else []
