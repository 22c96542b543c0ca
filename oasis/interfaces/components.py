"""What a platform, an activation and a recommender are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from oasis.actions import Action, ActionBatch
from oasis.interfaces.observations import Applied, Feeds, Observations, StepContext, Views
from oasis.world.store import Store
from oasis.world.world import World

__all__ = [
    "Activation",
    "Parameters",
    "Platform",
    "Recommender",
    "ShowsScores",
]

I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


class Parameters(BaseModel):
    """Base of every component's configuration: frozen, exact types, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Platform(Protocol):
    """Which actions exist, what each does to the world, what a feed looks like, what an agent may see."""

    name: ClassVar[str]
    personal: ClassVar[bool]
    default_recommender: ClassVar[str]

    @classmethod
    def from_parameters(cls, actions: Sequence[Action] | None, rules: Mapping[str, Any]) -> Self:
        """Build from the scenario's ``[platform]`` table; `actions` None means the platform's default subset."""
        ...

    @property
    def actions(self) -> tuple[Action, ...]:
        """The user actions that are allowed, by code."""
        ...

    def tables(self) -> Mapping[str, Store]:
        """Return further stores that the platform owns, by name."""
        ...

    def visible(self, world: World, agents: I32, posts: I32) -> Bool:
        """Return whether each agent may see each post, shape (m,)."""
        ...

    def observe(self, world: World, agent_ids: I32, feeds: Feeds, ctx: StepContext) -> Observations:
        """Turn feeds into what agents see: rows they may not see removed, flags and comments added.

        Pure, and called for several batches at once, from threads.
        """
        ...

    def read(self, world: World, requests: ActionBatch, ctx: StepContext) -> Views:
        """Answer read-only actions from the frozen world, but for ``refresh`` (the engine's). Pure."""
        ...

    def apply(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply one round, at most one action per agent, rows in the drawn order; rejected rows change nothing.

        A target must have existed when the world was frozen (``ctx.frozen``), or be a creation of this agent in this
        step. The engine has resolved ``own_creation`` targets.
        """
        ...

    def apply_outside(self, world: World, batch: ActionBatch, ctx: StepContext) -> Applied:
        """Apply actions of agent -1, in row order, each seeing what the rows before it did.

        ``content`` is a canonical JSON object, or null. Its keys, besides the row's ``target_id``:
        ``sign_up`` username, name, bio, persona, group, stance, activity (number or 24 numbers);
        ``post`` (target: the author) text, topic, veracity, community, likes, dislikes;
        ``comment`` (target: the post) agent, text, parent, likes, dislikes; ``seed_votes`` likes, dislikes;
        ``follow`` and ``mute`` (target: whom) agent; ``label_post`` label (null takes it off); ``demote_post`` weight;
        ``edit_profile`` name, bio, persona, group, stance; ``add_product`` text, price, stock, seller;
        ``ban``, ``unban``, ``remove_post`` none.
        ``interview`` and ``swap_recommender`` are the engine's and are accepted without effect.
        A user action's object has ``agent`` (who is made to do it) and, where it needs one, ``text``.
        """
        ...


@runtime_checkable
class ShowsScores(Protocol):
    """What a platform has besides, if it may hide the numbers of likes, dislikes, reposts and comments from agents."""

    @property
    def show_scores(self) -> bool:
        """Whether agents see them."""
        ...


class Activation(Protocol):
    """Who acts in a step."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        ...

    def active(self, world: World, ctx: StepContext) -> I32:
        """Return the ids of the agents that act, sorted, without repeats; banned ones never act."""
        ...


class Recommender(Protocol):
    """Which posts each agent is shown.

    Attributes
    ----------
    needs_embeddings : bool
        Whether the world must have an embedder.
    """

    needs_embeddings: ClassVar[bool]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        ...

    def tables(self) -> Mapping[str, Store]:
        """Return the stores that the recommender owns, by name."""
        ...

    def prepare(self, world: World, ctx: StepContext) -> None:
        """Do once what all feeds of a step share. Changes no store: the step may be dropped yet."""
        ...

    def recommend(self, world: World, ctx: StepContext, agent_ids: I32, k: int) -> Feeds:
        """Return feeds of at most `k` posts, best first.

        Pure: the same whatever agents are asked for together. It is called for several batches at once, from threads.
        """
        ...

    def update(self, world: World, events: pa.Table, impressions: pa.Table) -> None:
        """Learn from a committed step, for those that learn."""
        ...
