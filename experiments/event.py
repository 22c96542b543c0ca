"""The event that an experiment is about, where it is a real one: what it was, and what can be asked about it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from oasis.interfaces import Parameters

__all__ = ["EventConfig", "EventQuestion"]

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
    """

    description: str = Field(min_length=1, max_length=4000)
    happened: bool | None = None
    accounts: int | None = Field(default=None, ge=1)
    questions: list[EventQuestion] = []
    orders: int = Field(default=4, ge=1, le=12)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.asked:
            raise ValueError("there is nothing to ask; give happened, accounts or questions")
        return self

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
