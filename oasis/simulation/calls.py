"""How many calls of language models a run made and what they cost, and the limit on that."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from oasis.scenario import BudgetConfig

__all__ = ["CallCounts"]

_TOKENS = {"input": "tokens_in", "cached": "tokens_cached", "output": "tokens_out"}


class CallCounts:
    """Sums over rows of ``llm_calls``. Answers that another run was given (`reused`) are not counted.

    Attributes
    ----------
    calls : int
        Attempts.
    tokens : dict
        ``input``, ``cached``, ``output``, as servers counted them.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.tokens = dict.fromkeys(_TOKENS, 0)

    def add(self, rows: pa.Table) -> dict[str, int]:
        """Count rows and return the sums of these alone, as columns of metrics."""
        paid = rows.filter(pc.invert(pc.fill_null(rows["reused"], False)))
        sums = {column: int(pc.sum(paid[column]).as_py() or 0) for column in _TOKENS.values()}
        self.calls += paid.num_rows
        for name, column in _TOKENS.items():
            self.tokens[name] += sums[column]
        return {"llm_calls": rows.num_rows, **sums}

    def excess(self, budget: BudgetConfig) -> str | None:
        """Return which limit is used up; None while there is some left."""
        if budget.max_calls is not None and self.calls >= budget.max_calls:
            return f"budget.max_calls ({budget.max_calls}) is used up"
        if budget.max_tokens is not None and self.tokens["input"] + self.tokens["output"] >= budget.max_tokens:
            return f"budget.max_tokens ({budget.max_tokens}) is used up"
        return None

    def state(self) -> dict[str, int]:
        """Return what `load` puts back."""
        return {"calls": self.calls, **self.tokens}

    def load(self, state: Mapping[str, int]) -> None:
        """Put back what `state` returned."""
        self.calls = state["calls"]
        self.tokens = {name: state[name] for name in _TOKENS}
