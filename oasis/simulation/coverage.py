"""Decision coverage: registered, active, decided by each policy, failed; and the limit on failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Outcome

__all__ = ["Coverage"]


class Coverage:
    """Counts over all steps; decided (by any policy), failed and invalid add up to all activations.

    Parameters
    ----------
    policies : sequence of str
        Names of the policies.
    asks_model : sequence of bool
        Which of them ask a language model; only their decisions count towards the limit.
    limit : float
        Share of model decisions that may fail.
    window : int
        The share is judged over the last `window` model decisions, and at the end over all.
    """

    def __init__(self, policies: Sequence[str], asks_model: Sequence[bool], limit: float, window: int) -> None:
        self._policies = list(policies)
        self._asks_model = np.asarray(asks_model, np.bool_)
        self._limit, self._window = limit, window
        self._active = np.zeros(0, np.bool_)
        self._decided = np.zeros(len(policies), np.int64)
        self._decided_before: dict[str, int] = {}  # by policies that are no more
        self._failures = {Outcome.LLM_FAILED: 0, Outcome.LLM_INVALID: 0}
        self._model_decisions = 0
        self._recent = np.zeros(0, np.bool_)

    def add(
        self,
        registered: int,
        agents: npt.NDArray[np.int32],
        policy: npt.NDArray[np.int32],
        failed: npt.NDArray[np.int16],
    ) -> None:
        """Count a step.

        Parameters
        ----------
        agents, policy : ndarray, shape (n,)
            The active agents in their stable order, and the policy of each.
        failed : ndarray, shape (n,)
            `Outcome.LLM_FAILED` or `LLM_INVALID`, -1 where a decision was made.
        """
        if registered > len(self._active):
            self._active = np.r_[self._active, np.zeros(registered - len(self._active), np.bool_)]
        self._active[agents] = True
        made = failed < 0
        self._decided += np.bincount(policy[made], minlength=len(self._policies))
        for outcome in self._failures:
            self._failures[outcome] += int(np.count_nonzero(failed == outcome))
        by_model = self._asks_model[policy]
        self._model_decisions += int(np.count_nonzero(by_model))
        self._recent = np.r_[self._recent, ~made[by_model]][-self._window :]

    def state(self) -> tuple[dict[str, Any], pa.Table]:
        """Return JSON values and a table from which `load` puts the counts back."""
        facts = {
            "decided_by": self._decided_by(),
            **{outcome.label: count for outcome, count in self._failures.items()},
            "model_decisions": self._model_decisions,
            "recent": self._recent.astype(int).tolist(),
        }
        return facts, pa.table({"active": pa.array(self._active)})

    def load(self, facts: Mapping[str, Any], table: pa.Table) -> None:
        """Put back what `state` returned; policies may be others than then."""
        before = dict(facts["decided_by"])
        self._decided = np.array([before.pop(name, 0) for name in self._policies], np.int64)
        self._decided_before = before
        self._failures = {outcome: int(facts[outcome.label]) for outcome in self._failures}
        self._model_decisions = int(facts["model_decisions"])
        self._recent = np.array(facts["recent"], np.bool_)
        self._active = table["active"].to_numpy(zero_copy_only=False).astype(np.bool_)

    def _decided_by(self) -> dict[str, int]:
        now = {n: int(c) for n, c in zip(self._policies, self._decided, strict=True)}
        return {**self._decided_before, **now}

    def forget(self) -> None:
        """Begin a new window: what failed before a run was resumed does not stop it again."""
        self._recent = self._recent[:0]

    @property
    def failures(self) -> int:
        """Model decisions that failed, so far."""
        return sum(self._failures.values())

    def excess(self, at_end: bool = False) -> str | None:
        """Return why the run must stop, None while failures are within the limit.

        Before `window` decisions were made, as many failures stop the run as would in a full window: no success that
        could follow would bring the window that began with the run back within the limit.
        """
        if at_end:
            failed, of = self.failures, self._model_decisions
            if failed <= self._limit * of:
                return None
            return f"{failed} of all {of} model decisions failed ({failed / of:.1%}; limit {self._limit:.0%})"
        failed, of = int(self._recent.sum()), len(self._recent)
        if failed <= self._limit * self._window:
            return None
        return (
            f"{failed} of the last {of} model decisions failed ({failed / of:.1%}; limit {self._limit:.0%} of"
            f" {self._window})"
        )

    def counts(self) -> dict[str, int | dict[str, int]]:
        """Return the manifest's ``coverage``."""
        return {
            "registered": len(self._active),
            "active": int(np.count_nonzero(self._active)),
            "decisions": sum(self._decided_by().values()) + self.failures,
            "decided_by": self._decided_by(),
            "llm_failed": self._failures[Outcome.LLM_FAILED],
            "llm_invalid": self._failures[Outcome.LLM_INVALID],
        }
