"""``[budget]``: what a run may use of language models before it stops, and what their tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from oasis.interfaces import Parameters

__all__ = ["BudgetConfig"]


class BudgetConfig(Parameters):
    """What the run may use before it stops, resumable.

    Attributes
    ----------
    max_calls : int, optional
        Attempts, those in flight included.
    max_tokens : int, optional
        Input and output together.
    max_cost : float, optional
        By the prices below, in their currency.
    price_in, price_cached, price_out : float, optional
        Of a million tokens of input, of input that the server had cached (`price_in` where not given), of output.
    """

    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    price_in: float | None = Field(default=None, ge=0)
    price_cached: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _priced(self) -> Self:
        given = [name for name in ("price_in", "price_cached", "price_out") if getattr(self, name) is not None]
        missing = [name for name in ("price_in", "price_out") if getattr(self, name) is None]
        if missing and (given or self.max_cost is not None):
            what = ", ".join(given) or "max_cost"
            raise ValueError(f"{what} needs {' and '.join(missing)} too: prices of a million tokens")
        return self

    def cost(self, tokens: Mapping[str, float]) -> float | None:
        """Return what tokens cost; None without prices.

        Parameters
        ----------
        tokens : mapping
            ``input``, ``cached`` (part of it) and ``output``.
        """
        if self.price_in is None or self.price_out is None:
            return None
        price_cached = self.price_in if self.price_cached is None else self.price_cached
        fresh = tokens["input"] - tokens["cached"]
        return (fresh * self.price_in + tokens["cached"] * price_cached + tokens["output"] * self.price_out) / 1e6
