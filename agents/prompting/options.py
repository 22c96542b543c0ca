"""What one agent may answer: a JSON schema with the ids that it was shown, and the check of an answer against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from oasis.actions import READ_ACTIONS, TEXT_ACTIONS, Action
from oasis.agents.prompting.quoting import quote
from oasis.world.text import normalise_one

__all__ = ["DESCRIPTIONS", "Choice", "Options", "said"]

DESCRIPTIONS: Mapping[Action, tuple[str, str]] = {
    Action.CREATE_POST: ("", "write a post"),
    Action.REPOST: ("post_id", "share a post with your followers"),
    Action.QUOTE_POST: ("post_id", "share a post with a comment of your own"),
    Action.LIKE_POST: ("post_id", "like a post"),
    Action.UNLIKE_POST: ("post_id", "take a like back"),
    Action.DISLIKE_POST: ("post_id", "dislike a post"),
    Action.UNDO_DISLIKE_POST: ("post_id", "take a dislike back"),
    Action.REPORT_POST: ("post_id", "report a post to the moderators"),
    Action.CREATE_COMMENT: ("post_id", "comment on a post, or answer a comment (comment_id instead of post_id)"),
    Action.LIKE_COMMENT: ("comment_id", "like a comment"),
    Action.UNLIKE_COMMENT: ("comment_id", "take a like of a comment back"),
    Action.DISLIKE_COMMENT: ("comment_id", "dislike a comment"),
    Action.UNDO_DISLIKE_COMMENT: ("comment_id", "take a dislike of a comment back"),
    Action.FOLLOW: ("user_id", "follow a user"),
    Action.UNFOLLOW: ("user_id", "stop following a user"),
    Action.MUTE: ("user_id", "see nothing more of a user"),
    Action.UNMUTE: ("user_id", "see a muted user again"),
    Action.SEARCH_POSTS: ("", "search posts for words"),
    Action.SEARCH_USER: ("", "search users for words"),
    Action.TREND: ("", "see what is trending"),
    Action.REFRESH: ("", "see more posts"),
    Action.DO_NOTHING: ("", "leave without doing anything"),
    Action.CREATE_GROUP: ("", "open a group, with this name"),
    Action.JOIN_GROUP: ("group_id", "join a group"),
    Action.LEAVE_GROUP: ("group_id", "leave a group"),
    Action.SEND_TO_GROUP: ("group_id", "send a message to a group"),
    Action.LISTEN_FROM_GROUP: ("group_id", "read the newest messages of a group"),
    Action.PURCHASE_PRODUCT: ("product_id", "buy a product"),
}
"""Of each action: the key of its target, and what it does, in the words of prompts."""


_ALONE = READ_ACTIONS | {Action.DO_NOTHING}
"""Actions that are an answer by themselves."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One action that a model chose, checked: `target` and `arg` are ids, -1 for none."""

    action: Action
    target: int = -1
    arg: int = -1
    content: str | None = None


def said(choice: Choice) -> str:
    """Return the answer that made this one choice, as the conversation repeats it.

    Not the answer itself: that may hold any white space, and marks of chat templates copied from a post.
    """
    key = DESCRIPTIONS[choice.action][0]
    target = f',"{key}":{choice.target}' if key else ""
    content = f',"content":{quote(choice.content, len(choice.content))}' if choice.content is not None else ""
    return f'{{"actions":[{{"action":"{choice.action.label}"{target}{content}}}]}}'


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    action: StrictStr
    post_id: StrictInt | None = None
    comment_id: StrictInt | None = None
    user_id: StrictInt | None = None
    group_id: StrictInt | None = None
    product_id: StrictInt | None = None
    content: StrictStr | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actions: list[_Item]


@dataclass(frozen=True)
class _Form:
    """Actions whose answers have the same keys and the same ids."""

    actions: tuple[Action, ...]
    key: str
    ids: tuple[int, ...]
    text: bool


class Options:
    """The actions open to one agent in one turn.

    Parameters
    ----------
    targets : mapping
        Action to the ids it may aim at (sorted); actions without a target map to ``()``. An action whose target
        has no candidate must be left out.
    post_of : mapping
        Comment id to the post it stands under, for answers to comments.
    max_actions : int
        Most actions that change something.
    max_content : int
        Most characters of a text.
    """

    def __init__(
        self, targets: Mapping[Action, Sequence[int]], post_of: Mapping[int, int], max_actions: int, max_content: int
    ) -> None:
        self._post_of, self._max_actions, self._max_content = post_of, max_actions, max_content
        self.targets = {action: tuple(targets[action]) for action in sorted(targets)}
        self._acts = _forms({a: ids for a, ids in self.targets.items() if a not in _ALONE})
        if Action.CREATE_COMMENT in self.targets and post_of:
            self._acts.append(_Form((Action.CREATE_COMMENT,), "comment_id", tuple(sorted(post_of)), True))
        self._alone = _forms({a: ids for a, ids in self.targets.items() if a in _ALONE})

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema: ``{"actions": [...]}``, up to `max_actions` actions, or one that stands alone."""
        arrays = [
            _array([self._object(form) for form in forms], most)
            for forms, most in ((self._acts, self._max_actions), (self._alone, 1))
            if forms
        ]
        return {
            "type": "object",
            "properties": {"actions": {"anyOf": arrays} if len(arrays) > 1 else arrays[0]},
            "required": ["actions"],
            "additionalProperties": False,
        }

    def parse(self, text: str) -> list[Choice]:
        """Return the choices in an answer.

        Raises
        ------
        ValueError
            If the answer does not fit the schema: its form, an id that was not shown, a text too long or empty.
        """
        try:
            answer = _Answer.model_validate_json(_bare(text))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ValueError(f"{place or 'answer'}: {problem['msg']}") from None
        items = answer.actions
        if not items:
            raise ValueError("actions: empty; one action is the least, do_nothing counts")
        choices = [self._choice(item) for item in items]
        alone = next((c.action.label for c in choices if c.action in _ALONE), None)
        if alone is not None and len(choices) > 1:
            raise ValueError(f"actions: {alone} must stand alone, got {len(choices)} actions")
        if len(choices) > self._max_actions:
            raise ValueError(f"actions: {len(choices)}, at most {self._max_actions} are allowed")
        return choices

    def _choice(self, item: _Item) -> Choice:
        name = item.action
        form = next(
            (
                f
                for f in [*self._acts, *self._alone]
                if name in {a.label for a in f.actions} and (not f.key or getattr(item, f.key) is not None)
            ),
            None,
        )
        if form is None:
            known = sorted(a.label for a in self.targets)
            if name in known:
                raise ValueError(f"{name} needs {DESCRIPTIONS[Action[name.upper()]][0]}")
            raise ValueError(f"no action {name[:40]!r}; allowed: {', '.join(known)}")
        given = item.model_fields_set - {"action"}
        allowed = {form.key} - {""} | ({"content"} if form.text else set())
        if given != allowed:
            raise ValueError(f"{name} takes {sorted(allowed) or 'nothing else'}, got {sorted(given)}")
        action = Action[name.upper()]
        content = None
        if form.text:
            content = (item.content or "").strip()
            if not normalise_one(content).strip():
                raise ValueError(f"{name}: content is empty")
            if len(content) > self._max_content:
                raise ValueError(f"{name}: content has {len(content)} characters, at most {self._max_content} fit")
        if not form.key:
            return Choice(action, content=content)
        target = getattr(item, form.key)
        if target not in form.ids:
            raise ValueError(f"{name}: {form.key} {target} was not shown, or this cannot be done to it")
        if action is Action.CREATE_COMMENT and form.key == "comment_id":
            return Choice(action, self._post_of[target], target, content)
        return Choice(action, target, content=content)

    def _object(self, form: _Form) -> dict[str, Any]:
        properties: dict[str, Any] = {"action": {"type": "string", "enum": [a.label for a in form.actions]}}
        if form.key:
            properties[form.key] = {"type": "integer", "enum": list(form.ids)}
        if form.text:
            properties["content"] = {"type": "string", "minLength": 1, "maxLength": self._max_content}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def _forms(targets: Mapping[Action, tuple[int, ...]]) -> list[_Form]:
    """Join actions of the same form, so that a schema stays small."""
    groups: dict[tuple[str, tuple[int, ...], bool], list[Action]] = {}
    for action, ids in targets.items():
        groups.setdefault((DESCRIPTIONS[action][0], ids, action in TEXT_ACTIONS), []).append(action)
    return [_Form(tuple(actions), *form) for form, actions in groups.items()]


def _array(kinds: list[dict[str, Any]], most: int) -> dict[str, Any]:
    items = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    return {"type": "array", "minItems": 1, "maxItems": most, "items": items}


def _bare(text: str) -> str:
    """Return an answer without white space and the code fence that some models put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") + 1 : -3].strip()
    return text
