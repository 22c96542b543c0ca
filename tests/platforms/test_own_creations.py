"""Targets that mean "what my i-th action of this step made", through the engine's commit."""

from __future__ import annotations

import numpy as np

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome, own_creation
from oasis.platforms.x import X
from oasis.simulation.commit import commit
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context

A, O = Action, Outcome  # noqa: E741
OK = O.ACCEPTED


def outcomes(rows: list[tuple[int, Action, int]]) -> list[Outcome]:
    """Commit rows of (agent, action, target), sorted by agent; return outcomes in the order given."""
    world, platform = small_world(6, 12, 3), X(USER_ACTIONS)
    agents, actions, targets = (np.array(column) for column in zip(*rows, strict=True))
    decided = ActionBatch.build(agents, actions, target_id=targets, content=["words"] * len(rows))
    _, applied, order = commit(world, platform, decided, step_context(world, platform))
    check_invariants(world)
    back = np.empty(len(rows), np.int16)
    back[order] = applied.outcome
    return [Outcome(o) for o in back]


def test_own_creations_can_be_acted_on() -> None:
    rows = [
        (1, A.CREATE_POST, -1),
        (1, A.CREATE_COMMENT, own_creation(0)),
        (1, A.LIKE_COMMENT, own_creation(1)),
        (1, A.CREATE_GROUP, -1),
        (1, A.SEND_TO_GROUP, own_creation(3)),
        (2, A.CREATE_POST, -1),
        (2, A.QUOTE_POST, own_creation(0)),
        (2, A.REPOST, own_creation(1)),
    ]
    assert outcomes(rows) == [OK] * len(rows)


def test_a_creation_of_another_kind_or_none_is_not_found() -> None:
    rows = [
        (1, A.CREATE_COMMENT, 0),
        (1, A.LIKE_POST, own_creation(0)),
        (1, A.FOLLOW, own_creation(0)),
        (1, A.LIKE_POST, own_creation(3)),
        (1, A.LIKE_POST, own_creation(10**6)),
        (2, A.REPOST, 10**6),
        (2, A.LIKE_POST, own_creation(0)),
    ]
    assert outcomes(rows) == [OK] + [O.NOT_FOUND] * 6
