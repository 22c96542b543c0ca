"""What a language model answered on the sample, beside what the choice model did and could have done.

Axes: ``n`` agents asked together, ``r`` occasions, ``o`` options (0 is "nothing").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.actions import Action, ActionBatch
from oasis.agents.choice.choice_data import KINDS, chosen, offered
from oasis.agents.choice.likelihood import probabilities
from oasis.agents.choice.model import Model
from oasis.interfaces import Observations, PolicyContext

__all__ = ["Answers", "Batch", "Foretold", "foretell"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Foretold:
    """Occasions of one kind, of agents that the language model answered for.

    Attributes
    ----------
    actions : tuple of Action, length o
        The options; nothing is the first.
    step, agent, target : ndarray, shape (r,), int64
        Target is the post, author or comment; for a blank page 0.
    chances : ndarray, shape (r, o), float64
        The choice model's probability of each option, examination included: e P(k), and 1 - e + e P(0) of nothing.
    asked, recorded : ndarray, shape (r,), int64
        The option that the language model took, and that of the run; of several actions on one thing the first.
    """

    actions: tuple[Action, ...]
    step: I64
    agent: I64
    target: I64
    chances: F64
    asked: I64
    recorded: I64

    @classmethod
    def joined(cls, parts: Sequence[Foretold]) -> Foretold:
        """Return the occasions of all parts."""
        names = ("step", "agent", "target", "chances", "asked", "recorded")
        return cls(parts[0].actions, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, rows: npt.NDArray[np.bool_]) -> Foretold:
        """Return some occasions."""
        return Foretold(
            self.actions,
            self.step[rows],
            self.agent[rows],
            self.target[rows],
            self.chances[rows],
            self.asked[rows],
            self.recorded[rows],
        )

    def __len__(self) -> int:
        return len(self.asked)


@dataclass(frozen=True)
class Batch:
    """What agents that were asked together answered.

    Attributes
    ----------
    step : int
    agents : ndarray, shape (n,), int32, sorted
    failed : ndarray, shape (n,), int16
        `Outcome.LLM_FAILED` or `LLM_INVALID`, -1 where there is an answer.
    asked, recorded : ActionBatch
        What the language model would have done, and what was done.
    occasions : dict of Foretold
        By kind, of those with an answer.
    """

    step: int
    agents: npt.NDArray[np.int32]
    failed: npt.NDArray[np.int16]
    asked: ActionBatch
    recorded: ActionBatch
    occasions: dict[str, Foretold]


@dataclass
class Answers:
    """All batches, whatever order they came in."""

    batches: list[Batch] = field(default_factory=list)

    def in_order(self) -> list[Batch]:
        """Return batches by step and agent."""
        return sorted(self.batches, key=lambda batch: (batch.step, int(batch.agents[0])))

    def occasions(self) -> dict[str, Foretold]:
        """Return all occasions by kind, in the order of `KINDS`."""
        batches = self.in_order()
        found = {kind: [b.occasions[kind] for b in batches if kind in b.occasions] for kind in KINDS}
        return {kind: Foretold.joined(parts) for kind, parts in found.items() if parts}

    def activations(self) -> pl.DataFrame:
        """Return ``step, agent_id, failed``, a row for each agent asked."""
        schema = pl.Schema({"step": pl.Int32, "agent_id": pl.Int32, "failed": pl.Int16})
        parts = [pl.DataFrame({"step": b.step, "agent_id": b.agents, "failed": b.failed}) for b in self.in_order()]
        return pl.concat([pl.DataFrame(schema=schema), *(part.cast(schema) for part in parts)])

    def actions(self, of: str) -> pl.DataFrame:
        """Return ``step, agent_id, action, target_id``, a row per action, of ``asked`` or ``recorded``."""
        schema = pl.Schema({"step": pl.Int32, "agent_id": pl.Int32, "action": pl.Int16, "target_id": pl.Int32})
        parts = []
        for batch in self.in_order():
            rows: ActionBatch = getattr(batch, of)
            columns = {name: getattr(rows, name) for name in ("agent_id", "action", "target_id")}
            parts.append(pl.DataFrame({"step": np.full(len(rows), batch.step, np.int32), **columns}))
        return pl.concat([pl.DataFrame(schema=schema), *(part.cast(schema) for part in parts)])


def foretell(
    seen: Observations, ctx: PolicyContext, model: Model, asked: ActionBatch, recorded: ActionBatch
) -> dict[str, Foretold]:
    """Return the occasions of agents by kind, with what the choice model expects, what was answered, and what was done.

    Those at which nothing could be chosen (an author who is followed already, say) are no decisions and left out.

    Parameters
    ----------
    seen : Observations
        Of agents with an answer.
    asked, recorded : ActionBatch
        Theirs.
    """
    reading = (model.first, model.persistence, model.comments)
    found = {}
    for kind, (offers, examined) in offered(seen, ctx, model, [reading]).items():
        arises = examined[:, :1].astype(np.float64)
        chances = arises * probabilities(offers.menu.coefficients, offers.features, offers.available)
        chances[:, :1] += 1 - arises
        step = np.full(len(chances), ctx.base.step, np.int64)
        options = [chosen(offers, actions, seen.agent_ids, ctx)[0] for actions in (asked, recorded)]
        agent, target = offers.agent_id.astype(np.int64), offers.target.astype(np.int64)
        every = Foretold(offers.menu.actions, step, agent, target, chances, *options)
        found[kind] = every.take(np.asarray(offers.available[:, 1:].any(axis=1)))
    return found
