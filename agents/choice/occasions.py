"""Occasions to act: what is examined, which options there are, which is chosen.

Axes: ``n`` agents observed, ``m`` posts shown to them, ``r`` occasions, ``o`` options (0 is "nothing").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.actions import Action
from oasis.agents.choice.features import author_features, comment_features, content_of, post_features
from oasis.agents.choice.model import Menu, Model
from oasis.agents.choice.rated import rated_utilities
from oasis.agents.choice.shown import Shown, places
from oasis.interfaces import PolicyContext, RowFlag
from oasis.kernels import choice as kernel
from oasis.randomness import Keys

__all__ = [
    "Choices",
    "Offers",
    "at_authors",
    "at_comments",
    "at_posts",
    "author_offers",
    "authors_of",
    "choose",
    "comment_offers",
    "comment_places",
    "features_of",
    "post_offers",
    "user_features",
]

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choices:
    """What was chosen at each occasion of one kind.

    Attributes
    ----------
    agent : ndarray, shape (r,), int64
        Row of the agent among those observed.
    place : ndarray, shape (r,), int64
        Order within the agent's turn.
    action : ndarray, shape (r,), int16
        `Action.DO_NOTHING` for nothing.
    target : ndarray, shape (r,), int32
    probability, nothing : ndarray, shape (r,), float64
        Of what was chosen, and of nothing, given that the occasion arose.
    """

    agent: I64
    place: I64
    action: I16
    target: I32
    probability: F64
    nothing: F64


@dataclass(frozen=True)
class Offers:
    """Occasions of one kind, before anything is chosen.

    Attributes
    ----------
    agent : ndarray, shape (r,), int64
        Row of the agent among those observed.
    agent_id, target : ndarray, shape (r,), int32
    place : ndarray, shape (r,), int64
        Order within the agent's turn.
    thing : ndarray, shape (r,), uint64
        Stable key of the post's root, the author or the comment.
    features : ndarray, shape (r, f), float64
    available : ndarray, shape (r, o), bool
        By option of the menu.
    """

    menu: Menu
    agent: I64
    agent_id: I32
    target: I32
    place: I64
    thing: Keys
    features: F64
    available: Bool

    def chosen(self, ctx: PolicyContext, stream: str) -> Choices:
        """Choose on each."""
        keys = ctx.world.users["key"][self.agent_id]
        action, probability, nothing = choose(self.menu, self.features, self.available, keys, self.thing, ctx, stream)
        return Choices(self.agent, self.place, action, self.target, probability, nothing)


def choose(
    menu: Menu, features: F64, available: Bool, agents: Keys, things: Keys | int, ctx: PolicyContext, stream: str
) -> tuple[I16, F64, F64]:
    """Return (action, its probability, the probability of nothing) of each occasion.

    Parameters
    ----------
    features : ndarray, shape (r, f), float64
    available : ndarray, shape (r, o), bool
    agents, things : ndarray, shape (r,), uint64
        Stable keys; the noise of an option is keyed by (step, agent, action xor thing).
    """
    rows = len(features)
    items = np.broadcast_to(np.asarray(things, np.uint64), (rows,))[:, None] ^ menu.codes[None, :]
    noise = ctx.base.draws.gumbel(f"choice.{stream}", ctx.base.step, agents[:, None], items).reshape(items.shape)
    utility = np.empty(items.shape)
    if menu.rates is None:
        kernel.utilities(features, menu.coefficients, available, utility)
    else:
        utility = rated_utilities(menu.rates, available, agents)
    option, probability, nothing = np.empty(rows, np.int64), np.empty(rows), np.empty(rows)
    kernel.choose(utility, noise, option, probability, nothing)
    return np.asarray(menu.actions, np.int16)[option], probability, nothing


def at_posts(examined: Shown, features: F64, model: Model, ctx: PolicyContext, turn: int) -> Choices:
    """Choose among nothing and the actions on each examined post."""
    return post_offers(examined, features, model, ctx, turn).chosen(ctx, f"post.{turn}")


def post_offers(shown: Shown, features: F64, model: Model, ctx: PolicyContext, turn: int) -> Offers:
    """Return what can be done with each post."""
    world, menu, agents = ctx.world, model.post, shown.agent_id
    root = world.posts["root"][shown.post]
    flags = shown.flags
    own, liked, disliked = (flags & bit != 0 for bit in (RowFlag.OWN, RowFlag.LIKED, RowFlag.DISLIKED))
    available = np.repeat(~own[:, None], len(menu.actions), axis=1)
    available[:, 0] = True
    _set(available, menu, Action.CREATE_COMMENT, np.ones(len(own), np.bool_))
    _and(available, menu, Action.LIKE_POST, ~liked)
    _and(available, menu, Action.UNLIKE_POST, liked)
    _and(available, menu, Action.DISLIKE_POST, ~disliked)
    _and(available, menu, Action.UNDO_DISLIKE_POST, disliked)
    _and(available, menu, Action.REPOST, flags & RowFlag.REPOSTED == 0)
    if menu.column(Action.REPORT_POST) is not None:
        _and(available, menu, Action.REPORT_POST, ~world.reports.contains(agents, root))
    keys = world.posts["key"][root]
    return Offers(menu, shown.agent, agents, shown.post, places(shown, turn, 0), keys, features, available)


def at_authors(
    agent: I64, agents: I32, authors: I32, features: F64, place: I64, model: Model, ctx: PolicyContext
) -> Choices:
    """Choose among nothing and the actions on the author of each examined post, once per agent and author."""
    return author_offers(agent, agents, authors, features, place, model, ctx).chosen(ctx, "author")


def author_offers(
    agent: I64, agents: I32, authors: I32, features: F64, place: I64, model: Model, ctx: PolicyContext
) -> Offers:
    """Return what can be done about each author, once per agent and author, with the features of the first place."""
    world, menu = ctx.world, model.author
    pairs = agents.astype(np.int64) << 32 | authors
    order = np.lexsort((place, pairs))
    first = order[np.r_[True, pairs[order][1:] != pairs[order][:-1]][: len(order)]]
    kept = first[agents[first] != authors[first]]
    agent, agents, authors, features, place = (x[kept] for x in (agent, agents, authors, features, place))
    follows = world.follows.contains(agents, authors) if len(kept) else np.empty(0, np.bool_)
    available = np.ones((len(kept), len(menu.actions)), np.bool_)
    _and(available, menu, Action.FOLLOW, ~follows)
    _and(available, menu, Action.UNFOLLOW, follows)
    if menu.column(Action.MUTE) is not None:
        _and(available, menu, Action.MUTE, ~world.mutes.contains(agents, authors))
    return Offers(menu, agent, agents, authors, place, world.users["key"][authors], features, available)


def at_comments(examined: Shown, model: Model, ctx: PolicyContext) -> Choices:
    """Choose among nothing and the actions on each examined comment under an examined post."""
    world = ctx.world
    row, position = comment_places(examined)
    keys, comment_keys = world.users["key"][examined.agent_id[row]], world.comments["key"][examined.comment_ids]
    drawn = ctx.base.draws.uniform("choice.examine.comment", ctx.base.step, keys, comment_keys)
    seen = np.flatnonzero(drawn < model.examination(position, model.comments))
    return comment_offers(examined, row[seen], position[seen], seen, model, ctx).chosen(ctx, "comment")


def comment_places(shown: Shown) -> tuple[I64, I64]:
    """Return the row of the post of each comment shown, and its position among that post's comments."""
    count = np.diff(shown.comment_offsets)
    row = np.repeat(np.arange(len(shown)), count)
    return row, np.arange(len(row)) - np.repeat(shown.comment_offsets[:-1], count)


def comment_offers(shown: Shown, row: I64, position: I64, which: I64, model: Model, ctx: PolicyContext) -> Offers:
    """Return what can be done with comments `which` of those shown, at posts `row`, at `position` under them."""
    world, menu = ctx.world, model.comment
    agents, comments = shown.agent_id[row], shown.comment_ids[which]
    vote = world.comment_reactions.values(agents, comments) if len(which) else np.empty(0, np.int32)
    own = world.comments["author"][comments] == agents
    available = np.repeat(~own[:, None], len(menu.actions), axis=1)
    available[:, 0] = True
    _and(available, menu, Action.LIKE_COMMENT, vote <= 0)
    _and(available, menu, Action.UNLIKE_COMMENT, vote > 0)
    _and(available, menu, Action.DISLIKE_COMMENT, vote >= 0)
    _and(available, menu, Action.UNDO_DISLIKE_COMMENT, vote < 0)
    features = comment_features(world, ctx.base, agents, comments)
    place = places(shown, 0, 2)[row] + position
    keys = world.comments["key"][comments]
    return Offers(menu, shown.agent[row], agents, comments, place, keys, features, available)


def authors_of(ctx: PolicyContext, examined: Shown) -> I32:
    """Return whom an agent would follow at each examined post: who wrote the text shown."""
    return np.asarray(ctx.world.posts["author"][content_of(ctx.world, examined.post)], np.int32)


def features_of(ctx: PolicyContext, examined: Shown) -> F64:
    """Return the features of examined posts, shape (r, f)."""
    return post_features(ctx.world, ctx.base, examined.agent_id, examined.post, examined.flags)


def user_features(ctx: PolicyContext, agents: I32, users: I32) -> F64:
    """Return the features of users found by search, shape (r, f)."""
    return author_features(ctx.world, agents, users)


def _set(available: Bool, menu: Menu, action: Action, where: Bool) -> None:
    column = menu.column(action)
    if column is not None:
        available[:, column] = where


def _and(available: Bool, menu: Menu, action: Action, where: Bool) -> None:
    column = menu.column(action)
    if column is not None:
        available[:, column] &= where
