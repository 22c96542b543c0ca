"""From recommended posts to what an agent sees: rows removed, flags and comments added."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.interfaces import Feeds, Observations, RowFlag, StepContext
from oasis.kernels import platform as kernels
from oasis.kernels.threads import in_parts
from oasis.platforms.comment_order import ranked_comments
from oasis.platforms.round import I32, I64, Bool, Visible
from oasis.platforms.rules import Rules
from oasis.world.world import World

__all__ = ["observe", "shown_comments"]

_LOOKED = 1000  # agents worth a thread
_PICKED = 10_000  # rows worth a thread


def observe(
    world: World,
    agent_ids: I32,
    feeds: Feeds,
    ctx: StepContext,
    rules: Rules,
    visible: Visible,
    comments_allowed: Bool | None = None,
) -> Observations:
    """Return what each agent sees of its feed; see `oasis.interfaces.Platform.observe`.

    `comments_allowed` says by comment whether it may be shown to anybody; None for all.
    """
    shown = visible(np.repeat(agent_ids, np.diff(feeds.offsets)), feeds.post_ids)
    if not shown.all():
        feeds = feeds.keep(shown)
    roots = world.posts["root"][feeds.post_ids]
    best = np.empty(len(roots), np.bool_)
    kernels.best_version(feeds.offsets, roots, feeds.post_ids, feeds.scores, best)
    if not best.all():
        feeds, roots = feeds.keep(best), roots[best]
    agents = np.repeat(agent_ids, np.diff(feeds.offsets))
    flags = _flags(world, agent_ids, agents, feeds, roots, rules)
    offsets, comments = shown_comments(world, agents, roots, rules, ctx, comments_allowed)
    return Observations(agent_ids, feeds, flags, offsets, comments)


def _flags(world: World, agent_ids: I32, agents: I32, feeds: Feeds, roots: I32, rules: Rules) -> npt.NDArray[np.uint8]:
    posts = world.posts
    author, first = posts["author"][feeds.post_ids], posts["author"][roots]
    seen = np.empty(len(roots), np.bool_)
    remembered = world.seen.get(agent_ids)

    def look(part: slice) -> None:
        offsets = feeds.offsets[part.start : part.stop + 1]
        kernels.seen_before(offsets, roots, remembered[part], posts["root"], seen)

    in_parts(len(agent_ids), look, _LOOKED)
    vote = world.post_reactions.values(agents, roots)
    flags = np.zeros(len(roots), np.uint8)
    for flag, true in (
        (RowFlag.OWN, (author == agents) | (first == agents)),
        (RowFlag.LIKED, vote > 0),
        (RowFlag.DISLIKED, vote < 0),
        (RowFlag.REPOSTED, world.reposts.contains(agents, roots)),
        (RowFlag.SEEN, seen),
        (RowFlag.IN_NETWORK, world.follows.contains(agents, author) if len(agents) else seen),
        (RowFlag.WARNED, posts["reports"][roots] > rules.report_warning_threshold),
    ):
        flags |= np.where(true, np.uint8(flag), np.uint8(0))
    return flags


def shown_comments(
    world: World, agents: I32, roots: I32, rules: Rules, ctx: StepContext, allowed: Bool | None = None
) -> tuple[I64, I32]:
    """Return (offsets, comment ids) of the comments under each row.

    Of the comments that compete (`ranked_comments`), without those of authors that the agent muted, the first
    `rules.comments_per_post`.

    Parameters
    ----------
    agents, roots : ndarray, shape (m,)
    """
    m, most = len(roots), rules.comments_per_post
    commented = np.flatnonzero(world.posts["last_comment"][roots] >= 0) if most else np.empty(0, np.int64)
    if not len(commented):
        return np.zeros(m + 1, np.int64), np.empty(0, np.int32)
    wanted = np.zeros(len(world.posts), np.bool_)
    wanted[roots[commented]] = True
    distinct = np.flatnonzero(wanted)
    ranked = ranked_comments(world, distinct, ctx, rules.comment_order, allowed)
    place = (np.cumsum(wanted) - 1)[roots[commented]]
    who, author = agents[commented], world.comments["author"]
    picked, taken = np.empty((len(place), most), np.int32), np.empty(len(place), np.int64)

    def pick(part: slice) -> None:
        of = (ranked, author, world.users["banned"], world.mutes.slots)
        kernels.pick_comments(place[part], who[part], *of, picked[part], taken[part])

    in_parts(len(place), pick, _PICKED)
    offsets = np.zeros(m + 1, np.int64)
    offsets[1:][commented] = taken
    np.cumsum(offsets, out=offsets)
    return offsets, picked[picked >= 0]
