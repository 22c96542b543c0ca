"""Recorded decisions as choices: what an agent could have done with each thing it was shown, and what it did.

Axes: ``r`` occasions, ``f`` features, ``o`` options (0 is "nothing"), ``g`` ways of reading (`READINGS`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, ActionBatch
from oasis.agents.choice.model import FEATURES, POST, ChoiceParameters, Menu, Model
from oasis.agents.choice.occasions import (
    Offers,
    author_offers,
    authors_of,
    comment_offers,
    comment_places,
    features_of,
    post_offers,
)
from oasis.agents.choice.shown import Shown, places
from oasis.errors import InputError
from oasis.interfaces import Decisions, Observations, PolicyContext
from oasis.runs import open_run
from oasis.simulation.watching import watch_run

__all__ = ["KINDS", "READINGS", "ChoiceData", "recorded_choices"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

KINDS = ("post", "author", "comment", "write")
"""Kinds of occasions, by the names of `Model`'s menus. Looking things up is not fitted."""
READINGS = tuple((p, c) for p in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0) for c in (0.5, 1.0))
"""``persistence`` and ``comments`` (see `ChoiceParameters`; ``first`` is 1) that are tried."""


@dataclass(frozen=True)
class ChoiceData:
    """All occasions of one kind.

    Attributes
    ----------
    menu : Menu
        With the coefficients that the run's agents had, or the defaults.
    features : ndarray, shape (r, f), float64
    available : ndarray, shape (r, o), bool
    chosen : ndarray, shape (r,), int64
        The option; of several actions on one thing the first.
    examined : ndarray, shape (r, g), float32
        Probability that the occasion arose, by way of reading.
    agent, step : ndarray, shape (r,), int64
    """

    menu: Menu
    features: F64
    available: Bool
    chosen: I64
    examined: npt.NDArray[np.float32]
    agent: I64
    step: I64

    def take(self, rows: Bool) -> ChoiceData:
        """Return some occasions."""
        return ChoiceData(
            self.menu,
            self.features[rows],
            self.available[rows],
            self.chosen[rows],
            self.examined[rows],
            self.agent[rows],
            self.step[rows],
        )

    def __len__(self) -> int:
        return len(self.chosen)


def recorded_choices(
    directory: Path, policy: str | None = None
) -> tuple[dict[str, ChoiceData], Model, dict[str, int], str]:
    """Read the decisions of a run's policy.

    Parameters
    ----------
    policy : str, optional
        Its name in the run; not needed where the run has one.

    Returns
    -------
    choices : dict of ChoiceData
        By kind; kinds without an action on the menu are left out.
    model : Model
        That the fit begins from: of a choice policy its own, else the platform's defaults.
    counts : dict of int
        ``activations``; ``undecided`` (of these: no answer); ``elsewhere`` (actions on what was not in the feed).
    policy : str

    Raises
    ------
    InputError
        If the run has several policies and none is named, or no decisions.
    """
    manifest = open_run(directory).manifest
    name = _policy(directory, sorted(manifest.coverage.decided_by), policy)
    entry: dict[str, Any] = next(
        (e for e in manifest.scenario["policies"] if name in (e.get("name"), e["kind"])), {"kind": ""}
    )
    own: dict[str, Any] = entry.get("parameters", {}) if entry["kind"] == "choice" else {}
    collected = _Collected(ChoiceParameters.model_validate(own))
    watch_run(directory, {name: collected.add})
    if collected.model is None or not any(collected.parts.values()):
        raise InputError(f"{directory}: policy {name!r} decided nothing; choose another run")
    counts = {"activations": collected.activations, "undecided": collected.undecided, "elsewhere": collected.elsewhere}
    choices = {kind: _joined(parts) for kind, parts in collected.parts.items() if parts}
    return choices, collected.model, counts, name


def _policy(directory: Path, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    if len(names) != 1:
        raise InputError(f"{directory}: several policies decided: name one with --decided-by ({', '.join(names)})")
    return names[0]


class _Collected:
    """Takes up decisions step by step."""

    def __init__(self, parameters: ChoiceParameters) -> None:
        self._parameters = parameters
        self.model: Model | None = None
        self.parts: dict[str, list[ChoiceData]] = {kind: [] for kind in KINDS}
        self.activations = self.undecided = self.elsewhere = 0

    def add(self, observations: Observations, ctx: PolicyContext, decisions: Decisions) -> None:
        model = Model.build(ctx.platform, ctx.allowed, self._parameters)
        self.model = model
        shown, agents = Shown.of(observations), observations.agent_ids
        features = features_of(ctx, shown)
        row, position = comment_places(shown)
        on_posts = _examined(shown.position)
        on_comments = on_posts[row] * _under(position)
        every = {
            "post": (post_offers(shown, features, model, ctx, 0), on_posts),
            "author": _authors(shown, features, on_posts, model, ctx),
            "comment": (comment_offers(shown, row, position, np.arange(len(row)), model, ctx), on_comments),
            "write": (_write(agents, model), np.ones((len(agents), len(READINGS)), np.float32)),
        }
        actions = decisions.actions
        undecided = np.zeros(len(agents), np.bool_)
        undecided[np.searchsorted(agents, actions.agent_id[actions.action == Action.NO_DECISION])] = True
        self.activations += len(agents)
        self.undecided += int(undecided.sum())
        acted = np.isin(actions.action, [a for kind in KINDS for a in getattr(model, kind).actions[1:]])
        found = 0
        for kind, (offers, examined) in every.items():
            if len(offers.menu.actions) < 2:
                continue
            chosen, matched = _chosen(offers, actions, agents, ctx)
            found += matched
            agent, step = offers.agent_id.astype(np.int64), np.full(len(chosen), ctx.base.step, np.int64)
            data = ChoiceData(offers.menu, offers.features, offers.available, chosen, examined, agent, step)
            self.parts[kind].append(data.take(~undecided[offers.agent]))
        self.elsewhere += int(acted.sum()) - found


def _examined(position: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    return np.stack([p ** position.astype(np.float64) for p, _ in READINGS], axis=1).astype(np.float32)


def _under(position: I64) -> npt.NDArray[np.float32]:
    return np.stack([c * p ** position.astype(np.float64) for p, c in READINGS], axis=1).astype(np.float32)


def _authors(
    shown: Shown, features: F64, examined: npt.NDArray[np.float32], model: Model, ctx: PolicyContext
) -> tuple[Offers, npt.NDArray[np.float32]]:
    """Return offers about authors, each with the probability that at least one of its posts is examined."""
    authors = authors_of(ctx, shown)
    offers = author_offers(shown.agent, shown.agent_id, authors, features, places(shown, 0, 1), model, ctx)
    pairs, which = np.unique(shown.agent << 32 | authors.astype(np.int64), return_inverse=True)
    missed = np.zeros((len(pairs), examined.shape[1]))
    np.add.at(missed, which, np.log1p(-np.minimum(examined.astype(np.float64), 1 - 1e-12)))
    at = np.searchsorted(pairs, offers.agent << 32 | offers.target.astype(np.int64))
    return offers, (1 - np.exp(missed[at])).astype(np.float32)


def _write(agents: npt.NDArray[np.int32], model: Model) -> Offers:
    n, menu = len(agents), model.write
    features = np.zeros((n, len(FEATURES)))
    features[:, 0] = 1.0
    rows = np.arange(n)
    nobody = np.zeros(n, np.int32)
    return Offers(
        menu, rows, agents, nobody, rows, np.zeros(n, np.uint64), features, np.ones((n, len(menu.actions)), np.bool_)
    )


def _chosen(offers: Offers, actions: ActionBatch, agents: npt.NDArray[np.int32], ctx: PolicyContext) -> tuple[I64, int]:
    """Return the option taken on each offer, and how many actions of the menu were on offers."""
    menu = offers.menu
    option = np.zeros(max(Action) + 2, np.int64)
    option[np.asarray(menu.actions, np.int64)] = np.arange(len(menu.actions))
    mine = np.flatnonzero(
        (option[actions.action] > 0) & ((actions.target_id >= 0) | (menu.actions[1] == Action.CREATE_POST))
    )
    chosen = np.zeros(len(offers.agent), np.int64)
    if not len(mine) or not len(chosen):
        return chosen, 0
    row = np.searchsorted(agents, actions.agent_id[mine]).astype(np.int64)
    asked = row << 32 | _things(menu, actions.target_id[mine], ctx)
    offered = offers.agent << 32 | _things(menu, offers.target, ctx)
    order = np.argsort(offered, kind="stable")
    at = np.minimum(np.searchsorted(offered[order], asked), len(order) - 1)
    there = offered[order][at] == asked
    place, taken = order[at[there]], option[actions.action[mine[there]]]
    free = np.take_along_axis(offers.available[place], taken[:, None], axis=1)[:, 0]
    place, taken = place[free], taken[free]
    first = np.unique(place, return_index=True)
    chosen[first[0]] = taken[first[1]]
    return chosen, int(there.sum())


def _things(menu: Menu, targets: npt.NDArray[np.integer], ctx: PolicyContext) -> I64:
    """Return what makes two targets the same thing: the root of a post, the author or comment itself."""
    if menu.actions[1] == Action.CREATE_POST:
        return np.zeros(len(targets), np.int64)
    if menu.actions[1] in POST:
        posts = ctx.world.posts
        there = np.minimum(targets, len(posts) - 1)
        return np.where(targets < len(posts), posts["root"][there], -1).astype(np.int64)
    return targets.astype(np.int64)


def _joined(parts: list[ChoiceData]) -> ChoiceData:
    names = ("features", "available", "chosen", "examined", "agent", "step")
    return ChoiceData(parts[-1].menu, *(np.concatenate([getattr(p, name) for p in parts]) for name in names))
