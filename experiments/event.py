"""The event that an experiment is about, where it is a real one: what it was, and what can be asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from oasis.agents.prompting.renaming import Renaming
from oasis.errors import ScenarioError
from oasis.interfaces import Parameters
from oasis.plugins import load
from oasis.scenario import Scenario

__all__ = ["EventConfig", "EventQuestion", "with_names_replaced"]

_YES, _NO = "yes", "no"
_REACH = ("fewer than 10", "10 to 99", "100 to 999", "1,000 to 9,999", "10,000 or more")
"""Bounds are powers of ten: the n-th holds numbers of n digits."""


class EventQuestion(Parameters):
    """``[[event.questions]]``: a question with one right answer among several.

    Attributes
    ----------
    ask : str
    options : list of str
        All answers that may be given.
    answer : str
        The right one.
    """

    ask: str = Field(min_length=1, max_length=1000)
    options: list[str] = Field(min_length=2, max_length=12)
    answer: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len({option.strip().casefold() for option in self.options}) < len(self.options):
            raise ValueError("two options are the same; each has to differ by more than capitals")
        if not all(option.strip() for option in self.options):
            raise ValueError("an option is empty")
        if self.answer not in self.options:
            raise ValueError(f"the answer {self.answer!r} is none of the options {', '.join(self.options)}")
        return self


class EventConfig(Parameters):
    """``[event]``.

    Attributes
    ----------
    description : str
        What was claimed or happened, without saying how it ended: all that a model is told when it is asked.
    happened : bool or None
        Whether it happened as described; if given, that is asked.
    accounts : int or None
        How many accounts passed it on; if given, its order of magnitude is asked.
    questions : list of EventQuestion
        Further ones.
    orders : int
        In how many orders of its options a question is asked. They are rotations, so there are no more than options.
    names : dict of str to str
        Names by which the event can be known (of people, organisations, places, hashtags), each with what arms that
        are `anonymised` show language models instead.
    """

    description: str = Field(min_length=1, max_length=4000)
    happened: bool | None = None
    accounts: int | None = Field(default=None, ge=1)
    questions: list[EventQuestion] = []
    orders: int = Field(default=4, ge=1, le=12)
    names: dict[str, str] = {}

    @field_validator("names")
    @classmethod
    def _reversible(cls, value: dict[str, str]) -> dict[str, str]:
        Renaming(value)
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.asked:
            raise ValueError("there is nothing to ask; give happened, accounts or questions")
        said = [self.description, *(text for q in self.questions for text in (q.ask, *q.options))]
        Renaming(self.names).check_absent(pa.array(said), "the event's description or questions")
        return self

    @property
    def anonymised(self) -> Self | None:
        """The event as it is asked about with the names replaced; None where none of them is in what is asked."""
        other = Renaming(self.names).forward
        questions = [
            EventQuestion(ask=other(q.ask), options=[other(o) for o in q.options], answer=other(q.answer))
            for q in self.questions
        ]
        changes = {"description": other(self.description), "questions": questions, "names": {}}
        other_event = self.model_copy(update=changes)
        return None if other_event == self.model_copy(update={"names": {}}) else other_event

    @property
    def asked(self) -> list[EventQuestion]:
        """All questions: the fixed ones whose answer is given, then the declared ones."""
        found = []
        if self.happened is not None:
            answer = _YES if self.happened else _NO
            found.append(EventQuestion(ask="Did this happen as described?", options=[_YES, _NO], answer=answer))
        if self.accounts is not None:
            size = _REACH[min(len(str(self.accounts)), len(_REACH)) - 1]
            ask = "How many accounts passed this on in the social network where it spread?"
            found.append(EventQuestion(ask=ask, options=list(_REACH), answer=size))
        return [*found, *self.questions]


def with_names_replaced(scenario: Scenario, names: Mapping[str, str]) -> Scenario:
    """Return the scenario with the names replaced in all that its language models are shown.

    Raises
    ------
    ScenarioError
        If a policy that asks a language model takes no names, or has names of its own.
    """
    values = scenario.to_dict()
    for number, policy in enumerate(values["policies"]):
        parameters: dict[str, Any] = policy.setdefault("parameters", {})
        if policy["kind"] == "llm":
            if parameters.get("rename"):
                raise ScenarioError(
                    f"policies.{number}.parameters.rename: the arm is anonymised; give event.names alone"
                )
            parameters["rename"] = dict(names)
        elif load("policies", policy["kind"]).needs_inference:
            raise ScenarioError(f"policies.{number}: kind {policy['kind']!r} cannot be anonymised, only 'llm' can")
    return Scenario.from_dict(values)
