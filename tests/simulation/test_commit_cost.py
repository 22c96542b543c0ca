"""What committing costs follows the number of actions, not who is registered; threads change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oasis.actions import USER_ACTIONS, Action, ActionBatch
from oasis.kernels import csr, pairs, platform, rank, rounds, threads
from oasis.platforms import visibility
from oasis.platforms.x import X
from oasis.simulation.commit import commit
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world import relation

KINDS = [Action.LIKE_POST] * 4 + [Action.REPOST, Action.FOLLOW, Action.CREATE_POST, Action.CREATE_COMMENT, Action.MUTE]
KERNELS = {
    rounds: ("select", "count", "push", "sort_draws"),
    rank: ("group",),
    pairs: ("find", "add", "discard", "vote"),
    platform: ("visible",),
    csr: ("in_row",),
}


def _batch(agents: int, posts: int, actions: int, seed: int) -> ActionBatch:
    rng = np.random.default_rng(seed)
    who = np.sort(rng.choice(agents, actions, replace=False))
    kinds = rng.choice(np.array(KINDS), actions)
    on_user = np.isin(kinds, [Action.FOLLOW, Action.MUTE])
    target = np.where(on_user, rng.integers(0, agents, actions), rng.integers(0, posts, actions))
    target[kinds == Action.CREATE_POST] = -1
    return ActionBatch.build(who, kinds, target_id=target, content=[f"number {i}" for i in range(actions)])


def _rows_handled(monkeypatch: pytest.MonkeyPatch, agents: int, actions: int) -> int:
    """Return how many rows all kernels were given together while `actions` were committed."""
    world, x = small_world(agents, 400, 1), X(USER_ACTIONS)
    batch, ctx = _batch(agents, 400, actions, 1), step_context(world, x)
    rows = 0

    def counting(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            nonlocal rows
            rows += len([a for a in arguments if isinstance(a, np.ndarray)][-1])  # what is filled, or counted
            return kernel(*arguments)

        return run

    with monkeypatch.context() as patch:
        for module, names in KERNELS.items():
            for name in names:
                patch.setattr(module, name, counting(getattr(module, name)))
        commit(world, x, batch, ctx)
    return rows


def test_cost_follows_the_number_of_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = (_rows_handled(monkeypatch, 4000, n) for n in (1000, 2000))
    assert once > 1000
    assert 1.6 < twice / once < 2.4


def test_cost_does_not_follow_the_number_of_registered_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (_rows_handled(monkeypatch, agents, 1000) for agents in (1500, 12_000))
    assert many < 1.2 * few


def _hash_after(monkeypatch: pytest.MonkeyPatch, cores: int) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(threads, "available", lambda: cores)
        patch.setattr(visibility, "_JUDGED", 10)
        patch.setattr(relation, "_LOOKED_UP", 10)
        world, x = small_world(500, 400, 1), X(USER_ACTIONS)
        for seed in range(3):
            commit(world, x, _batch(500, 400, 400, seed), step_context(world, x))
            world.step += 1
    check_invariants(world)
    return world.state_hash()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _hash_after(monkeypatch, 1) == _hash_after(monkeypatch, 2) == _hash_after(monkeypatch, 5)
