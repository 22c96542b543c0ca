"""Interview questions: the form of an answer, and its check."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.interfaces import Question
from oasis.world.text import normalise_one

__all__ = ["Form", "Reading"]

MAX_ANSWER = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """A checked answer: `value` is the number or the option's index, NaN for free text."""

    value: float
    text: str


class Form:
    """How a question is to be answered.

    Parameters
    ----------
    question : Question
    renaming : Renaming
        Names that are shown as others, in the question and its options; answers have them again.

    Raises
    ------
    InputError
        For a question that holds what stands for a name.
    """

    def __init__(self, question: Question, renaming: Renaming = NOTHING_RENAMED) -> None:
        self._options, self._renaming = question.options, renaming
        if renaming:
            texts = pa.array([question.text, *(question.options or ())], pa.large_string())
            renaming.check_absent(texts, f"the question {question.question_id!r}")
            options = question.options and tuple(map(renaming.forward, question.options))
            question = replace(question, text=renaming.forward(question.text), options=options)
        self._question = question

    @property
    def text(self) -> str:
        """What is asked."""
        return self._question.text

    @property
    def example(self) -> str:
        """The form in words, for the prompt."""
        q = self._question
        if q.options is not None:
            return f'{{"answer":A}} where A is one of {json.dumps(list(q.options), ensure_ascii=False)}'
        if q.scale is not None:
            return f'{{"answer":N}} where N is a number from {q.scale[0]:g} to {q.scale[1]:g}'
        return f'{{"answer":"..."}} with at most {MAX_ANSWER} characters'

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of an answer."""
        q = self._question
        answer: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_ANSWER}
        if q.options is not None:
            answer = {"type": "string", "enum": list(q.options)}
        elif q.scale is not None:
            low, high = q.scale
            if q.whole:
                answer = {"type": "integer", "enum": list(range(int(low), int(high) + 1))}
            else:
                answer = {"type": "number", "minimum": low, "maximum": high}
        return {
            "type": "object",
            "properties": {"answer": answer},
            "required": ["answer"],
            "additionalProperties": False,
        }

    def parse(self, text: str) -> Reading:
        """Return the answer.

        Raises
        ------
        ValueError
            If it is not JSON of the form, or none of the options, or off the scale.
        """
        value = json.loads(text.strip())
        if not isinstance(value, dict) or set(value) != {"answer"}:
            raise ValueError('the answer is not an object with the one key "answer"')
        answer, q = value["answer"], self._question
        if q.options is not None:
            if answer not in q.options:
                raise ValueError(f"{str(answer)[:60]!r} is none of the options {list(q.options)}")
            at = q.options.index(answer)
            return Reading(float(at), (self._options or q.options)[at])
        if q.scale is not None:
            if isinstance(answer, bool) or not isinstance(answer, int | float) or answer != answer:
                raise ValueError(f"{str(answer)[:60]!r} is no number")
            if not q.scale[0] <= answer <= q.scale[1]:
                raise ValueError(f"{str(answer)[:60]} is off the scale from {q.scale[0]:g} to {q.scale[1]:g}")
            return Reading(float(answer), f"{answer:g}")
        clean = normalise_one(answer) if isinstance(answer, str) else ""
        if not clean.strip() or len(clean) > MAX_ANSWER:
            raise ValueError(f"the answer is not a text of 1 to {MAX_ANSWER} characters")
        return Reading(math.nan, self._renaming.inverse(clean))
