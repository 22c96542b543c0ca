"""The ``choice`` policy: a two-stage discrete-choice model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import READ_ACTIONS, Action, ActionBatch
from oasis.agents.choice import occasions
from oasis.agents.choice.content import fill_in
from oasis.agents.choice.interview import answer
from oasis.agents.choice.model import FEATURES, ChoiceParameters, Model
from oasis.agents.choice.occasions import Choices
from oasis.agents.choice.opinion import Anchors, moved
from oasis.agents.choice.reading import Looked, look_up
from oasis.agents.choice.shown import Shown, examine, places
from oasis.interfaces import Answer, Applied, Decisions, Observations, PolicyContext, Question
from oasis.kernels.threads import aside
from oasis.plugins import parse_parameters
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["Choice"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_READS = np.asarray(sorted(READ_ACTIONS), np.int16)


class Choice:
    """Examine posts by position, then choose among nothing and the allowed actions by multinomial logit.

    Parameters
    ----------
    parameters : ChoiceParameters

    Notes
    -----
    Equations, coefficients and their sources: ``docs/choice-model.md``. Groups and products are left to other
    policies: their actions are never chosen here.

    ``probability`` of an action is that of the chosen option among those of its occasion, given that the occasion
    arose (the post was examined); of do_nothing, the product of the probabilities of "nothing" over all occasions
    that arose.
    """

    needs_embeddings: ClassVar[bool] = True
    needs_inference: ClassVar[bool] = False

    def __init__(self, parameters: ChoiceParameters | None = None) -> None:
        self.parameters = parameters or ChoiceParameters()
        self._anchors = Anchors()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from `ChoiceParameters`.

        Raises
        ------
        ScenarioError
            For an unknown action or feature (naming the nearest), or a value that is not a finite number in range.
        """
        return cls(parse_parameters(ChoiceParameters, parameters, "policies.parameters"))

    def tables(self) -> Mapping[str, Store]:
        """Return the store ``anchors`` where the rule of opinion has them; the model has no other memory."""
        opinion = self.parameters.opinion
        return {"anchors": self._anchors} if opinion is not None and opinion.anchored else {}

    async def decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        """Choose actions; the same for each agent whatever agents are asked together."""
        return await aside(lambda: self._decide(observations, ctx))

    async def interview(self, agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
        """Answer from the agents' stance and interests, with noise keyed by agent and question."""
        return answer(agents, question, ctx)

    def committed(self, world: World, decisions: Decisions, applied: Applied) -> None:
        """Keep the stances that agents began with."""
        for agents, stances in decisions.updates.get("anchors", ()):
            self._anchors.keep(agents, stances)

    def _decide(self, observations: Observations, ctx: PolicyContext) -> Decisions:
        model = Model.build(ctx.platform, ctx.allowed, self.parameters)
        agent_ids = observations.agent_ids
        shown = Shown.of(observations)
        looked = look_up(agent_ids, shown, model, ctx) if len(model.read.actions) > 1 else None
        examined = examine(shown, model, ctx, 0)
        # by rates, what is acted on is drawn from the feed alone
        found = None if looked is None or self.parameters.rates is not None else examine(looked.posts, model, ctx, 1)
        choices, rows = _all_choices(agent_ids, examined, found, looked, model, ctx)
        decisions = Decisions(self._assemble(agent_ids, choices, rows, examined, found, looked, model, ctx))
        if (rule := self.parameters.opinion) is not None:
            parts = [examined] if found is None else [examined, found]
            decisions.stances, begun = moved(rule, self._anchors, agent_ids, parts, ctx)
            decisions.updates = {"anchors": begun} if rule.anchored else {}
        return decisions

    def _assemble(
        self,
        agent_ids: I32,
        choices: Choices,
        rows: I64,
        examined: Shown,
        found: Shown | None,
        looked: Looked | None,
        model: Model,
        ctx: PolicyContext,
    ) -> ActionBatch:
        """Return at most `max_actions` rows per agent in order of place, do_nothing for those without."""
        n = len(agent_ids)
        acting = np.flatnonzero(choices.action != Action.DO_NOTHING)
        acting = acting[np.lexsort((choices.place[acting], choices.agent[acting]))]
        agent = choices.agent[acting]
        start = np.flatnonzero(np.r_[True, agent[1:] != agent[:-1]])[: len(agent)]
        rank = np.arange(len(agent)) - np.repeat(start, np.diff(np.r_[start, len(agent)]))
        acting = acting[rank < self.parameters.max_actions]

        quiet = np.ones(n, np.bool_)
        quiet[choices.agent[acting]] = False
        nothing = np.ones(n)
        np.multiply.at(nothing, choices.agent, choices.nothing)  # in row order: one row after another
        idle = np.flatnonzero(quiet)
        owner = np.r_[choices.agent[acting], idle]
        order = np.argsort(owner, kind="stable")
        action = np.r_[choices.action[acting], np.full(len(idle), Action.DO_NOTHING, np.int16)][order]
        batch = ActionBatch.build(
            agent_ids[owner[order]],
            action,
            target_id=np.r_[choices.target[acting], np.full(len(idle), -1, np.int32)][order],
            probability=np.r_[choices.probability[acting], nothing[idle]][order],
            policy=ctx.policy,
        )
        both = examined if found is None else examined.followed_by(found)
        fill_in(batch, both, np.r_[rows[acting], np.full(len(idle), -1)][order], model, ctx)
        if looked is not None and len(looked.rows):
            reader = np.zeros(n, np.bool_)
            reader[looked.rows] = True
            reading = np.flatnonzero(np.isin(batch.action, _READS))
            batch.turn = reader[owner[order]].astype(np.int16)
            batch.turn[reading] = 0
            batch.outcome = np.full(len(batch), -1, np.int16)
            batch.outcome[reading] = looked.requests.outcome
            batch.content = _place_texts(batch, reading, looked.requests)
        return batch


def _all_choices(
    agent_ids: I32, examined: Shown, found: Shown | None, looked: Looked | None, model: Model, ctx: PolicyContext
) -> tuple[Choices, I64]:
    """Return all choices, and the row of the examined (then found) post behind each; -1 for none."""
    parts: list[tuple[Choices, I64]] = []

    def add(choices: Choices, rows: I64 | None = None) -> None:
        parts.append((choices, np.full(len(choices.agent), -1) if rows is None else rows))

    if looked is not None:
        add(looked.choices)
    add(_write(agent_ids, model, ctx))
    features = occasions.features_of(ctx, examined)
    add(occasions.at_posts(examined, features, model, ctx, 0), np.arange(len(examined)))
    agent, authors = [examined.agent], [occasions.authors_of(ctx, examined)]
    author_features, place = [features], [places(examined, 0, 1)]
    if looked is not None and found is not None:
        features = occasions.features_of(ctx, found)
        add(occasions.at_posts(found, features, model, ctx, 1), len(examined) + np.arange(len(found)))
        agent += [found.agent, looked.user_agent]
        authors += [occasions.authors_of(ctx, found), looked.users]
        author_features += [features, occasions.user_features(ctx, agent_ids[looked.user_agent], looked.users)]
        last = np.full(len(looked.users), np.int64(3) << 40) + np.arange(len(looked.users))
        place += [places(found, 1, 1), last]
    if len(model.author.actions) > 1:
        rows = np.concatenate(agent)
        add(
            occasions.at_authors(
                rows,
                agent_ids[rows],
                np.concatenate(authors),
                np.concatenate(author_features),
                np.concatenate(place),
                model,
                ctx,
            )
        )
    if len(model.comment.actions) > 1:
        add(occasions.at_comments(examined, model, ctx))
    every = Choices(*(np.concatenate([getattr(c, name) for c, _ in parts]) for name in Choices.__dataclass_fields__))
    return every, np.concatenate([r for _, r in parts])


def _write(agent_ids: I32, model: Model, ctx: PolicyContext) -> Choices:
    """Choose between nothing and writing a post, once per activation, whatever the feed holds."""
    n = len(agent_ids)
    features = np.zeros((n, len(FEATURES)))
    features[:, 0] = 1.0
    available = np.ones((n, len(model.write.actions)), np.bool_)
    keys = ctx.world.users["key"][agent_ids]
    action, probability, nothing = occasions.choose(model.write, features, available, keys, 0, ctx, "write")
    return Choices(np.arange(n), np.ones(n, np.int64), action, np.full(n, -1, np.int32), probability, nothing)


def _place_texts(batch: ActionBatch, reading: I64, requests: ActionBatch) -> pa.LargeStringArray:
    """Return the batch's contents with those of the requests at rows `reading`."""
    at = np.arange(len(batch))
    at[reading] = len(batch) + np.arange(len(reading))
    return pa.concat_arrays([batch.content, requests.content]).take(pa.array(at))
