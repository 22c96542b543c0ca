"""The kinds of interventions: what each is done to, which keys it takes, and what is refused before a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from oasis.actions import TARGETS, TEXT_ACTIONS, USER_ACTIONS, Action, TargetKind
from oasis.errors import ScenarioError, nearest
from oasis.outside_arguments import ARGUMENTS
from oasis.plugins import explain
from oasis.scenario import Intervention
from oasis.world.text import normalise_one

__all__ = ["KINDS", "PLAIN_TARGETS", "SELECTIONS", "Kind", "kind_of", "to_json"]

SELECTIONS = ("agents", "posts", "comments", "users")
PLAIN_TARGETS = {TargetKind.GROUP: "group", TargetKind.PRODUCT: "product"}
"""Targets that are given as one number, by the key that holds it."""


@dataclass(frozen=True)
class Kind:
    """What an intervention kind takes: which selections (``a|b``: one of them), and which further keys."""

    action: Action
    selections: tuple[str, ...]
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    any_of: bool = False
    """Whether at least one of the optional keys has to be there."""


def _kind(action: Action, selections: str, required: str = "", optional: str = "", any_of: bool = False) -> Kind:
    return Kind(action, tuple(selections.split()), frozenset(required.split()), frozenset(optional.split()), any_of)


KINDS: dict[str, Kind] = {
    "sign_up": _kind(Action.SIGN_UP, "", "username", "name bio persona group stance activity"),
    "interview": _kind(Action.INTERVIEW, "agents", "question", "question_id scale options"),
    "post": _kind(Action.POST, "agents", "content", "topic veracity community likes dislikes"),
    "comment": _kind(Action.COMMENT, "agents posts", "content", "parent likes dislikes"),
    "seed_votes": _kind(Action.SEED_VOTES, "posts|comments", "", "likes dislikes", any_of=True),
    "follow": _kind(Action.OUTSIDE_FOLLOW, "agents users"),
    "mute": _kind(Action.OUTSIDE_MUTE, "agents users"),
    "ban": _kind(Action.BAN, "agents"),
    "unban": _kind(Action.UNBAN, "agents"),
    "label_post": _kind(Action.LABEL_POST, "posts", "", "label"),
    "demote_post": _kind(Action.DEMOTE_POST, "posts", "weight"),
    "remove_post": _kind(Action.REMOVE_POST, "posts"),
    "edit_profile": _kind(Action.EDIT_PROFILE, "agents", "", "name bio persona group stance", any_of=True),
    "swap_recommender": _kind(Action.SWAP_RECOMMENDER, "", "recommender", "parameters"),
    "add_product": _kind(Action.ADD_PRODUCT, "", "content", "price stock seller"),
}
_SELECTION_OF = {TargetKind.POST: "posts", TargetKind.COMMENT: "comments", TargetKind.USER: "users"}
_OPTIONAL_OF = {Action.CREATE_POST: "community", Action.CREATE_COMMENT: "parent"}


def _add_user_actions() -> None:
    for action in USER_ACTIONS:
        if action.label not in KINDS:  # follow and mute are there already
            target = TARGETS[action]
            required = PLAIN_TARGETS.get(target, "") + (" content" if action in TEXT_ACTIONS else "")
            selections = "agents " + _SELECTION_OF.get(target, "")
            KINDS[action.label] = _kind(action, selections, required, _OPTIONAL_OF.get(action, ""))


_add_user_actions()


def kind_of(entry: Intervention, where: str) -> Kind:
    """Return the kind of an entry whose keys and values have been checked.

    Raises
    ------
    ScenarioError
        Naming the key, what was got and what is allowed.
    """
    if entry.kind not in KINDS:
        names = sorted(KINDS)
        raise ScenarioError(
            f"{where}.kind: unknown {entry.kind!r}{nearest(entry.kind, names)}; allowed: {', '.join(names)}"
        )
    kind = KINDS[entry.kind]
    arguments = entry.arguments
    allowed = kind.required | kind.optional
    known = [*_options(kind.selections), *sorted(allowed), "step", "every", "until"]
    for key in arguments:
        if key not in allowed:
            raise ScenarioError(
                f"{where}.{key}: unknown key for {entry.kind}{nearest(key, known)}; allowed: {', '.join(known)}"
            )
    for key in sorted(kind.required - arguments.keys()):
        raise ScenarioError(f"{where}: {entry.kind} needs {key}")
    if kind.any_of and not (any(arguments.values()) if kind.action == Action.SEED_VOTES else arguments):
        raise ScenarioError(f"{where}: {entry.kind} needs at least one of {', '.join(sorted(kind.optional))}")
    for name in kind.selections:
        given = [option for option in name.split("|") if getattr(entry, option) is not None]
        if len(given) != 1:
            options = name.replace("|", " or ")
            raise ScenarioError(f"{where}: {entry.kind} needs {options}" + (", not both" if given else ""))
    for name in SELECTIONS:
        if getattr(entry, name) is not None and name not in _options(kind.selections):
            raise ScenarioError(f"{where}.{name}: not for {entry.kind}; allowed: {', '.join(known)}")
    _check_values(kind, arguments, where)
    return kind


def _options(selections: Iterable[str]) -> list[str]:
    return [option for name in selections for option in name.split("|")]


def _check_values(kind: Kind, arguments: dict[str, Any], where: str) -> None:
    """Refuse values that the platform would reject as bad arguments, each time that they come up."""
    for name in PLAIN_TARGETS.values():
        if name in kind.required:
            number = arguments.pop(name)
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**31:
                raise ScenarioError(f"{where}.{name}: must be its number, from 0, got {number!r}")
    if "content" in arguments:
        arguments["text"] = arguments.pop("content")
    model = ARGUMENTS[kind.action]
    known = {"agent": 0} if "agent" in model.model_fields else {}
    try:
        model.model_validate_json(to_json({**arguments, **known}) or "{}")
    except ValidationError as error:
        message = explain(error, tuple(sorted(kind.required | kind.optional)), where)
        raise ScenarioError(message.replace(f"{where}.text:", f"{where}.content:")) from None
    for name in ("text", "question", "username", "recommender", "label", "community"):
        text = arguments.get(name)
        if isinstance(text, str) and not normalise_one(text).strip():
            raise ScenarioError(
                f"{where}.{'content' if name == 'text' else name}: must not be empty; nothing is left of {text!r:.200} "
                "without control characters and white space"
            )
    for name in ("community", "parent", "seller"):
        if isinstance(arguments.get(name), int) and not 0 <= arguments[name] < 2**31:
            raise ScenarioError(f"{where}.{name}: must be its number, from 0, got {arguments[name]}")


def to_json(arguments: Mapping[str, Any]) -> str | None:
    """Return arguments as canonical JSON, None for none."""
    if not arguments:
        return None
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
