"""What every policy must do: subclass `PolicyTests`, set `make`, run it with pytest."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from oasis.actions import READ_ACTIONS, TARGETS, TEXT_ACTIONS, USER_ACTIONS, Action, ActionBatch, TargetKind
from oasis.interfaces import Answer, Decisions, Observations, Policy, PolicyContext, Question, RendersPrompts
from oasis.testing.situations import WordEmbedder, first_agents, observations_of, policy_context, policy_world
from oasis.world.world import World

__all__ = ["PolicyTests", "WordEmbedder", "first_agents", "observations_of", "policy_context", "policy_world"]

_SHOWN_OF_COMMENTS = ("likes", "dislikes", "base_likes", "base_dislikes")
_SHOWN_OF_POSTS = (*_SHOWN_OF_COMMENTS, "reposts", "quotes", "comments")

I32 = npt.NDArray[np.int32]


class PolicyTests:
    """Conformance of a policy.

    Examples
    --------
    ::

        class TestMine(PolicyTests):
            def make(self):
                return Mine.from_parameters({})
    """

    max_actions: ClassVar[int] = 3
    """Rows that an agent may have at most."""
    acts_on_what_it_sees: ClassVar[bool] = True
    """Whether agents act only on what they are shown (a script need not)."""
    questions: ClassVar[tuple[Question, ...]] = (
        Question("trust", "How much do you trust the news?", scale=(0.0, 10.0)),
        Question("side", "Which do you prefer?", options=("tea", "coffee", "neither")),
        Question("open", "What do you care about?"),
    )

    def make(self) -> Policy:
        """Return the policy under test; override."""
        raise NotImplementedError

    def context(self, world: World, seed: int = 1) -> PolicyContext:
        """Return what the policy may use; override to give it a language model or another platform."""
        return policy_context(world, seed)

    def test_returns_adjacent_rows_for_every_agent_in_order(self) -> None:
        """Each observed agent has its rows, in the order observed, and none has too many."""
        world, actions = self._decide()
        first = actions.agent_id[np.flatnonzero(np.r_[True, np.diff(actions.agent_id) != 0])]
        assert np.array_equal(first, np.arange(len(world.users)))
        assert np.bincount(actions.agent_id).max() <= self.max_actions

    def test_columns_are_valid(self) -> None:
        """Actions are allowed, targets fit them and exist, text stands where it must and only there."""
        world, actions = self._decide()
        ctx = self.context(world)
        assert set(actions.action.tolist()) <= {*ctx.allowed, Action.DO_NOTHING, Action.NO_DECISION}
        assert (actions.policy == ctx.policy).all()
        lengths = {
            TargetKind.POST: len(world.posts),
            TargetKind.COMMENT: len(world.comments),
            TargetKind.USER: len(world.users),
            TargetKind.GROUP: len(world.groups),
            TargetKind.PRODUCT: len(world.products),
        }
        has_text = (actions.text_id >= 0) | actions.content.is_valid().to_numpy(zero_copy_only=False)
        for action in set(actions.action.tolist()):
            if action not in USER_ACTIONS:
                continue
            rows = actions.action == action
            kind = TARGETS[Action(action)]
            assert (actions.target_kind[rows] == kind).all()
            target = actions.target_id[rows]
            assert ((target >= 0) & (target < lengths[kind])).all() if kind in lengths else (target == -1).all()
            assert has_text[rows].all() if action in TEXT_ACTIONS else not has_text[rows].any()
        given = ~np.isnan(actions.probability)
        assert ((actions.probability[given] >= 0) & (actions.probability[given] <= 1)).all()

    def test_do_nothing_stands_alone(self) -> None:
        """An agent that does nothing has exactly one row."""
        _, actions = self._decide()
        count = np.bincount(actions.agent_id)
        idle = actions.agent_id[actions.action == Action.DO_NOTHING]
        assert (count[idle] == 1).all()

    def test_read_only_actions_have_their_outcome_and_come_first(self) -> None:
        """The policy asked for them itself, so their outcome is known, and turns never go back."""
        _, actions = self._decide()
        reading = np.isin(actions.action, [int(a) for a in READ_ACTIONS])
        assert (actions.outcome[reading] >= 0).all()
        same = actions.agent_id[1:] == actions.agent_id[:-1]
        assert (np.diff(actions.turn)[same] >= 0).all()

    def test_what_is_said_to_be_in_events_is(self) -> None:
        """A policy that decides in its events brings its texts itself, and no updates that events do not show."""
        world, policy = policy_world(), self.make()
        if getattr(policy, "decides_in_events", False):
            decisions = _run(policy, observations_of(world, first_agents(world)), self.context(world))
            assert (decisions.actions.text_id == -1).all()
            assert not decisions.updates
            assert decisions.stances is None

    def test_stances_are_of_observed_agents(self) -> None:
        """A policy that moves stances moves those of observed agents, each once, the same asked together or apart."""
        world, policy = policy_world(), self.make()
        ctx, before = self.context(world), world.users["stance"].copy()
        together = _run(policy, observations_of(world, first_agents(world)[:20]), ctx).stances
        assert np.array_equal(world.users["stance"], before)
        if together is None:
            return
        slices = (first_agents(world)[:3], first_agents(world)[3:20])
        parts = [_run(policy, observations_of(world, agents), ctx).stances for agents in slices]
        given = [part for part in parts if part is not None]
        assert np.array_equal(together.agent_ids, np.concatenate([part.agent_ids for part in given]))
        assert np.array_equal(together.values, np.concatenate([part.values for part in given]))
        assert together.values.dtype == np.float32
        assert np.isfinite(together.values).all()
        assert len(np.unique(together.agent_ids)) == len(together.agent_ids)
        assert together.agent_ids.max(initial=0) < 20

    def test_batches_do_not_matter(self) -> None:
        """Deciding for agents apart gives what deciding for them together gives."""
        world, together = self._decide()
        policy, ctx = self.make(), self.context(world)
        agents = np.arange(len(world.users), dtype=np.int32)
        parts = [
            _run(policy, observations_of(world, part), ctx).actions
            for part in (agents[:1], agents[1:7], agents[7:20], agents[20:])
        ]
        _assert_equal(together, ActionBatch.concat(parts))

    def test_same_seed_same_decisions(self) -> None:
        """Deciding twice gives the same, and leaves the world as it was."""
        world, first = self._decide()
        before = world.state_hash()
        second = _run(self.make(), observations_of(world, first_agents(world)), self.context(world)).actions
        _assert_equal(first, second)
        assert world.state_hash() == before

    def test_nobody(self) -> None:
        """No agents, no rows."""
        world = policy_world()
        decisions = _run(self.make(), observations_of(world, np.empty(0, np.int32)), self.context(world))
        assert len(decisions.actions) == 0

    def test_empty_feeds(self) -> None:
        """With nothing to see every agent still has a row, and none acts on a post."""
        world = policy_world(posts=0)
        actions = _run(self.make(), observations_of(world, first_agents(world)), self.context(world)).actions
        assert np.array_equal(np.unique(actions.agent_id), first_agents(world))
        if self.acts_on_what_it_sees:
            assert not np.isin(actions.target_kind, (TargetKind.POST, TargetKind.COMMENT)).any()

    def test_hidden_scores_are_not_looked_at(self) -> None:
        """Where the platform shows no scores, other numbers of votes, reposts and comments change no decision."""
        worlds, decided = (policy_world(), policy_world()), []
        for number, world in enumerate(worlds):
            for table, counters in ((world.posts, _SHOWN_OF_POSTS), (world.comments, _SHOWN_OF_COMMENTS)):
                for counter in counters:
                    table[counter][:] += np.arange(len(table), dtype=np.int32) * 7 % 50 * number
            ctx = self.context(world)
            ctx = replace(ctx, base=replace(ctx.base, show_scores=False))
            decided.append(_run(self.make(), observations_of(world, first_agents(world)), ctx).actions)
        _assert_equal(*decided)

    def test_prompt_templates_are_named_texts(self) -> None:
        """A policy that makes prompts of templates gives their texts, the same each time."""
        policy = self.make()
        if isinstance(policy, RendersPrompts):
            texts = dict(policy.prompt_templates())
            assert texts
            assert all(isinstance(part, str) for item in texts.items() for part in item)
            assert texts == dict(self.make().prompt_templates())  # type: ignore[attr-defined]

    def test_interviews_change_nothing(self) -> None:
        """Answers are aligned with the agents, fit the question, repeat, and leave the world as it was."""
        world = policy_world()
        policy, ctx = self.make(), self.context(world)
        before = world.state_hash()
        agents = np.asarray([4, 0, 7], np.int32)
        for question in self.questions:
            answers = asyncio.run(policy.interview(agents, question, ctx))
            assert [a.agent_id for a in answers] == agents.tolist()
            for answer in answers:
                _check_answer(answer, question)
            again = asyncio.run(policy.interview(agents[:1], question, ctx))
            assert repr(again) == repr(answers[:1])
        assert world.state_hash() == before

    def _decide(self) -> tuple[World, ActionBatch]:
        world = policy_world()
        decisions = _run(self.make(), observations_of(world, first_agents(world)), self.context(world))
        return world, decisions.actions


def _run(policy: Policy, observations: Observations, ctx: PolicyContext) -> Decisions:
    return asyncio.run(policy.decide(observations, ctx))


def _check_answer(answer: Answer, question: Question) -> None:
    if np.isnan(answer.value):
        return
    if question.scale is not None:
        assert question.scale[0] <= answer.value <= question.scale[1]
    if question.options is not None:
        assert answer.value in range(len(question.options))
        if answer.probabilities is not None:
            assert len(answer.probabilities) == len(question.options)
            assert abs(sum(answer.probabilities) - 1) < 1e-6


def _assert_equal(a: ActionBatch, b: ActionBatch) -> None:
    assert len(a) == len(b)
    for name in ("agent_id", "turn", "action", "target_kind", "target_id", "arg_id", "text_id", "policy", "outcome"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert np.array_equal(a.probability, b.probability, equal_nan=True), "probability"
    assert a.content.equals(b.content), "content"
