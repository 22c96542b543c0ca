"""Answer read-only actions from the frozen world, and keep what was shown."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Feeds, Platform, Recommender, Source, StepContext, Views
from oasis.records import IMPRESSIONS
from oasis.simulation.recording import impression_rows, message_rows
from oasis.world.world import World

__all__ = ["Reader"]


class Reader:
    """What a policy's ``ask`` is: one for each step.

    `refresh` shows the next posts of the agent's recommendations: none whose original its feed, or an earlier refresh
    of this step, has. What is found in a turn is seen in the next, so that is the turn of its impressions; the feed is
    turn 0.
    """

    def __init__(
        self, world: World, platform: Platform, recommender: Recommender, ctx: StepContext, feed_size: int
    ) -> None:
        self._world, self._platform, self._recommender, self._ctx = world, platform, recommender, ctx
        self._feed_size = feed_size
        self._shown: list[pa.Table] = []
        self._refreshes: npt.NDArray[np.int16] | None = None  # by agent
        self._asking = threading.Lock()

    def ask(self, requests: ActionBatch) -> Views:
        """Return one answer per request, in request order. Policies may ask from several threads."""
        with self._asking:
            return self._answer(requests)

    def _answer(self, requests: ActionBatch) -> Views:
        views = self._platform.read(self._world, requests, self._ctx)
        refresh = requests.action == Action.REFRESH
        if refresh.any():
            if Action.REFRESH in self._platform.actions:
                outcome = np.where(self._world.users["banned"][requests.agent_id], Outcome.BANNED, Outcome.ACCEPTED)
            else:
                outcome = np.full(len(requests), Outcome.NOT_ALLOWED)
            views.outcomes = np.where(refresh, outcome, views.outcomes).astype(np.int16)
            refresh &= views.outcomes == Outcome.ACCEPTED
            views.feeds = self._with_refreshed(views.feeds, requests.agent_id, refresh)
        step, turns = self._ctx.step, requests.turn + np.int16(1)
        self._shown.append(impression_rows(step, requests.agent_id, turns, views.feeds))
        if len(views.message_ids):
            self._shown.append(message_rows(step, requests.agent_id, turns, views.message_offsets, views.message_ids))
        return views

    def impressions(self) -> pa.Table:
        """Return what was shown, sorted by agent, turn and position (what was found by several requests of an agent in
        one turn follows in their order)."""
        table = pa.concat_tables([IMPRESSIONS.empty_table(), *self._shown])
        table = table.sort_by([("agent_id", "ascending"), ("turn", "ascending")])  # a stable sort
        place = _occurrences(table["agent_id"].to_numpy().astype(np.int64) << 16 | table["turn"].to_numpy())
        column = table.schema.get_field_index("position")
        return table.set_column(column, IMPRESSIONS.field("position"), pa.array(place.astype(np.int16)))

    def _with_refreshed(self, feeds: Feeds, agent_ids: np.ndarray, refresh: np.ndarray) -> Feeds:
        """Return `feeds` with those of the requests where `refresh` filled in."""
        others = ~refresh[feeds.rows]
        parts, row = [feeds.keep(others)], [feeds.rows[others]]
        asking = np.flatnonzero(refresh)
        page = self._pages(agent_ids[asking])
        for number in np.unique(page):
            rows = asking[page == number]
            rows = rows[np.argsort(agent_ids[rows])]
            parts.append(self._page(agent_ids[rows], int(number)))
            row.append(rows[parts[-1].rows])
        order = np.argsort(np.concatenate(row), kind="stable")
        counts = np.bincount(np.concatenate(row), minlength=len(agent_ids))
        return Feeds(
            np.r_[np.int64(0), np.cumsum(counts)],
            np.concatenate([p.post_ids for p in parts])[order],
            np.concatenate([p.scores for p in parts])[order],
            np.concatenate([p.sources for p in parts])[order],
        )

    def _pages(self, agents: np.ndarray) -> np.ndarray:
        """Return how many refreshes of its agent each request comes after, and count them."""
        if self._refreshes is None:
            self._refreshes = np.zeros(len(self._world.users), np.int16)
        page = self._refreshes[agents] + _occurrences(agents)
        np.add.at(self._refreshes, agents, 1)
        return page

    def _page(self, agents: np.ndarray, page: int) -> Feeds:
        """Return what comes after the feed and `page` refreshes, without the originals that these have."""
        root, size = self._world.posts["root"], self._feed_size
        shown = np.empty(0, np.int64)
        for number in range(page + 2):
            longer = self._recommender.recommend(self._world, self._ctx, agents, (number + 1) * size)
            longer = self._platform.observe(self._world, agents, longer, self._ctx).feeds
            fresh = longer.keep(~np.isin(longer.rows << 32 | root[longer.post_ids], shown))
            fresh = fresh.keep(fresh.positions < size)
            shown = np.r_[shown, fresh.rows << 32 | root[fresh.post_ids]]
        fresh.sources = np.full(len(fresh.post_ids), Source.REFRESH, np.uint8)
        return fresh


def _occurrences(values: np.ndarray) -> np.ndarray:
    """Return, for each value, how often it came before."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    out = np.empty(len(values), np.int64)
    out[order] = np.arange(len(values)) - np.repeat(first, np.diff(np.r_[first, len(values)]))
    return out
