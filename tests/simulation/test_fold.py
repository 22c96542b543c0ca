"""The world is a fold over the recorded events: applied to the initial world in order, they make the same one."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.actions import OUTSIDE, OUTSIDE_ACTIONS, USER_ACTIONS, ActionBatch, Outcome, TargetKind
from oasis.clock import Clock
from oasis.interfaces import StepContext
from oasis.simulation.assembly import Parts, assemble
from oasis.world.store import digest_table
from oasis.world.world import World

STEPS = 8
TEXTS = {
    "users": ("username", "name", "bio", "persona", "group"),
    "posts": ("text", "topic", "label"),
    "comments": ("text",),
    "communities": ("name",),
    "groups": ("name",),
    "messages": ("text",),
}
AGENT_STATE = ("texts", "seen", "engaged")  # folds over impressions, and text ids that reused texts share
ENTRIES: list[dict[str, Any]] = [
    {"step": 1, "kind": "create_group", "agents": [0, 1], "content": "a group"},
    {"step": 2, "every": 2, "kind": "sign_up", "username": "late", "bio": "rain and music", "activity": 1.0},
    {"step": 2, "kind": "post", "agents": {"count": 3}, "content": "news", "topic": "t", "community": "c", "likes": 3},
    {"step": 3, "kind": "comment", "agents": [1, 2], "posts": {"top": "likes", "count": 2}, "content": "c", "likes": 2},
    {"step": 3, "kind": "mute", "agents": {"share": 0.3}, "users": [4, 5]},
    {"step": 4, "kind": "ban", "agents": {"top": "followers", "count": 2}},
    {"step": 5, "kind": "label_post", "posts": {"share": 0.3}, "label": "false"},
    {"step": 5, "kind": "demote_post", "posts": {"share": 0.2}, "weight": 0.3},
    {"step": 5, "kind": "remove_post", "posts": {"top": "likes", "count": 1}},
    {"step": 6, "kind": "edit_profile", "agents": [3], "bio": "football", "stance": 0},
    {"step": 6, "kind": "unban", "agents": {"where": {"banned": True}}},
    {"step": 7, "kind": "repost", "agents": {"count": 5}, "posts": [2]},
    {"step": 7, "kind": "repost", "agents": [0], "posts": [10**6]},
    {"step": 1, "kind": "add_product", "content": "a kite", "stock": 3},
    {"step": 7, "kind": "purchase_product", "agents": {"count": 5}, "product": 0},
]


@pytest.mark.parametrize(("platform", "recommender"), [("x", "interest"), ("reddit", "hot")])
def test_events_fold_to_the_same_world(platform: str, recommender: str, tmp_path: Path) -> None:
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": STEPS, "seed": 5},
            "platform": {"kind": platform, "actions": [a.label for a in USER_ACTIONS]},
            "recsys": {"kind": recommender, "embedder": "hashed-ngrams"},
            "population": {"agents": 50, "mean_active": 0.5, "history": 1},
            "interventions": ENTRIES,
            "output": {"report": False, "sync": False},
        }
    )
    simulation = Simulation(scenario, tmp_path / "run")
    simulation.run_sync()
    events = open_run(tmp_path / "run").events.collect()
    assert {"accepted", "not_found"} <= set(events["outcome"].cast(pl.String))
    parts = assemble(scenario)
    for step in range(1, STEPS + 1):
        rows = events.filter(pl.col("step") == step).sort("seq")
        _apply(parts, step, rows.filter(pl.col("agent_id") == OUTSIDE), True)
        _apply(parts, step, rows.filter(pl.col("agent_id") != OUTSIDE), False)
    assert _digests(parts.world) == _digests(simulation.world)


def _apply(parts: Parts, step: int, rows: pl.DataFrame, outside: bool) -> None:
    world, platform = parts.world, parts.platform
    actions = {a.label: a for a in (*(OUTSIDE_ACTIONS if outside else ()), *USER_ACTIONS)}
    if outside:
        actions |= {a.label: a for a in OUTSIDE_ACTIONS}  # of two called alike, the outside's own
    kinds = {kind.label: kind for kind in TargetKind}
    batch = ActionBatch.build(
        rows["agent_id"].to_numpy(),
        np.array([actions[name] for name in rows["action"].cast(pl.String)], np.int16),
        target_id=rows["target_id"].fill_null(-1).to_numpy(),
        target_kind=np.array([kinds[name or "none"] for name in rows["target_kind"].cast(pl.String)], np.int8),
        arg_id=rows["arg_id"].fill_null(-1).to_numpy(),
        content=rows["content"].to_list(),
    )
    frozen = {name: len(store) for name, store in world.stores.items() if isinstance(store, Sized)}
    ctx = StepContext(step, Clock(), parts.draws, lambda a, p: platform.visible(world, a, p), platform.personal, frozen)
    round_ = rows.select(pl.col("agent_id").cum_count().over("agent_id"))["agent_id"].to_numpy()
    for number in (None,) if outside else np.unique(round_):
        at = np.arange(len(batch)) if number is None else np.flatnonzero(round_ == number)
        applied = (platform.apply_outside if outside else platform.apply)(world, batch.take(at), ctx)
        assert [Outcome(o).label for o in applied.outcome] == rows["outcome"].cast(pl.String)[at].to_list()
        assert applied.created_id.tolist() == rows["created_id"].fill_null(-1)[at].to_list()


def _digests(world: World) -> dict[str, bytes]:
    tables = {name: store.to_arrow() for name, store in world.stores.items() if name not in AGENT_STATE}
    for name, columns in TEXTS.items():
        for column in columns:
            at = tables[name].schema.get_field_index(column)
            tables[name] = tables[name].set_column(at, column, world.texts.take(world[name][column]))  # type: ignore[index]
    tables["users"] = tables["users"].drop_columns(["policy"])
    return {name: digest_table(table) for name, table in tables.items()}
