"""Searching, trends and refreshing: what agents look up before they decide.

Axes: ``n`` agents observed, ``q`` who look something up, ``m`` posts found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome
from oasis.agents.choice.content import agent_topics
from oasis.agents.choice.model import FEATURES, Model
from oasis.agents.choice.occasions import Choices, choose
from oasis.agents.choice.shown import Shown
from oasis.grammar import TOPICS
from oasis.interfaces import PolicyContext, RowFlag

__all__ = ["Looked", "look_up"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Looked:
    """What agents looked up and found.

    Attributes
    ----------
    choices : Choices, length n
        At most one read-only action per agent.
    requests : ActionBatch, length q
        Those that were asked, with their outcomes, in the order of `rows`.
    rows : ndarray, shape (q,), int64
        Row of each asking agent among those observed.
    posts : Shown
        Posts found that were not in the agent's feed, one per root.
    user_agent : ndarray, int64
        Row of the agent that found each user.
    users : ndarray, int32
        Users found by search.
    """

    choices: Choices
    requests: ActionBatch
    rows: I64
    posts: Shown
    user_agent: I64
    users: I32


def look_up(agent_ids: I32, shown: Shown, model: Model, ctx: PolicyContext) -> Looked:
    """Let each agent choose among nothing and one allowed read-only action, and answer it from the frozen world.

    A search is for the name of one of the agent's topics.
    """
    world, menu = ctx.world, model.read
    n = len(agent_ids)
    keys = world.users["key"][agent_ids]
    features = np.zeros((n, len(FEATURES)))
    features[:, 0] = 1.0
    available = np.ones((n, len(menu.actions)), np.bool_)
    action, probability, nothing = choose(menu, features, available, keys, 0, ctx, "read")
    choices = Choices(np.arange(n), np.zeros(n, np.int64), action, np.full(n, -1, np.int32), probability, nothing)
    rows = np.flatnonzero(action != Action.DO_NOTHING)
    requests = ActionBatch.build(
        agent_ids[rows],
        action[rows],
        content=_queries(agent_ids[rows], action[rows], ctx),
        probability=probability[rows],
        policy=ctx.policy,
    )
    if not len(rows):
        nobody = np.empty(0, np.int64)
        return Looked(choices, requests, rows, shown.take(nobody), nobody, nobody.astype(np.int32))
    views = ctx.ask(requests)
    requests.outcome = views.outcomes.astype(np.int16)
    heard = views.outcomes == Outcome.ACCEPTED
    feeds = views.feeds.keep(heard[views.feeds.rows])
    found = _found(rows[feeds.rows], agent_ids, feeds.post_ids, feeds.positions, shown, ctx)
    user_rows = np.repeat(np.arange(len(rows)), np.diff(views.user_offsets))
    kept = heard[user_rows]
    return Looked(choices, requests, rows, found, rows[user_rows[kept]], views.user_ids[kept])


def _queries(agents: I32, actions: npt.NDArray[np.int16], ctx: PolicyContext) -> pa.LargeStringArray:
    keys = ctx.world.users["key"][agents]
    table = agent_topics(ctx.world, agents, ctx.base.draws)
    count = (table >= 0).sum(axis=1)
    column = ctx.base.draws.integers("choice.query", ctx.base.step, count, keys)
    topic = np.take_along_axis(table, column[:, None], axis=1)[:, 0]
    searching = np.isin(actions, (Action.SEARCH_POSTS, Action.SEARCH_USER))
    return pa.array(TOPICS, pa.large_string()).take(pa.array(topic.astype(np.int64), mask=~searching))


def _found(
    agent: I64, agent_ids: I32, posts: I32, positions: npt.NDArray[np.int16], shown: Shown, ctx: PolicyContext
) -> Shown:
    """Return found posts as rows like those of a feed, without those whose root the feed shows already."""
    world = ctx.world
    root = world.posts["root"][posts]
    pairs = agent << 32 | root
    reads = np.zeros(len(agent_ids), np.bool_)
    reads[agent] = True
    theirs = reads[shown.agent]
    known = shown.agent[theirs] << 32 | world.posts["root"][shown.post[theirs]]
    _, first = np.unique(pairs, return_index=True)
    rows = np.sort(first)
    rows = rows[~np.isin(pairs[rows], known)]
    agent, posts, positions, root = agent[rows], posts[rows], positions[rows], root[rows]
    agents = agent_ids[agent]
    flags = np.zeros(len(rows), np.uint8)
    if len(rows):
        author = world.posts["author"][posts]
        vote = world.post_reactions.values(agents, root)
        for bit, where in (
            (RowFlag.OWN, (author == agents) | (world.posts["author"][root] == agents)),
            (RowFlag.LIKED, vote > 0),
            (RowFlag.DISLIKED, vote < 0),
            (RowFlag.REPOSTED, world.reposts.contains(agents, root)),
            (RowFlag.SEEN, (world.seen.get(agents) == posts[:, None]).any(axis=1)),
            (RowFlag.IN_NETWORK, world.follows.contains(agents, author)),
        ):
            flags[where] |= np.uint8(bit)
    return Shown(agent, agents, posts, positions, flags, np.zeros(len(rows) + 1, np.int64), np.empty(0, np.int32))
