"""Decisions as choices: what an agent could have done with each thing it was shown, and what it did.

Axes: ``n`` agents observed, ``r`` occasions, ``f`` features, ``o`` options (0 is "nothing"), ``g`` ways of reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from oasis.interfaces import Decisions, Observations, PolicyContext

__all__ = ["KINDS", "ChoiceData", "Collected", "Reading", "chosen", "offered"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

KINDS = ("post", "author", "comment", "write")
"""Kinds of occasions, by the names of `Model`'s menus. Looking things up is not fitted."""
Reading = tuple[float, float, float]
"""``first``, ``persistence`` and ``comments`` (see `ChoiceParameters`)."""


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


def offered(
    observations: Observations, ctx: PolicyContext, model: Model, readings: Sequence[Reading]
) -> Mapping[str, tuple[Offers, npt.NDArray[np.float32]]]:
    """Return all occasions by kind, those with an action on the menu: what is offered, shape (r, o), and the
    probability that the occasion arises, shape (r, g), by way of reading.

    Occasions of an agent are the same whoever is observed with it; agents are in the order observed.
    """
    shown, agents = Shown.of(observations), observations.agent_ids
    features = features_of(ctx, shown)
    row, position = comment_places(shown)
    on_posts = _examined(shown.position, [(first, p) for first, p, _ in readings])
    on_comments = on_posts[row] * _examined(position, [(c, p) for _, p, c in readings])
    every = {
        "post": (post_offers(shown, features, model, ctx, 0), on_posts),
        "author": _authors(shown, features, on_posts, model, ctx),
        "comment": (comment_offers(shown, row, position, np.arange(len(row)), model, ctx), on_comments),
        "write": (_write(agents, model), np.ones((len(agents), len(readings)), np.float32)),
    }
    return {kind: each for kind, each in every.items() if len(each[0].menu.actions) > 1}


class Collected:
    """Takes up decisions step by step.

    Parameters
    ----------
    parameters : ChoiceParameters
        Whose coefficients the menus have.
    readings : sequence of Reading
        The ways of reading, axis ``g``.
    """

    def __init__(self, parameters: ChoiceParameters, readings: Sequence[Reading]) -> None:
        self._parameters, self._readings = parameters, readings
        self.model: Model | None = None
        self.parts: dict[str, list[ChoiceData]] = {kind: [] for kind in KINDS}
        self.activations = self.undecided = self.elsewhere = 0

    def add(self, observations: Observations, ctx: PolicyContext, decisions: Decisions) -> None:
        """Take up what some agents decided in a step."""
        self.model = model = Model.build(ctx.platform, ctx.allowed, self._parameters)
        agents, actions = observations.agent_ids, decisions.actions
        undecided = np.zeros(len(agents), np.bool_)
        undecided[np.searchsorted(agents, actions.agent_id[actions.action == Action.NO_DECISION])] = True
        self.activations += len(agents)
        self.undecided += int(undecided.sum())
        acted = np.isin(actions.action, [a for kind in KINDS for a in getattr(model, kind).actions[1:]])
        found = 0
        for kind, (offers, examined) in offered(observations, ctx, model, self._readings).items():
            taken, matched = chosen(offers, actions, agents, ctx)
            found += matched
            agent, step = offers.agent_id.astype(np.int64), np.full(len(taken), ctx.base.step, np.int64)
            data = ChoiceData(offers.menu, offers.features, offers.available, taken, examined, agent, step)
            self.parts[kind].append(data.take(~undecided[offers.agent]))
        self.elsewhere += int(acted.sum()) - found

    def choices(self) -> dict[str, ChoiceData]:
        """Return what was taken up, by kind; kinds without an action on the menu are left out."""
        return {kind: _joined(parts) for kind, parts in self.parts.items() if parts}


def _examined(position: npt.NDArray[np.integer], readings: Sequence[tuple[float, float]]) -> npt.NDArray[np.float32]:
    """Return ``first * persistence ** position`` for each (first, persistence), shape (r, g)."""
    return np.stack([first * p ** position.astype(np.float64) for first, p in readings], axis=1).astype(np.float32)


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


def chosen(offers: Offers, actions: ActionBatch, agents: npt.NDArray[np.int32], ctx: PolicyContext) -> tuple[I64, int]:
    """Return the option taken on each offer, and how many actions of the menu were on offers."""
    menu = offers.menu
    option = np.zeros(max(Action) + 2, np.int64)
    option[np.asarray(menu.actions, np.int64)] = np.arange(len(menu.actions))
    mine = np.flatnonzero(
        (option[actions.action] > 0) & ((actions.target_id >= 0) | (menu.actions[1] == Action.CREATE_POST))
    )
    options = np.zeros(len(offers.agent), np.int64)
    if not len(mine) or not len(options):
        return options, 0
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
    options[first[0]] = taken[first[1]]
    return options, int(there.sum())


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
