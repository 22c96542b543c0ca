"""Scores that agents do not see: what else of a run stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from oasis import Scenario, Simulation
from oasis.actions import USER_ACTIONS
from oasis.agents.choice.features import comment_features, post_features
from oasis.agents.choice.model import FEATURES
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.templates import Templates, choice_rules, rules
from oasis.platforms.reddit import Reddit
from oasis.platforms.rules import Rules
from oasis.testing.situations import policy_world
from oasis.testing.worlds import step_context

COUNTS = ("log1p_likes", "log1p_reposts", "log1p_score")


def _hash(show: bool, coefficients: dict[str, Any]) -> str | None:
    scenario = {
        "simulation": {"steps": 6, "seed": 3},
        "platform": {"kind": "reddit", "rules": {"show_scores": show}},
        "population": {"agents": 60, "mean_active": 0.6, "history": 2},
        "policies": [{"kind": "choice", "parameters": {"coefficients": coefficients}}],
        "interventions": [
            {"step": 1, "kind": "comment", "agents": [1, 2], "posts": {"count": 9}, "content": "Yes", "likes": 1}
        ],
    }
    return Simulation(Scenario.from_dict(scenario)).run_sync().state_hash


def test_nothing_else_changes() -> None:
    blind = {name: {"log1p_likes": 0.0, "log1p_score": 0.0} for name in ("like_post", "like_comment")}
    blind["repost"] = {"log1p_reposts": 0.0}
    assert _hash(True, blind) == _hash(False, blind)
    seeing = {"like_post": {"log1p_score": 5.0}, "like_comment": {"log1p_score": 5.0}}
    assert _hash(True, seeing) != _hash(False, seeing)


def test_features_of_votes_are_zero() -> None:
    world = policy_world()
    world.comments["base_likes"][:] = 3
    agents, flags = np.zeros(20, np.int32), np.zeros(20, np.uint8)
    rows = np.arange(20, dtype=np.int32)
    found = {}
    for show in (True, False):
        ctx = step_context(world, Reddit(None, Rules(show_scores=show)))
        found[show] = post_features(world, ctx, agents, rows, flags), comment_features(world, ctx, agents, rows)
    for shown, hidden in zip(found[True], found[False], strict=True):
        differ = {FEATURES[i] for i in np.flatnonzero((shown != hidden).any(axis=0))}
        assert "log1p_score" in differ
        assert differ <= set(COUNTS)
        assert not hidden[:, [FEATURES.index(name) for name in COUNTS]].any()


def test_lines_and_rules_of_prompts_name_no_counts() -> None:
    world = policy_world()
    world.posts["base_likes"][:] = 7
    world.comments["base_likes"][:] = 7
    lines = {}
    for counts in (True, False):
        pages = Pages(world, 4, 3.0, counts)
        pages.read_posts(np.arange(5))
        pages.read_comments(np.arange(5))
        lines[counts] = [pages.post_lines(99)[i][0] for i in range(5)] + [
            pages.comment_line(i, 99)[0] for i in range(5)
        ]
    assert all("+" in line for line in lines[True])
    assert not any("+" in line for line in lines[False])
    templates = Templates()
    for counts in (True, False):
        for text in (choice_rules(templates, "x", counts), rules(templates, "x", USER_ACTIONS, 3, 1, 100, counts)):
            assert ("likes" in text) == counts
            assert "an hour on, +likes -dislikes rREPOSTS cCOMMENTS, text; c" in text or not counts
            assert "an hour on, text; comments follow" in text or counts
