"""Named rules by which the stances that an agent saw move its own: Friedkin-Johnsen and Deffuant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from oasis.errors import nearest
from oasis.interfaces import Parameters
from oasis.kernels import opinion as kernels

__all__ = ["OpinionParameters"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]

_RULES: Final[dict[str, tuple[str, ...]]] = {
    "friedkin-johnsen": ("susceptibility", "self_weight"),
    "deffuant": ("confidence", "convergence"),
}


class OpinionParameters(Parameters):
    """Table ``[policies.parameters.opinion]``: a rule and its own parameters, no others.

    Attributes
    ----------
    rule : str
        ``friedkin-johnsen``: ``x(t+1) = s (w x(t) + (1 - w) m(t)) + (1 - s) x(0)`` with m the mean of the stances seen
        (Friedkin and Johnsen 1990; w stands on the diagonal of their matrix of weights).
        ``deffuant``: for each stance y seen, in the order seen, ``x += mu (y - x)`` if ``|y - x| < d`` (Deffuant et al.
        2000, equation 1, for the reader alone: who wrote y is not moved).
    susceptibility : float
        s: 0 keeps every stance, 1 forgets the anchor. Assumed.
    self_weight : float
        w: 0 leaves the present stance out, as in the plain form. Assumed.
    confidence : float
        d, in units of stance (-1 to 1): twice what it is for opinions from 0 to 1. The default is their d = 0.2.
    convergence : float
        mu. The default is theirs.
    """

    rule: Literal["friedkin-johnsen", "deffuant"]
    susceptibility: Share = 0.5
    self_weight: Share = 0.0
    confidence: float = Field(default=0.4, ge=0.0, le=2.0, allow_inf_nan=False)
    convergence: Share = 0.5

    @model_validator(mode="before")
    @classmethod
    def _of_the_rule(cls, values: Any) -> Any:
        rule = values.get("rule") if isinstance(values, Mapping) else None
        if isinstance(rule, str) and rule in _RULES:
            allowed = ("rule", *_RULES[rule])
            for key in map(str, values):
                if key not in allowed:
                    hint = nearest(key, allowed)
                    raise ValueError(f"unknown key {key!r} of {rule}{hint}; allowed: {', '.join(allowed)}")
        return values

    @property
    def anchored(self) -> bool:
        """Whether agents are held by the stance that they began with."""
        return self.rule == "friedkin-johnsen"

    def moved(self, offsets: I64, seen: F64, own: F64, anchor: F64) -> F64:
        """Return the stances of agents after what they saw, shape (n,); axes as in `oasis.kernels.opinion`."""
        out = np.empty(len(own))
        if self.rule == "deffuant":
            kernels.deffuant(offsets, seen, own, self.confidence, self.convergence, out)
        else:
            kernels.friedkin_johnsen(offsets, seen, own, anchor, self.susceptibility, self.self_weight, out)
        return out
