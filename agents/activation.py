"""Who acts when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from oasis.interfaces import Parameters, StepContext
from oasis.plugins import parse_parameters
from oasis.world.world import World

__all__ = ["Hourly"]


class _HourlyParameters(Parameters):
    """None: the probabilities are the population's (``population.activity_path`` and ``population.mean_active``)."""


class Hourly:
    """Each agent acts on its own, with the probability that its hourly activity gives for one step of this UTC hour.

    One uniform draw per agent and step, keyed by the agent's stable key, so whether an agent acts depends on nobody
    else. The cost is one pass over the registered agents (about 40 ns each).
    """

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build; takes no parameters.

        Raises
        ------
        ScenarioError
            For any parameter.
        """
        parse_parameters(_HourlyParameters, parameters, "activation.parameters")
        return cls()

    def active(self, world: World, ctx: StepContext) -> npt.NDArray[np.int32]:
        """Return the ids of the agents that act in ``ctx.step``, shape (n,), int32, sorted; banned ones never act."""
        users = world.users
        probability = users["activity"][:, ctx.clock.hour(ctx.step)].astype(np.float64)
        drawn = ctx.draws.uniform("activation", ctx.step, users["key"])
        return np.flatnonzero((drawn < probability) & ~users["banned"]).astype(np.int32)
