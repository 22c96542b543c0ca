"""Interview questions and their answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from oasis.actions import Outcome
from oasis.errors import InputError
from oasis.world.text import normalise_one

__all__ = [
    "Answer",
    "AnswerSource",
    "Question",
]


@dataclass(frozen=True, slots=True)
class Question:
    """An interview question; `scale` (low, high) asks for a number, `options` for one of several answers.

    Raises
    ------
    InputError
        For an empty text, a scale that is none, or options that are fewer than two, blank or not distinct.
    """

    question_id: str
    text: str
    scale: tuple[float, float] | None = None
    options: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Normalise texts as those of the world, so that they fit into prompts and files."""
        object.__setattr__(self, "text", normalise_one(self.text))
        if self.options is not None:
            object.__setattr__(self, "options", tuple(normalise_one(option).strip() for option in self.options))
        if not self.text.strip():
            raise InputError("a question needs a text")
        if self.scale is not None and self.options is not None:
            raise InputError("a question has a scale or options, not both")
        if self.scale is not None and not (
            len(self.scale) == 2 and -math.inf < self.scale[0] < self.scale[1] < math.inf
        ):
            raise InputError(f"a question's scale is (low, high), finite and low below high, got {self.scale}")
        if self.options is not None and (
            len(self.options) < 2 or len(set(self.options)) < len(self.options) or "" in self.options
        ):
            raise InputError(f"a question's options are two or more, each another and none empty, got {self.options}")

    @property
    def whole(self) -> bool:
        """Whether the scale's numbers are whole: both its ends are, and lie at most 100 apart."""
        if self.scale is None:
            return False
        low, high = self.scale
        return float(low).is_integer() and float(high).is_integer() and high - low <= 100


class AnswerSource(StrEnum):
    """What an answer was made by."""

    LLM = "llm"
    MODEL = "model"
    """Numbers of the agent, by a formula."""
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Answer:
    """An agent's answer. `value` is the number, or the index of the option; NaN where there is none.

    `source` is None in recordings of versions that did not keep it.
    """

    agent_id: int
    value: float
    text: str | None
    source: AnswerSource | None
    outcome: Outcome = Outcome.ACCEPTED
    probabilities: tuple[float, ...] | None = None
