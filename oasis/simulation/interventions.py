"""Interventions: from scenario entries to actions of agent -1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.actions import OUTSIDE_ACTIONS, TARGETS, USER_ACTIONS, Action, ActionBatch, TargetKind
from oasis.errors import ScenarioError, nearest
from oasis.interfaces import Question
from oasis.plugins import load
from oasis.randomness import Draws
from oasis.scenario import Intervention, Scenario
from oasis.selection import Selection, select
from oasis.world.tables import comments_frame, posts_frame, users_frame
from oasis.world.world import World

__all__ = ["Scheduled", "check_entry", "check_interventions", "question_of", "schedule"]


@dataclass(frozen=True)
class _Kind:
    """What an intervention kind takes: which selections, and which arguments."""

    action: Action
    selections: tuple[str, ...]
    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def _kind(action: Action, selections: str, required: str = "", optional: str = "") -> _Kind:
    return _Kind(action, tuple(selections.split()), frozenset(required.split()), frozenset(optional.split()))


_PROFILE = "username name bio persona group stance"
_KINDS: dict[str, _Kind] = {
    "sign_up": _kind(Action.SIGN_UP, "", "username", "name bio persona group stance activity"),
    "interview": _kind(Action.INTERVIEW, "agents", "question", "question_id scale options"),
    "post": _kind(Action.POST, "agents", "content", "topic veracity community likes dislikes"),
    "comment": _kind(Action.COMMENT, "agents posts", "content", "parent likes dislikes"),
    "seed_votes": _kind(Action.SEED_VOTES, "posts|comments", "", "likes dislikes"),
    "follow": _kind(Action.OUTSIDE_FOLLOW, "agents users"),
    "mute": _kind(Action.OUTSIDE_MUTE, "agents users"),
    "ban": _kind(Action.BAN, "agents"),
    "unban": _kind(Action.UNBAN, "agents"),
    "label_post": _kind(Action.LABEL_POST, "posts", "", "label"),
    "demote_post": _kind(Action.DEMOTE_POST, "posts", "weight"),
    "remove_post": _kind(Action.REMOVE_POST, "posts"),
    "edit_profile": _kind(Action.EDIT_PROFILE, "agents", "", "name bio persona group stance"),
    "swap_recommender": _kind(Action.SWAP_RECOMMENDER, "", "recommender", "parameters"),
}
_SELECTION_OF = {TargetKind.POST: "posts", TargetKind.COMMENT: "comments", TargetKind.USER: "users"}
_PLAIN_TARGETS = {TargetKind.GROUP: "group", TargetKind.PRODUCT: "product"}
for _action in USER_ACTIONS:
    if _action.label not in _KINDS:
        _target = TARGETS[_action]
        _names = "agents " + _SELECTION_OF.get(_target, "")
        _KINDS[_action.label] = _kind(_action, _names, _PLAIN_TARGETS.get(_target, ""), "content community parent")
_ACTION_TARGET = {"agents": TargetKind.USER, "users": TargetKind.USER, "posts": TargetKind.POST}
_ACTION_TARGET["comments"] = TargetKind.COMMENT
_SELECTIONS = ("agents", "posts", "comments", "users")


@dataclass(frozen=True)
class Scheduled:
    """Interventions of one step, ready to apply, and what the engine itself does of them."""

    batch: ActionBatch
    interviews: tuple[tuple[Question, npt.NDArray[np.int32]], ...] = ()
    recommender: Intervention | None = None


def check_interventions(scenario: Scenario, world: World) -> list[str]:
    """Refuse what cannot work before the run begins: unknown kinds, arguments, agents, columns.

    Returns
    -------
    list of str
        Warnings: entries that will not happen, since the run is over before.

    Raises
    ------
    ScenarioError
        Naming the entry, what is wrong and what is allowed.
    """
    sign_ups = sum(i.kind == "sign_up" for i in scenario.interventions)
    for number, entry in enumerate(scenario.interventions):
        check_entry(entry, f"interventions.{number}", world, sign_ups)
    last = scenario.simulation.steps
    return [
        f"interventions.{number}.step: {entry.step} is after the last step ({last}), so it will not happen"
        for number, entry in enumerate(scenario.interventions)
        if entry.step > last
    ]


def check_entry(entry: Intervention, where: str, world: World, sign_ups: int = 0) -> None:
    """Refuse one entry that cannot work; `sign_ups` agents may be added before it.

    Raises
    ------
    ScenarioError
    """
    kind = _kind_of(entry, where)
    agents, frame = len(world.users) + sign_ups, users_frame(world)
    for name in ("agents", "users"):
        selection: Selection | None = getattr(entry, name)
        if selection is None:
            continue
        for agent in selection.ids or ():
            if not 0 <= agent < agents:
                raise ScenarioError(f"{where}.{name}: no agent {agent}; allowed: 0 to {agents - 1}")
        for column in [*selection.where, *([selection.top] if selection.top else [])]:
            if column not in frame.columns:
                raise ScenarioError(
                    f"{where}.{name}: no column {column!r}{nearest(column, frame.columns)}; "
                    f"allowed: {', '.join(frame.columns)}"
                )
    if kind.action == Action.SWAP_RECOMMENDER:
        arguments = entry.arguments
        load("recommenders", arguments["recommender"]).from_parameters(arguments.get("parameters", {}))
    if kind.action == Action.INTERVIEW:
        question_of(entry, where)


def _kind_of(entry: Intervention, where: str) -> _Kind:
    if entry.kind not in _KINDS:
        names = sorted(_KINDS)
        raise ScenarioError(f"{where}.kind: unknown {entry.kind!r}{nearest(entry.kind, names)}; allowed: {names}")
    kind = _KINDS[entry.kind]
    arguments = entry.arguments
    allowed = kind.required | kind.optional
    for key in arguments:
        if key not in allowed:
            known = [*sorted(allowed), *kind.selections, "step", "every", "until"]
            raise ScenarioError(
                f"{where}.{key}: unknown key for {entry.kind}{nearest(key, known)}; allowed: {', '.join(known)}"
            )
    for key in kind.required - arguments.keys():
        raise ScenarioError(f"{where}: {entry.kind} needs {key}")
    wanted = {option for name in kind.selections for option in name.split("|")}
    for name in kind.selections:
        if not any(getattr(entry, option) is not None for option in name.split("|")):
            raise ScenarioError(f"{where}: {entry.kind} needs {name.replace('|', ' or ')}")
    for name in _SELECTIONS:
        if getattr(entry, name) is not None and name not in wanted:
            raise ScenarioError(f"{where}.{name}: not for {entry.kind}")
    return kind


def question_of(entry: Intervention, where: str) -> Question:
    """Return the question of an interview entry."""
    arguments = entry.arguments
    scale, options = arguments.get("scale"), arguments.get("options")
    if scale is not None and (not isinstance(scale, list) or len(scale) != 2 or not scale[0] < scale[1]):
        raise ScenarioError(f"{where}.scale: must be [low, high] with low < high, got {scale!r}")
    if options is not None and (not isinstance(options, list) or len(options) < 2):
        raise ScenarioError(f"{where}.options: must be a list of at least two answers, got {options!r}")
    return Question(
        str(arguments.get("question_id", where)),
        str(arguments["question"]),
        None if scale is None else (float(scale[0]), float(scale[1])),
        None if options is None else tuple(map(str, options)),
    )


def schedule(entries: Sequence[Intervention], step: int, world: World, draws: Draws) -> Scheduled:
    """Return what is due at a step, selections resolved against the world as it stands."""
    batches: list[ActionBatch] = []
    interviews = []
    recommender = None
    for number, entry in enumerate(entries):
        if not entry.happens_at(step):
            continue
        where = f"interventions.{number}"
        kind = _kind_of(entry, where)
        chosen = {name: _chosen(entry, name, world, draws, where) for name in _SELECTIONS}
        batches.append(_rows(entry, kind, chosen))
        if kind.action == Action.INTERVIEW and chosen["agents"] is not None:
            interviews.append((question_of(entry, where), chosen["agents"]))
        if kind.action == Action.SWAP_RECOMMENDER:
            recommender = entry
    return Scheduled(ActionBatch.concat(batches), tuple(interviews), recommender)


def _chosen(entry: Intervention, name: str, world: World, draws: Draws, where: str) -> npt.NDArray[np.int32] | None:
    selection: Selection | None = getattr(entry, name)
    if selection is None:
        return None
    if name in ("agents", "users"):
        frame, column, keys = users_frame(world), "agent_id", world.users["key"]
    elif name == "posts":
        frame, column, keys = posts_frame(world), "post_id", world.posts["key"]
    else:
        frame, column, keys = comments_frame(world), "comment_id", world.comments["key"]
    if selection.ids is not None and not selection.where and selection.count is None and selection.share is None:
        return np.asarray(selection.ids, np.int32)  # an id that does not exist is the platform's to reject
    return select(selection, frame, column, draws, keys, f"{where}.{name}")


def _rows(entry: Intervention, kind: _Kind, chosen: dict[str, npt.NDArray[np.int32] | None]) -> ActionBatch:
    """Return the product of actors and targets as rows of agent -1 with canonical JSON arguments."""
    arguments: dict[str, Any] = entry.arguments
    if "content" in arguments:
        arguments["text"] = arguments.pop("content")
    target_id = -1
    for name in _PLAIN_TARGETS.values():
        if name in kind.required:
            target_id = int(arguments.pop(name))
    targets = next((chosen[n] for n in ("posts", "comments", "users") if chosen[n] is not None), None)
    agents = chosen["agents"]
    kinds = [n for n in ("posts", "comments", "users", "agents") if chosen[n] is not None]
    if kind.action in (Action.SIGN_UP, Action.SWAP_RECOMMENDER):
        return _batch(kind.action, [-1], [_json(arguments)], TargetKind.NONE)
    if targets is None and kind.action in OUTSIDE_ACTIONS:  # the agents are the targets: post, ban, interview ...
        targets, agents = agents, None
    if targets is None:
        targets = np.array([target_id], np.int32)
    target_kind = _ACTION_TARGET[kinds[0]] if kinds and kind.action in OUTSIDE_ACTIONS else TARGETS[kind.action]
    if agents is None:
        return _batch(kind.action, targets, [_json(arguments)] * len(targets), target_kind)
    contents = [_json({**arguments, "agent": int(a)}) for a in agents for _ in targets]
    return _batch(kind.action, np.tile(targets, len(agents)), contents, target_kind)


def _batch(action: Action, targets: npt.ArrayLike, contents: list[str | None], kind: TargetKind) -> ActionBatch:
    targets = np.asarray(targets, np.int32)
    return ActionBatch.build(
        np.full(len(targets), -1), int(action), target_id=targets, target_kind=int(kind), content=contents
    )


def _json(arguments: dict[str, Any]) -> str | None:
    if not arguments:
        return None
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
