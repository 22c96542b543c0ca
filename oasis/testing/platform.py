"""What every platform must do: subclass `PlatformTests`, set `make`, run it with pytest.

Examples
--------
>>> class TestMine(PlatformTests):  # doctest: +SKIP
...     def make(self, actions=None, **rules):
...         return Mine.from_parameters(actions, rules)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from oasis.actions import OUTSIDE_ACTIONS, READ_ACTIONS, TARGETS, USER_ACTIONS, Action, ActionBatch, Outcome
from oasis.errors import ScenarioError
from oasis.interfaces import Feeds, Observations, Platform, StepContext
from oasis.randomness import Draws
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

__all__ = ["PlatformTests", "random_feeds", "random_round"]

I32 = npt.NDArray[np.int32]

_INVENTED = np.array([-(2**31), -7, -1, 10**6, 2**31 - 1], np.int64)


def random_round(world: World, actions: Sequence[Action], draws: Draws, number: int) -> ActionBatch:
    """Return one action of every agent, in a drawn order; a fifth of the targets do not exist."""
    n = len(world.users)
    agents = np.argsort(draws.bits("order", number, world.users["key"])).astype(np.int32)
    keys = world.users["key"][agents]
    action = np.asarray(actions, np.int16)[draws.integers("action", number, len(actions), keys)]
    batch = ActionBatch.build(agents, action, content=[f"words of {i} in {number}" for i in range(n)])
    lengths = np.array([1, len(world.posts), len(world.comments), n, 1, len(world.groups), len(world.products)])
    target = draws.integers("target", number, np.maximum(lengths[batch.target_kind], 1), keys)
    invented = _INVENTED[draws.integers("which", number, len(_INVENTED), keys)]
    target = np.where(draws.uniform("invent", number, keys) < 0.2, invented, target)
    batch.target_id = np.where(batch.target_kind > 0, target, -1).astype(np.int32)
    return batch


def random_feeds(world: World, agents: int, k: int, draws: Draws) -> Feeds:
    """Return feeds of `k` posts drawn with repeats, so also several versions of one original."""
    at = np.arange(agents * k, dtype=np.uint64)
    posts = draws.integers("feed", 0, len(world.posts), at).astype(np.int32)
    scores = draws.integers("score", 0, 3, at).astype(np.float32)
    return Feeds(np.arange(0, agents * k + 1, k, dtype=np.int64), posts, scores, np.zeros(agents * k, np.uint8))


class PlatformTests:
    """Conformance of a platform; `make` builds one that has the world's usual tables."""

    def make(self, actions: Sequence[Action] | None = None, **rules: object) -> Platform:
        """Return a platform, by ``from_parameters``."""
        raise NotImplementedError

    def world(self) -> World:
        """Return a world in which some have muted, banned, removed, seen and grouped."""
        world, platform = small_world(24, 60, 5, step=2), self.make(USER_ACTIONS)
        ctx = step_context(world, platform)
        draws = Draws(7)
        for number in range(8):
            platform.apply(world, random_round(world, platform.actions, draws, number), ctx)
        rows = ActionBatch.build([-1, -1], [Action.BAN, Action.REMOVE_POST], target_id=[3, 1])
        platform.apply_outside(world, rows, ctx)
        agents = np.arange(len(world.users), dtype=np.int32)
        world.seen.push(agents, world.posts["root"][agents])
        world.step += 1
        return world

    def observed(self, world: World, platform: Platform, agents: I32 | None = None) -> tuple[Observations, StepContext]:
        """Return what agents see of drawn feeds (the same for each agent whoever else is asked)."""
        ctx = step_context(world, platform)
        n = len(world.users)
        everybody = platform.observe(world, np.arange(n, dtype=np.int32), random_feeds(world, n, 8, Draws(3)), ctx)
        return (everybody if agents is None else everybody.take(agents)), ctx

    def test_what_it_says_of_itself(self) -> None:
        """Names are set, actions are sorted user actions, tables have a name and a schema."""
        platform = self.make()
        assert platform.name
        assert platform.default_recommender
        assert isinstance(platform.personal, bool)
        assert platform.actions
        assert list(platform.actions) == sorted(set(platform.actions))
        assert set(platform.actions) <= set(USER_ACTIONS)
        assert all(store.schema is not None for store in platform.tables().values())
        assert self.make([Action.FOLLOW, Action.LIKE_POST]).actions == (Action.LIKE_POST, Action.FOLLOW)

    def test_unknown_rule_is_an_error(self) -> None:
        """An unknown rule is refused and named."""
        with pytest.raises(ScenarioError, match="no_such_rule"):
            self.make(no_such_rule=1)

    def test_outside_action_is_no_agents_action(self) -> None:
        """Agents cannot be given what only the outside may do."""
        with pytest.raises(ScenarioError, match="ban"):
            self.make([Action.BAN])

    def test_every_row_has_an_outcome_and_rejected_rows_change_nothing(self) -> None:
        """Rejected rows, applied alone, leave the same state."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        ctx = step_context(world, platform)
        for number in range(20, 24):
            batch = random_round(world, USER_ACTIONS, Draws(number), number)
            applied = platform.apply(world, batch, ctx)
            assert applied.outcome.shape == applied.created_id.shape == (len(batch),)
            assert np.isin(applied.outcome, [int(o) for o in Outcome]).all()
            refused = applied.outcome != Outcome.ACCEPTED
            assert (applied.created_id[refused] == -1).all()
            before = world.state_hash()
            again = platform.apply(world, batch.take(np.flatnonzero(refused & ~_late(batch, applied.outcome))), ctx)
            assert (again.outcome != Outcome.ACCEPTED).all()
            assert world.state_hash() == before
            check_invariants(world)

    def test_decided_rows_are_left_alone(self) -> None:
        """A row that comes with an outcome keeps it and does nothing."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        batch = random_round(world, USER_ACTIONS, Draws(1), 1)
        batch.outcome[:] = np.where(np.arange(len(batch)) % 2, Outcome.OVER_LIMIT, Outcome.ACCEPTED)
        before = world.state_hash()
        applied = platform.apply(world, batch, step_context(world, platform))
        assert (applied.outcome == batch.outcome).all()
        assert (applied.created_id == -1).all()
        assert world.state_hash() == before

    def test_actions_that_are_not_allowed(self) -> None:
        """Nothing but the allowed actions is accepted, and nothing that is the outside's."""
        world = self.world()
        platform = self.make([Action.LIKE_POST, Action.DO_NOTHING])
        agents = np.arange(len(world.users))
        codes = [a for a in (*USER_ACTIONS, *OUTSIDE_ACTIONS) if a not in platform.actions]
        for code in codes:
            batch = ActionBatch.build(agents, int(code), target_id=0, content=["words"] * len(agents))
            outcome = platform.apply(world, batch, step_context(world, platform)).outcome
            assert set(outcome.tolist()) <= {Outcome.NOT_ALLOWED, Outcome.BANNED}, code.label

    def test_invented_ids_hit_nothing(self) -> None:
        """Ids that did not exist when the world was frozen are not found, whatever was made meanwhile."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        ctx = step_context(world, platform)
        free = np.flatnonzero(~world.users["banned"]).astype(np.int32)
        first = ActionBatch.build(free[:1], int(Action.CREATE_POST), content=["made meanwhile"])
        made = int(platform.apply(world, first, ctx).created_id[0])
        aimed = [a for a in USER_ACTIONS if TARGETS[a] and a not in READ_ACTIONS]
        for code in aimed:
            for target in (made, -1, -3, 2**31 - 1):
                row = ActionBatch.build(free[1:2], int(code), target_id=target, content=["words"])
                assert platform.apply(world, row, ctx).outcome.tolist() == [Outcome.NOT_FOUND], code.label
        own = ActionBatch.build(free[:1], int(Action.LIKE_POST), target_id=made)
        assert platform.apply(world, own, ctx).outcome.tolist() == [Outcome.ACCEPTED]

    def test_row_order_of_distinct_agents_changes_no_outcome(self) -> None:
        """Without scarce goods, a round has the same outcomes in any order."""
        platform = self.make(USER_ACTIONS)
        worlds = [self.world(), self.world()]
        wanted = [a for a in USER_ACTIONS if a != Action.PURCHASE_PRODUCT]
        batch = random_round(worlds[0], wanted, Draws(9), 9)
        back = np.arange(len(batch))[::-1].copy()
        one = platform.apply(worlds[0], batch, step_context(worlds[0], platform)).outcome
        other = platform.apply(worlds[1], batch.take(back), step_context(worlds[1], platform)).outcome
        assert (one == other[back]).all()

    def test_same_input_same_state(self) -> None:
        """Two equal worlds stay equal."""
        assert self.world().state_hash() == self.world().state_hash()

    def test_observing_and_reading_change_nothing(self) -> None:
        """`observe` and `read` are pure."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        before = world.state_hash()
        self.observed(world, platform)
        rows = ActionBatch.build(np.arange(3), [17, 18, 19], content=["rain coffee", "user5", None])
        platform.read(world, rows, step_context(world, platform))
        assert world.state_hash() == before

    def test_feeds_show_what_may_be_seen_once(self) -> None:
        """A feed holds no removed, muted or banned author's post, and a root once."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        seen, _ = self.observed(world, platform)
        agents, posts = seen.agent_ids[seen.feeds.rows], seen.feeds.post_ids
        root = world.posts["root"][posts]
        for author in (world.posts["author"][posts], world.posts["author"][root]):
            assert not world.users["banned"][author].any()
            assert not world.mutes.contains(agents, author).any()
        assert not world.posts["hidden"][root].any()
        assert len(np.unique(agents.astype(np.int64) << 32 | root)) == len(root)
        assert platform.visible(world, agents, posts).all()
        assert len(seen.flags) == len(posts) == len(seen.comment_offsets) - 1
        comments = seen.comment_ids
        shown_under = np.repeat(np.arange(len(posts)), np.diff(seen.comment_offsets))
        assert (world.comments["post"][comments] == root[shown_under]).all()
        assert not world.mutes.contains(agents[shown_under], world.comments["author"][comments]).any()

    def test_observation_does_not_depend_on_who_is_asked_together(self) -> None:
        """Half of the agents asked alone see what they see among all."""
        world, platform = self.world(), self.make(USER_ACTIONS)
        ctx = step_context(world, platform)
        n = len(world.users)
        feeds = random_feeds(world, n, 8, Draws(3))
        all_ = platform.observe(world, np.arange(n, dtype=np.int32), feeds, ctx)
        half = np.arange(0, n, 2)
        rows = np.flatnonzero(feeds.rows % 2 == 0)
        part = Feeds(np.arange(0, 8 * len(half) + 1, 8), feeds.post_ids[rows], feeds.scores[rows], feeds.sources[rows])
        alone, among = platform.observe(world, half.astype(np.int32), part, ctx), all_.take(half)
        assert np.array_equal(alone.feeds.post_ids, among.feeds.post_ids)
        assert np.array_equal(alone.flags, among.flags)
        assert np.array_equal(alone.comment_ids, among.comment_ids)

    def test_nobody_and_nothing(self) -> None:
        """Empty batches, feeds and worlds are fine."""
        platform = self.make(USER_ACTIONS)
        for world in (small_world(0, 0), small_world(3, 0)):
            ctx = step_context(world, platform)
            n = len(world.users)
            assert len(platform.apply(world, ActionBatch.empty(), ctx).outcome) == 0
            assert len(platform.apply_outside(world, ActionBatch.empty(), ctx).outcome) == 0
            assert len(platform.read(world, ActionBatch.empty(), ctx).outcomes) == 0
            seen = platform.observe(world, np.arange(n, dtype=np.int32), Feeds.empty(n), ctx)
            assert len(seen.flags) == 0


def _late(batch: ActionBatch, outcome: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Return rows that the same round may make possible: what failed for want of something to undo, or a removal."""
    return np.isin(outcome, [Outcome.REMOVED, Outcome.NOTHING_TO_UNDO, Outcome.NOT_MEMBER])
