"""How many calls of language models a run made and what they cost, and the limit on that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from oasis.budget_config import BudgetConfig
from oasis.errors import BudgetError
from oasis.inference.calls import SORT_KEYS
from oasis.records import TOKENS

__all__ = ["CallCounts"]


class CallCounts:
    """Sums over rows of ``llm_calls``, and the meter of an `oasis.inference.Client`.

    Answers that another run was given (`reused`) are not counted.

    Parameters
    ----------
    budget : BudgetConfig

    Attributes
    ----------
    calls : int
        Attempts.
    tokens : dict
        ``input``, ``cached``, ``output``, as servers counted them.
    """

    def __init__(self, budget: BudgetConfig) -> None:
        self._budget = budget
        self._limited = any(limit is not None for limit in (budget.max_calls, budget.max_tokens, budget.max_cost))
        self.calls = 0
        self.tokens = dict.fromkeys(TOKENS, 0)
        self._owed: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self._owed_tokens = dict.fromkeys(TOKENS, 0)
        self._begin()

    def owe(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count attempts of what broke off: paid for, whenever their questions come again. To be called first."""
        for row in rows:
            if not row["reused"]:
                self._settle(row)  # what is told twice is owed once
                self._owed[_key(row)] = row
                for name, column in TOKENS.items():
                    self._owed_tokens[name] += row[column] or 0
        self._begin()

    def count(self, row: Mapping[str, Any]) -> None:
        """Count an attempt of a step that is not done yet, until `add` counts the step."""
        if row["reused"] or (self._owed and self._settle(row)):
            return
        self._calls_now += 1
        for name, column in TOKENS.items():
            self._tokens_now[name] += row[column] or 0

    def gate(self, in_flight: int) -> None:
        """Refuse a request besides those in flight where the budget has no room for it.

        What an answer costs is known when it has come, so tokens and cost may exceed their limits by the requests in
        flight; the number of calls may not.

        Raises
        ------
        BudgetError
        """
        if (excess := self.excess(in_flight)) is not None:
            raise BudgetError(excess)

    def add(self, rows: pa.Table) -> dict[str, int]:
        """Count rows and return the sums of these alone, as columns of metrics."""
        paid = rows.filter(pc.invert(pc.fill_null(rows["reused"], False)))
        sums = {column: int(pc.sum(paid[column]).as_py() or 0) for column in TOKENS.values()}
        self.calls += paid.num_rows
        for name, column in TOKENS.items():
            self.tokens[name] += sums[column]
        self._begin()
        return {"llm_calls": rows.num_rows, **sums}

    def excess(self, in_flight: int = 0) -> str | None:
        """Return which limit is used up, and what to do; None while there is some left."""
        used = self.used_up(in_flight)
        return None if used is None else f"{used} is used up; to go on, resume with --set {used.split()[0]}=MORE"

    def used_up(self, in_flight: int = 0) -> str | None:
        """Return the key and value of the limit that is used up, ``budget.max_calls (5)``; None while there is none."""
        budget = self._budget
        if not self._limited:
            return None
        calls = self.calls + self._calls_now + in_flight
        tokens = {name: self.tokens[name] + self._tokens_now[name] for name in TOKENS}
        used: str | None = None
        if budget.max_calls is not None and calls >= budget.max_calls:
            used = f"budget.max_calls ({budget.max_calls})"
        elif budget.max_tokens is not None and tokens["input"] + tokens["output"] >= budget.max_tokens:
            used = f"budget.max_tokens ({budget.max_tokens})"
        elif budget.max_cost is not None and (cost := budget.cost(tokens)) is not None and cost >= budget.max_cost:
            used = f"budget.max_cost ({budget.max_cost:g})"
        return used

    def state(self) -> dict[str, int]:
        """Return what `load` puts back."""
        return {"calls": self.calls, **self.tokens}

    def load(self, state: Mapping[str, int]) -> None:
        """Put back what `state` returned."""
        self.calls = state["calls"]
        self.tokens = {name: state[name] for name in TOKENS}

    def _begin(self) -> None:
        self._calls_now = len(self._owed)
        self._tokens_now = dict(self._owed_tokens)

    def _settle(self, row: Mapping[str, Any]) -> bool:
        """Owe an attempt no longer; return whether it was owed."""
        owed = self._owed.pop(_key(row), None)
        if owed is None:
            return False
        for name, column in TOKENS.items():
            self._owed_tokens[name] -= owed[column] or 0
        return True


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in SORT_KEYS)
