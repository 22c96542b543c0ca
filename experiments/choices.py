"""Questions whose answer is one of some options: the schema of an answer, and its check."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["answer_schema", "one_of"]


def answer_schema(options: Sequence[str] | Sequence[int]) -> dict[str, Any]:
    """Return the JSON schema of ``{"answer": option}``."""
    kind = "string" if isinstance(options[0], str) else "integer"
    return {
        "type": "object",
        "properties": {"answer": {"type": kind, "enum": list(options)}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def one_of(options: Sequence[str] | Sequence[int], *, fold: bool = False) -> Callable[[str], Any]:
    """Return what checks an answer by `answer_schema` and returns the option.

    Parameters
    ----------
    fold : bool
        Whether capitals and white space around an option make no difference.

    Raises
    ------
    ValueError
        From the check, for whatever is none of the options.
    """

    def plain(value: Any) -> Any:
        return value.strip().casefold() if fold and isinstance(value, str) else value

    by_answer: dict[Any, Any] = {plain(option): option for option in options}

    def check(text: str) -> Any:
        value = json.loads(text.strip())
        answer = value.get("answer") if isinstance(value, dict) else None
        known = isinstance(answer, str | float | int) and not isinstance(answer, bool)
        if not known or plain(answer) not in by_answer:
            raise ValueError(f"{str(answer)[:60]!r} is none of the options {list(options)}")
        return by_answer[plain(answer)]

    return check
