"""Interventions: from scenario entries to actions of agent -1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.actions import OUTSIDE_ACTIONS, TARGETS, Action, ActionBatch, TargetKind
from oasis.errors import InputError, ScenarioError
from oasis.interfaces import Question
from oasis.plugins import load
from oasis.randomness import Draws
from oasis.scenario import Intervention, Scenario
from oasis.selection import Selection, check_selection, select
from oasis.simulation.intervention_kinds import KINDS, PLAIN_TARGETS, SELECTIONS, Kind, kind_of, to_json
from oasis.world.tables import comments_frame, posts_frame, users_frame
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = ["Scheduled", "check_entry", "check_interventions", "question_of", "schedule"]


_ACTION_TARGET = {"agents": TargetKind.USER, "users": TargetKind.USER, "posts": TargetKind.POST}
_ACTION_TARGET["comments"] = TargetKind.COMMENT


@dataclass(frozen=True)
class Scheduled:
    """Interventions of one step, ready to apply, and what the engine itself does of them."""

    batch: ActionBatch
    interviews: tuple[tuple[Question, npt.NDArray[np.int32]], ...] = ()
    recommender: Intervention | None = None


def check_interventions(scenario: Scenario, world: World, policy_names: Sequence[str]) -> list[str]:
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
    last, entries = scenario.simulation.steps, scenario.interventions
    candidates = _Candidates(world, policy_names)
    for number, entry in enumerate(entries):
        when = _last_time(entry, last)
        signed_up = sum(
            _times(other, when if place < number else when - 1)
            for place, other in enumerate(entries)
            if other.kind == "sign_up"
        )
        _check(entry, f"interventions.{number}", world, candidates, signed_up)
    return [
        f"interventions.{number}.step: {entry.step} is after the last step ({last}), so it will not happen"
        for number, entry in enumerate(entries)
        if entry.step > last
    ]


def check_entry(
    entry: Intervention, where: str, world: World, policy_names: Sequence[str], pending: Sequence[Intervention] = ()
) -> None:
    """Refuse one entry for a coming step that cannot work; `pending` ones come before it.

    Raises
    ------
    ScenarioError
    """
    if entry.step <= world.step:
        raise ScenarioError(f"{where}.step: {entry.step} is over; the next step is {world.step + 1}")
    signed_up = sum(
        _times(other, entry.step) - _times(other, world.step) for other in pending if other.kind == "sign_up"
    )
    _check(entry, where, world, _Candidates(world, policy_names), signed_up)


def _check(entry: Intervention, where: str, world: World, candidates: _Candidates, signed_up: int) -> None:
    kind = kind_of(entry, where)
    agents = len(world.users) + signed_up
    for name in SELECTIONS:
        selection: Selection | None = getattr(entry, name)
        if selection is None:
            continue
        for agent in (selection.ids or ()) if name in ("agents", "users") else ():
            if agent >= agents:
                joined = f" when this happens, with {signed_up} signed up by then" if signed_up else ""
                raise ScenarioError(f"{where}.{name}: no agent {agent}; allowed: 0 to {agents - 1}{joined}")
        if selection.where or selection.top is not None:
            check_selection(selection, candidates.of(name)[0], f"{where}.{name}")
    if kind.action == Action.SWAP_RECOMMENDER:
        _check_recommender(entry, where, world)
    if kind.action == Action.INTERVIEW:
        question_of(entry, where)


def _check_recommender(entry: Intervention, where: str, world: World) -> None:
    name = entry.arguments["recommender"]
    try:
        recommender = load("recommenders", name).from_parameters(entry.arguments.get("parameters", {}))
    except InputError as error:
        raise ScenarioError(f"{where}: {error}".replace("recsys.parameters", "parameters")) from None
    if recommender.needs_embeddings and not world.has_embeddings:
        raise ScenarioError(
            f"{where}.recommender: {name!r} needs embeddings of texts, which this run does without; begin it with a "
            "recommender or policy that needs them too, or put the swap into the scenario"
        )


def _times(entry: Intervention, last: int) -> int:
    """Return how often an entry happens in steps up to `last`."""
    end = last if entry.until is None else min(entry.until, last)
    if entry.step > last:
        return 0
    return 1 if entry.every is None else (end - entry.step) // entry.every + 1


def _last_time(entry: Intervention, last: int) -> int:
    """Return the last step up to `last` in which an entry happens, its first one if none is."""
    return entry.step + max(_times(entry, last) - 1, 0) * (entry.every or 0)


def question_of(entry: Intervention, where: str) -> Question:
    """Return the question of an interview entry.

    Raises
    ------
    ScenarioError
    """
    arguments = entry.arguments
    scale, options = arguments.get("scale"), arguments.get("options")
    try:
        return Question(
            arguments.get("question_id", where),
            arguments["question"],
            None if scale is None else (float(scale[0]), float(scale[1])),
            None if options is None else tuple(options),
        )
    except InputError as error:
        raise ScenarioError(f"{where}: {error}") from None


def schedule(
    entries: Sequence[Intervention], step: int, world: World, policy_names: Sequence[str], draws: Draws
) -> Scheduled:
    """Return what is due at a step, selections resolved against the world as it stands before any of it."""
    batches: list[ActionBatch] = []
    interviews = []
    recommender = None
    candidates, streams = _Candidates(world, policy_names), _Streams()
    for number, entry in enumerate(entries):
        stream = {name: streams.of(entry, name) for name in SELECTIONS}
        if not entry.happens_at(step):
            continue
        where = f"interventions.{number}"
        kind = KINDS[entry.kind]  # checked when the run was built, or when it was injected
        chosen = {name: _chosen(entry, name, candidates, draws, where, stream[name]) for name in SELECTIONS}
        batches.append(_rows(entry, kind, chosen))
        if kind.action == Action.INTERVIEW and chosen["agents"] is not None:
            interviews.append((question_of(entry, where), chosen["agents"]))
        if kind.action == Action.SWAP_RECOMMENDER:
            recommender = entry
    return Scheduled(ActionBatch.concat(batches), tuple(interviews), recommender)


class _Streams:
    """Names of the draws of selections: by what is selected for which kind, never by the place in the list.

    So an entry more in one arm shifts no draw of the others, and another text, step or value selects the same. Entries
    alike in kind and selection are told apart by their order; one that happens again selects by the same draws.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, entry: Intervention, name: str) -> str:
        selection: Selection | None = getattr(entry, name)
        if selection is None or (selection.count is None and selection.share is None):
            return ""
        key = f"{entry.kind}.{name} {selection.model_dump_json(exclude_none=True)}"
        self._seen[key] += 1
        return f"{key} {self._seen[key]}"


def _chosen(
    entry: Intervention, name: str, candidates: _Candidates, draws: Draws, where: str, stream: str
) -> npt.NDArray[np.int32] | None:
    selection: Selection | None = getattr(entry, name)
    if selection is None:
        return None
    if selection.ids is not None and not selection.where and selection.count is None and selection.share is None:
        return np.unique(np.asarray(selection.ids, np.int32))  # one that does not exist is the platform's to reject
    frame, column, keys = candidates.of(name)
    if selection.ids is not None:  # what does not exist fits no condition
        selection = selection.model_copy(update={"ids": [i for i in selection.ids if i < len(frame)]})
    return select(selection, frame, column, draws, keys, f"{where}.{name}", stream)


class _Candidates:
    """What selections may take, made when first asked for: a frame, its column of ids, and the stable keys by id."""

    def __init__(self, world: World, policy_names: Sequence[str]) -> None:
        self._world, self._policy_names = world, policy_names
        self._made: dict[str, tuple[pl.DataFrame, str, npt.NDArray[np.uint64]]] = {}

    def of(self, name: str) -> tuple[pl.DataFrame, str, npt.NDArray[np.uint64]]:
        """Return the candidates of a selection named as in an entry."""
        name = "agents" if name == "users" else name
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> tuple[pl.DataFrame, str, npt.NDArray[np.uint64]]:
        world = self._world
        if name == "posts":
            return posts_frame(world), "post_id", world.posts["key"]
        if name == "comments":
            return comments_frame(world), "comment_id", world.comments["key"]
        names = pl.Series(np.asarray(self._policy_names, dtype=object)[world.users["policy"]], dtype=pl.String)
        return users_frame(world).with_columns(names.alias("policy")), "agent_id", world.users["key"]


def _rows(entry: Intervention, kind: Kind, chosen: dict[str, npt.NDArray[np.int32] | None]) -> ActionBatch:
    """Return the product of actors and targets as rows of agent -1 with canonical JSON arguments."""
    arguments = {k: normalise_one(v) if isinstance(v, str) else v for k, v in entry.arguments.items()}
    if "content" in arguments:
        arguments["text"] = arguments.pop("content")
    target_id = -1
    for name in PLAIN_TARGETS.values():
        if name in kind.required:
            target_id = int(arguments.pop(name))
    targets = next((chosen[n] for n in ("posts", "comments", "users") if chosen[n] is not None), None)
    agents = chosen["agents"]
    kinds = [n for n in ("posts", "comments", "users", "agents") if chosen[n] is not None]
    if not kind.selections:
        return _batch(kind.action, [-1], [to_json(arguments)], TargetKind.NONE)
    if targets is None and kind.action in OUTSIDE_ACTIONS:  # the agents are the targets: post, ban, interview ...
        targets, agents = agents, None
    if targets is None:
        targets = np.array([target_id], np.int32)
    target_kind = _ACTION_TARGET[kinds[0]] if kinds and kind.action in OUTSIDE_ACTIONS else TARGETS[kind.action]
    if agents is None:
        return _batch(kind.action, targets, [to_json(arguments)] * len(targets), target_kind)
    contents = [to_json({**arguments, "agent": int(a)}) for a in agents for _ in targets]
    return _batch(kind.action, np.tile(targets, len(agents)), contents, target_kind)


def _batch(action: Action, targets: npt.ArrayLike, contents: list[str | None], kind: TargetKind) -> ActionBatch:
    targets = np.asarray(targets, np.int32)
    return ActionBatch.build(
        np.full(len(targets), -1), int(action), target_id=targets, target_kind=int(kind), content=contents
    )
