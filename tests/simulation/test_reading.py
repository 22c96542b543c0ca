"""Reading within a turn: what a refresh shows, and which impressions it leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome
from oasis.interfaces import Platform
from oasis.platforms.reddit import Reddit
from oasis.platforms.x import X
from oasis.recsys.recommenders import Hot, Random
from oasis.simulation.reading import Reader
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

SIZE = 4


def reader(world: World, actions: Sequence[Action] = USER_ACTIONS, shared: bool = False) -> tuple[Reader, Platform]:
    platform = Reddit(actions) if shared else X(actions)
    recommender = (Hot if shared else Random).from_parameters({})
    ctx = step_context(world, platform)
    recommender.prepare(world, ctx)
    return Reader(world, platform, recommender, ctx, SIZE), platform


@pytest.mark.parametrize("shared", [False, True])
def test_refreshes_go_on_where_the_feed_and_the_last_one_ended(shared: bool) -> None:
    world = small_world(40, 200, 2)
    one, platform = reader(world, shared=shared)
    agents = np.arange(40, dtype=np.int32)
    feed = platform.observe(world, agents, one._recommender.recommend(world, one._ctx, agents, SIZE), one._ctx).feeds
    roots = world.posts["root"]
    seen = [set(roots[feed.post_ids[feed.rows == agent]].tolist()) for agent in agents]
    for turn in (0, 1, 2):
        views = one.ask(ActionBatch.build(agents, int(Action.REFRESH), turn=turn))
        for agent in agents:
            found = roots[views.feeds.post_ids[views.feeds.rows == agent]].tolist()
            assert 0 < len(found) == len(set(found)) <= SIZE
            assert not seen[agent].intersection(found)
            seen[agent].update(found)
    shown = pl.DataFrame(pl.from_arrow(one.impressions()))
    assert shown["turn"].unique().sort().to_list() == [1, 2, 3]  # the feed is turn 0


def test_two_refreshes_at_once_are_two_pages() -> None:
    world = small_world(40, 200, 2)
    at_once, _ = reader(world)
    one_by_one, _ = reader(world)
    both = at_once.ask(ActionBatch.build([3, 5, 3], int(Action.REFRESH), turn=[0, 0, 1])).feeds
    single = [one_by_one.ask(ActionBatch.build([agent], int(Action.REFRESH))).feeds for agent in (3, 5, 3)]
    assert both.post_ids.tolist() == np.concatenate([feeds.post_ids for feeds in single]).tolist()


def test_several_answers_in_one_turn_are_numbered_through() -> None:
    world = small_world(40, 200, 2)
    one, _ = reader(world)
    actions = [int(Action.REFRESH), int(Action.TREND), int(Action.REFRESH)]
    one.ask(ActionBatch.build([2, 2, 4], actions))
    shown = pl.DataFrame(pl.from_arrow(one.impressions())).with_columns(pl.col("source").cast(pl.String))
    mine = shown.filter(pl.col("agent_id") == 2)
    assert mine["position"].to_list() == list(range(len(mine)))
    assert mine["source"].to_list() == ["refresh"] * SIZE + ["trend"] * (len(mine) - SIZE)
    assert shown.group_by("agent_id", "turn", "position").len()["len"].max() == 1


def test_a_refresh_that_is_refused_shows_nothing() -> None:
    world = small_world(40, 200, 2)
    one, _ = reader(world, [Action.LIKE_POST])
    views = one.ask(ActionBatch.build([2], int(Action.REFRESH)))
    assert (views.outcomes.tolist(), len(views.feeds.post_ids)) == ([Outcome.NOT_ALLOWED], 0)
    world.users["banned"][2] = True
    views = reader(world)[0].ask(ActionBatch.build([2], int(Action.REFRESH)))
    assert (views.outcomes.tolist(), len(views.feeds.post_ids)) == ([Outcome.BANNED], 0)


def test_messages_that_are_heard_are_impressions_without_a_post() -> None:
    world = small_world(5, 10, 2)
    one, platform = reader(world)
    group = ActionBatch.build([1], int(Action.CREATE_GROUP), content=["a group"])
    platform.apply(world, group, step_context(world, platform))
    for text in ("first", "second"):
        batch = ActionBatch.build([1], int(Action.SEND_TO_GROUP), target_id=0, content=[text])
        platform.apply(world, batch, step_context(world, platform))
    one, _ = reader(world)
    one.ask(ActionBatch.build([1, 2], int(Action.LISTEN_FROM_GROUP), target_id=0))
    shown = pl.DataFrame(pl.from_arrow(one.impressions())).with_columns(pl.col("source").cast(pl.String))
    wanted = [(1, 1, 0, None, 0, "group"), (1, 1, 1, None, 1, "group")]
    assert shown.select("agent_id", "turn", "position", "post_id", "message_id", "source").rows() == wanted
