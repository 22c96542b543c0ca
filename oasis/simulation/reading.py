"""Answer read-only actions from the frozen world, and keep what was shown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Feeds, Platform, Recommender, Source, StepContext, Views
from oasis.kernels.csr import take_rows
from oasis.records import IMPRESSIONS
from oasis.simulation.recording import impression_rows
from oasis.world.world import World

__all__ = ["Reader"]


class Reader:
    """What a policy's ``ask`` is: one for each step.

    `refresh` shows the next posts of the agent's recommendations, those after its feed.
    """

    def __init__(
        self, world: World, platform: Platform, recommender: Recommender, ctx: StepContext, feed_size: int
    ) -> None:
        self._world, self._platform, self._recommender, self._ctx = world, platform, recommender, ctx
        self._feed_size = feed_size
        self._shown: list[pa.Table] = []

    def ask(self, requests: ActionBatch) -> Views:
        """Return one answer per request, in request order."""
        views = self._platform.read(self._world, requests, self._ctx)
        refresh = requests.action == Action.REFRESH
        if refresh.any():
            views.feeds = self._with_refreshed(views.feeds, requests.agent_id, refresh)
            allowed = Action.REFRESH in self._platform.actions
            views.outcomes = np.where(
                refresh, np.int16(Outcome.ACCEPTED if allowed else Outcome.NOT_ALLOWED), views.outcomes
            )
        self._shown.append(impression_rows(self._ctx.step, requests.agent_id, requests.turn, views.feeds))
        return views

    def impressions(self) -> pa.Table:
        """Return what was shown, sorted by agent, turn and position."""
        table = pa.concat_tables([IMPRESSIONS.empty_table(), *self._shown])
        return table.sort_by([("agent_id", "ascending"), ("turn", "ascending"), ("position", "ascending")])

    def _with_refreshed(self, feeds: Feeds, agent_ids: np.ndarray, refresh: np.ndarray) -> Feeds:
        agents, inverse = np.unique(agent_ids[refresh], return_inverse=True)
        longer = self._recommender.recommend(self._world, self._ctx, agents, 2 * self._feed_size)
        longer = self._platform.observe(self._world, agents, longer, self._ctx).feeds
        longer = longer.keep(longer.positions >= self._feed_size)
        offsets, at = take_rows(longer.offsets, inverse)
        counts = np.diff(feeds.offsets)
        counts[refresh] = np.diff(offsets)
        kept = ~refresh[feeds.rows]
        row = np.r_[feeds.rows[kept], np.repeat(np.flatnonzero(refresh), np.diff(offsets))]
        order = np.argsort(row, kind="stable")
        source = np.full(len(at), Source.REFRESH, np.uint8)
        return Feeds(
            np.r_[0, np.cumsum(counts)],
            np.r_[feeds.post_ids[kept], longer.post_ids[at]][order],
            np.r_[feeds.scores[kept], longer.scores[at]][order],
            np.r_[feeds.sources[kept], source][order],
        )
