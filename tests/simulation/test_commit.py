"""Commit works in rounds, in drawn order, and resolves what an agent made earlier in its turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome, own_creation
from oasis.clock import Clock
from oasis.interfaces import Applied, StepContext
from oasis.randomness import Draws, agent_keys
from oasis.simulation.commit import commit
from oasis.world.world import World


class Recording:
    """A platform that accepts everything and numbers what is created."""

    def __init__(self) -> None:
        self.rounds: list[list[tuple[int, int, int]]] = []
        self.made = 0

    def apply(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        self.rounds.append(
            list(zip(batch.agent_id.tolist(), batch.action.tolist(), batch.target_id.tolist(), strict=True))
        )
        created = np.arange(self.made, self.made + len(batch), dtype=np.int32)
        self.made += len(batch)
        return Applied(np.full(len(batch), Outcome.ACCEPTED, np.int16), created)


def _world(agents: int) -> World:
    world = World()
    world.add_users(agents, key=agent_keys(np.arange(agents)))
    return world


def _ctx(seed: int = 1, step: int = 1) -> StepContext:
    return StepContext(step, Clock(), Draws(seed), lambda agents, posts: np.ones(len(posts), np.bool_))


def _commit(
    agents: Sequence[int], actions: Sequence[int], targets: Sequence[int], seed: int = 1
) -> tuple[Recording, ActionBatch, Applied, np.ndarray]:
    platform = Recording()
    batch = ActionBatch.build(agents, actions, target_id=targets)
    return platform, *commit(_world(10), platform, batch, _ctx(seed))  # type: ignore[arg-type]


def test_rounds_take_one_action_of_each_agent() -> None:
    agents = [3, 3, 3, 1, 5, 5]
    platform, batch, applied, order = _commit(agents, [Action.LIKE_POST] * 6, [0, 1, 2, 0, 0, 1])
    assert [sorted(a for a, _, _ in r) for r in platform.rounds] == [[1, 3, 5], [3, 5], [3]]
    assert [t for r in platform.rounds for a, _, t in r if a == 3] == [0, 1, 2]
    first = [a for a, _, _ in platform.rounds[0]]
    assert [a for a, _, _ in platform.rounds[1]] == [a for a in first if a in (3, 5)]
    assert batch.agent_id.tolist() == np.array(agents)[order].tolist()
    assert applied.created_id.tolist() == list(range(6))


def test_the_order_is_drawn_and_does_not_depend_on_arrival() -> None:
    firsts = {_commit(range(10), [Action.DO_NOTHING] * 10, [-1] * 10, seed)[0].rounds[0][0][0] for seed in range(40)}
    assert len(firsts) > 5
    forward = _commit(range(10), [Action.DO_NOTHING] * 10, [-1] * 10)[0].rounds
    backward = _commit(range(9, -1, -1), [Action.DO_NOTHING] * 10, [-1] * 10)[0].rounds
    assert forward == backward


def test_own_creations_are_resolved_and_nobody_elses() -> None:
    agents = [0, 0, 1, 1]
    actions = [Action.CREATE_POST, Action.LIKE_POST] * 2
    platform, *_ = _commit(agents, actions, [-1, own_creation(0), -1, own_creation(0)])
    made = {agent: number for number, (agent, _, _) in enumerate(platform.rounds[0])}
    assert {agent: target for agent, _, target in platform.rounds[1]} == made


def test_references_to_later_or_missing_creations_hit_nothing() -> None:
    platform, *_ = _commit([0, 0], [Action.LIKE_POST, Action.LIKE_POST], [own_creation(1), own_creation(7)])
    assert [t for r in platform.rounds for _, _, t in r] == [-1, -1]


def test_texts_are_normalised_and_an_empty_batch_is_fine() -> None:
    batch = ActionBatch.build([0], [Action.CREATE_POST], content=["a\x00b\u202e"])
    committed, _, _ = commit(_world(1), Recording(), batch, _ctx())  # type: ignore[arg-type]
    assert committed.content.equals(pa.array(["ab"], pa.large_string()))
    nothing, applied, order = commit(_world(1), Recording(), ActionBatch.empty(), _ctx())  # type: ignore[arg-type]
    assert len(nothing) == len(applied.outcome) == len(order) == 0
