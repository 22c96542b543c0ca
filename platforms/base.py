"""What all built-in platforms share: the phases of a batch, in the order in which rules are judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from oasis.actions import READ_ACTIONS, USER_ACTIONS, Action, ActionBatch
from oasis.errors import ScenarioError
from oasis.interfaces import Applied, Feeds, Observations, StepContext, Views
from oasis.platforms.comments import judge_comments, make_comments
from oasis.platforms.groups import judge_groups, make_groups
from oasis.platforms.observe import observe
from oasis.platforms.outside import apply_outside
from oasis.platforms.posts import judge_posts, make_posts
from oasis.platforms.purchases import purchase
from oasis.platforms.reactions import report, vote
from oasis.platforms.read import Reading
from oasis.platforms.relations import follow, mute
from oasis.platforms.round import I32, Bool, Round, Visible
from oasis.platforms.rules import Rules
from oasis.platforms.seeded import Seeded
from oasis.platforms.targets import accept_reading, judge_agents, judge_targets
from oasis.platforms.texts import judge_texts, store_texts
from oasis.platforms.visibility import posts_visible
from oasis.plugins import parse_parameters
from oasis.randomness import Lane
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["SocialPlatform"]


class SocialPlatform:
    """Base of `X` and `Reddit`; see `oasis.interfaces.Platform` for what each method promises.

    A subclass sets its names and default actions, and may change any phase.

    Parameters
    ----------
    actions : sequence of Action or None
        User actions that agents may take; None is `default_actions`. Doing nothing is never refused.
    rules : Rules
    """

    name: ClassVar[str]
    personal: ClassVar[bool]
    default_recommender: ClassVar[str]
    default_actions: ClassVar[tuple[Action, ...]]

    def __init__(self, actions: Sequence[Action] | None = None, rules: Rules | None = None) -> None:
        wanted = self.default_actions if actions is None else actions
        outside = sorted(Action(a).label for a in wanted if a not in USER_ACTIONS)
        if outside:
            names = ", ".join(a.label for a in USER_ACTIONS)
            raise ScenarioError(f"platform.actions: {outside[0]} is not an action of agents; allowed: {names}")
        self._actions = tuple(sorted({Action(a) for a in wanted}))
        self.rules = rules or Rules()
        self._reading = Reading(self.rules)
        self._seeded = Seeded()

    @classmethod
    def from_parameters(cls, actions: Sequence[Action] | None, rules: Mapping[str, Any]) -> Self:
        """Build from the scenario's ``[platform]`` table.

        Raises
        ------
        ScenarioError
            For an unknown rule (naming the nearest), a value out of range, or an action that agents do not have.
        """
        return cls(actions, parse_parameters(Rules, rules, "platform.rules"))

    @property
    def actions(self) -> tuple[Action, ...]:
        """The user actions that are allowed, by code."""
        return self._actions

    @property
    def show_scores(self) -> bool:
        """Whether agents see numbers of likes, dislikes, reposts and comments."""
        return self.rules.show_scores

    def tables(self) -> Mapping[str, Store]:
        """Return no stores: all state is in the world's social tables."""
        return {}

    def visible(self, world: World, agents: I32, posts: I32) -> Bool:
        """Return whether each agent may see each post, shape (m,)."""
        seen = posts_visible(world, agents, posts, self.rules.report_hide_threshold)
        return seen if self.rules.show_written else seen & self._seeded.posts(world)[posts]

    def observe(self, world: World, agent_ids: I32, feeds: Feeds, ctx: StepContext) -> Observations:
        """Turn feeds into what agents see: rows they may not see removed, flags and comments added."""
        comments = None if self.rules.show_written else self._seeded.comments(world)
        return observe(world, agent_ids, feeds, ctx, self.rules, self._visible_in(world), comments)

    def read(self, world: World, requests: ActionBatch, ctx: StepContext) -> Views:
        """Answer read-only actions from the frozen world, but for ``refresh``."""
        round_ = Round(world, requests, ctx.step, Lane.AGENT, ctx.frozen, self._visible_in(world))
        judge_agents(round_, READ_ACTIONS.intersection(self._actions))
        judge_targets(round_)
        judge_texts(round_)
        judge_groups(round_)
        accept_reading(round_)
        return self._reading.answer(round_, requests, ctx)

    def apply(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply one round, at most one action per agent, rows in the drawn order."""
        return self._apply(
            Round(world, batch, ctx.step, Lane.AGENT, ctx.frozen, self._visible_in(world)), self._actions
        )

    def apply_outside(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply actions of agent -1, in row order, each seeing what the rows before it did."""

        def user_actions(rows: ActionBatch, lengths: Mapping[str, int]) -> Applied:
            round_ = Round(world, rows, ctx.step, Lane.OUTSIDE, lengths, self._visible_in(world))
            return self._apply(round_, USER_ACTIONS)

        return apply_outside(world, batch, ctx.step, user_actions)

    def _visible_in(self, world: World) -> Visible:
        return lambda agents, posts: self.visible(world, agents, posts)

    def _apply(self, round_: Round, allowed: Iterable[Action]) -> Applied:
        judge_agents(round_, allowed)
        judge_targets(round_)
        report(round_, self.rules.report_hide_threshold)
        judge_texts(round_)
        judge_posts(round_)
        judge_comments(round_)
        vote(round_)
        follow(round_)
        mute(round_)
        judge_groups(round_)
        purchase(round_)
        accept_reading(round_)
        store_texts(round_)
        make_posts(round_)
        make_comments(round_)
        make_groups(round_)
        return round_.applied()
