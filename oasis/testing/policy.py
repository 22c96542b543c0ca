"""What every policy must do: subclass `PolicyTests`, set `make`, run it with pytest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import READ_ACTIONS, TARGETS, TEXT_ACTIONS, USER_ACTIONS, Action, ActionBatch, Outcome, TargetKind
from oasis.clock import Clock
from oasis.interfaces import (
    Answer,
    Decisions,
    Feeds,
    InferenceClient,
    Observations,
    Policy,
    PolicyContext,
    Question,
    RowFlag,
    Source,
    StepContext,
    Views,
)
from oasis.randomness import Draws, text_key
from oasis.testing.worlds import frozen_lengths, small_world
from oasis.world.world import World

__all__ = ["PolicyTests", "WordEmbedder", "observations_of", "policy_context", "policy_world"]

I32 = npt.NDArray[np.int32]


class WordEmbedder:
    """A bag of words hashed into 64 signs: enough for similar texts to be similar. For tests only."""

    name = "words"
    version = "1"
    dimensions = 64

    def embed(self, texts: pa.LargeStringArray) -> npt.NDArray[np.int8]:
        """Return int8 vectors, shape (n, 64)."""
        out = np.zeros((len(texts), self.dimensions))
        for row, text in enumerate(texts.to_pylist()):
            for word in text.lower().split():
                bits = np.asarray([text_key(word)]).view(np.uint8)
                out[row] += np.unpackbits(bits).astype(np.float64) * 2 - 1
        largest = np.abs(out).max(axis=1, initial=1, keepdims=True)
        return np.rint(127 * out / np.maximum(largest, 1)).astype(np.int8)


def policy_world(agents: int = 30, posts: int = 60, seed: int = 1, step: int = 3) -> World:
    """Return a small valid world with an embedder, all agents under policy 0."""
    world = small_world(agents, posts, seed, step=step)
    world.attach_embedder(WordEmbedder())
    return world


def observations_of(world: World, agents: I32, size: int = 8) -> Observations:
    """Return feeds of the same `size` posts' roots per agent, in an order of its own, with flags and comments."""
    keys = world.users["key"][agents]
    originals = np.flatnonzero(world.posts["root"] == np.arange(len(world.posts))).astype(np.int32)
    drawn = Draws(0).bits("feeds", 0, keys[:, None], world.posts["key"][originals][None, :])
    order = np.argsort(drawn.reshape(len(agents), len(originals)), axis=1, kind="stable")[:, :size]
    posts = originals[order.ravel()] if len(agents) else np.empty(0, np.int32)
    width = order.shape[1] if len(agents) else 0
    row = np.repeat(agents, width)
    flags = np.zeros(len(posts), np.uint8)
    if len(posts):
        author = world.posts["author"][posts]
        vote = world.post_reactions.values(row, posts)
        flags |= np.where(author == row, np.uint8(RowFlag.OWN), np.uint8(0))
        flags |= np.where(vote > 0, np.uint8(RowFlag.LIKED), np.uint8(0))
        flags |= np.where(vote < 0, np.uint8(RowFlag.DISLIKED), np.uint8(0))
        flags |= np.where(world.reposts.contains(row, posts), np.uint8(RowFlag.REPOSTED), np.uint8(0))
        flags |= np.where(world.follows.contains(row, author), np.uint8(RowFlag.IN_NETWORK), np.uint8(0))
    last = world.posts["last_comment"][posts]
    offsets = np.zeros(len(posts) + 1, np.int64)
    np.cumsum(last >= 0, out=offsets[1:])
    feeds = Feeds(
        np.arange(len(agents) + 1, dtype=np.int64) * width,
        posts,
        np.zeros(len(posts), np.float32),
        np.full(len(posts), Source.RANDOM, np.uint8),
    )
    return Observations(agents, feeds, flags, offsets, last[last >= 0])


def policy_context(
    world: World,
    seed: int = 1,
    allowed: Sequence[Action] = USER_ACTIONS,
    platform: str = "x",
    inference: InferenceClient | None = None,
) -> PolicyContext:
    """Return a context at the next step in which read-only actions find the first five posts and two users."""
    base = StepContext(
        world.step + 1,
        Clock(),
        Draws(seed),
        lambda agents, posts: np.ones(len(agents), np.bool_),
        frozen=frozen_lengths(world),
    )

    def ask(requests: ActionBatch) -> Views:
        count = len(requests)
        posts = np.arange(min(5, len(world.posts)), dtype=np.int32)
        users = np.arange(min(2, len(world.users)), dtype=np.int32)
        searching = requests.action == Action.SEARCH_USER
        shown = np.where(searching, 0, len(posts))
        found = np.where(searching, len(users), 0)
        rows = int(shown.sum())
        feeds = Feeds(
            np.r_[np.int64(0), np.cumsum(shown)],
            np.tile(posts, int((~searching).sum())),
            np.zeros(rows, np.float32),
            np.full(rows, Source.SEARCH, np.uint8),
        )
        nothing = np.zeros(count + 1, np.int64)
        return Views(
            feeds,
            np.r_[np.int64(0), np.cumsum(found)],
            np.tile(users, int(searching.sum())),
            nothing,
            np.empty(0, np.int32),
            np.full(count, Outcome.ACCEPTED, np.int16),
        )

    return PolicyContext(base, world, 0, tuple(allowed), ask, inference, platform)


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


def first_agents(world: World) -> I32:
    """Return all agents of a world."""
    return np.arange(len(world.users), dtype=np.int32)


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
