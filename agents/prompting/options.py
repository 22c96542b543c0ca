"""What one agent may answer: a JSON schema with the lines that it was shown, and the check of an answer against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from oasis.actions import READ_ACTIONS, TARGETS, TEXT_ACTIONS, USER_ACTIONS, Action, TargetKind
from oasis.agents.prompting.quoting import quote
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.agents.prompting.standing import Numbers, Shown
from oasis.interfaces import Schema
from oasis.world.text import normalise_one

__all__ = ["Choice", "Options", "said", "takes_number"]

ALONE = READ_ACTIONS | {Action.DO_NOTHING}
"""Actions that are an answer by themselves."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One action that a model chose, checked: `target` and `arg` are ids, -1 for none; `number` is the line's."""

    action: Action
    target: int = -1
    arg: int = -1
    content: str | None = None
    number: int | None = None


def takes_number(action: Action) -> bool:
    """Return whether an action aims at a line that was shown."""
    return TARGETS[action] != TargetKind.NONE


def said(choice: Choice, renaming: Renaming = NOTHING_RENAMED) -> str:
    """Return the answer that made this one choice, as the conversation repeats it.

    Not the answer itself: that may hold any white space, and marks of chat templates copied from a post.
    """
    number = f',"n":{choice.number}' if choice.number is not None else ""
    content = ""
    if choice.content is not None:
        text = renaming.forward(choice.content)
        content = f',"content":{quote(text, len(text))}'
    return f'{{"actions":[{{"action":"{choice.action.label}"{number}{content}}}]}}'


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: StrictStr
    n: StrictInt | None = None
    content: StrictStr | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actions: list[_Item]


class Options:
    """The actions open to one agent in one turn.

    Parameters
    ----------
    numbers : mapping
        Action to the numbers of lines that it may aim at, in order; actions without a target map to ``()``. An action
        whose target has no candidate must be left out.
    shown : Shown
        What the numbers stand for.
    max_actions : int
        Most actions that change something.
    max_content : int
        Most characters of a text, as the model writes it.
    renaming : Renaming
        What of the texts that the model writes stands for other names.
    """

    def __init__(
        self,
        numbers: Numbers,
        shown: Shown,
        max_actions: int,
        max_content: int,
        renaming: Renaming = NOTHING_RENAMED,
    ) -> None:
        self.numbers, self._renaming = numbers, renaming
        self._shown, self._max_actions, self._max_content = shown, max_actions, max_content

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema: ``{"actions": [...]}``, up to `max_actions` actions, or one that stands alone.

        Equal options give the same object: most agents of a step share a few schemas.
        """
        return _schema(tuple(self.numbers.items()), self._max_actions, self._max_content)

    def parse(self, text: str) -> list[Choice]:
        """Return the choices in an answer.

        Raises
        ------
        ValueError
            If the answer does not fit the schema: its form, a line that was not shown, a text too long or empty.
        """
        items = _items(text)
        if not items:
            raise ValueError("actions: empty; one action is the least, do_nothing counts")
        choices = [self._choice(item) for item in items]
        alone = next((c.action.label for c in choices if c.action in ALONE), None)
        if alone is not None and len(choices) > 1:
            raise ValueError(f"actions: {alone} must stand alone, got {len(choices)} actions")
        if len(choices) > self._max_actions:
            raise ValueError(f"actions: {len(choices)}, at most {self._max_actions} are allowed")
        return choices

    def choice(self, action: Action, number: int | None = None, content: str | None = None) -> Choice:
        """Return an action that was chosen, aimed at what the line shows."""
        if number is None:
            return Choice(action, content=content)
        return Choice(action, *self._shown.aim(action, number), content, number)

    def text(self, action: Action, content: str | None) -> str:
        """Return a text that an agent wrote, checked, with the names that the world has.

        Raises
        ------
        ValueError
            If it is empty or too long.
        """
        content = (content or "").strip()
        if not normalise_one(content).strip():
            raise ValueError(f"{action.label}: content is empty")
        if len(content) > self._max_content:
            raise ValueError(f"{action.label}: content has {len(content)} characters, at most {self._max_content} fit")
        return self._renaming.inverse(content)

    def _choice(self, item: _Item) -> Choice:
        name = item.action
        action = _BY_LABEL.get(name)
        if action is None or action not in self.numbers:
            known = ", ".join(a.label for a in sorted(self.numbers))
            raise ValueError(f"no action {name[:40]!r}; allowed: {known}")
        numbers = self.numbers[action]
        allowed = ({"n"} if numbers else set()) | ({"content"} if action in TEXT_ACTIONS else set())
        given = item.model_fields_set - {"action"}
        if numbers and item.n is None:
            raise ValueError(f"{name} needs n, the number of a line")
        if given != allowed:
            raise ValueError(f"{name} takes {sorted(allowed) or 'nothing else'}, got {sorted(given)}")
        content = self.text(action, item.content) if action in TEXT_ACTIONS else None
        if not numbers:
            return self.choice(action, content=content)
        assert item.n is not None
        if item.n not in numbers:
            raise ValueError(f"{name}: line {item.n} was not shown, or this cannot be done to it")
        return self.choice(action, item.n, content)


@lru_cache(4096)
def _items(text: str) -> list[_Item]:
    """Return what an answer says, by its form alone: many agents of a step answer the same."""
    try:
        return _Answer.model_validate_json(_bare(text)).actions
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ValueError(f"{place or 'answer'}: {problem['msg']}") from None


_BY_LABEL: Mapping[str, Action] = {action.label: action for action in USER_ACTIONS}


@lru_cache(4096)
def _schema(numbers: tuple[tuple[Action, tuple[int, ...]], ...], max_actions: int, max_content: int) -> dict[str, Any]:
    arrays = []
    numbers = tuple(sorted(numbers))
    for alone, most in ((False, max_actions), (True, 1)):
        forms: dict[tuple[tuple[int, ...], bool], list[str]] = {}  # actions of one form are listed together
        for action, lines in numbers:
            if (action in ALONE) == alone:
                forms.setdefault((lines, action in TEXT_ACTIONS), []).append(action.label)
        objects = [_object(labels, *form, max_content) for form, labels in forms.items()]
        if objects:
            items = objects[0] if len(objects) == 1 else {"anyOf": objects}
            arrays.append({"type": "array", "minItems": 1, "maxItems": most, "items": items})
    return Schema(
        type="object",
        properties={"actions": {"anyOf": arrays} if len(arrays) > 1 else arrays[0]},
        required=["actions"],
        additionalProperties=False,
    )


def _object(labels: list[str], lines: tuple[int, ...], text: bool, max_content: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"action": {"type": "string", "enum": labels}}
    if lines:
        properties["n"] = {"type": "integer", "enum": list(lines)}
    if text:
        properties["content"] = {"type": "string", "minLength": 1, "maxLength": max_content}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _bare(text: str) -> str:
    """Return an answer without white space and the code fence that some models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") + 1 : -3].strip()
    return text
