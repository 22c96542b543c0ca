"""Coverage adds up, and the failure limit is judged over a window and at the end."""

from __future__ import annotations

import numpy as np

from oasis.actions import Outcome
from oasis.simulation.coverage import Coverage


def _add(coverage: Coverage, policy: list[int], failed: list[int]) -> None:
    n = len(policy)
    coverage.add(100, np.arange(n, dtype=np.int32), np.array(policy, np.int32), np.array(failed, np.int16))


def test_counts_add_up_to_all_activations() -> None:
    coverage = Coverage(["choice", "llm"], [False, True], 0.05, 500)
    _add(coverage, [0, 0, 1, 1, 1], [-1, -1, -1, Outcome.LLM_FAILED, Outcome.LLM_INVALID])
    _add(coverage, [0, 1], [-1, -1])
    counts = coverage.counts()
    assert counts == {
        "registered": 100,
        "active": 5,
        "decisions": 7,
        "decided_by": {"choice": 3, "llm": 2},
        "llm_failed": 1,
        "llm_invalid": 1,
    }


def test_only_model_decisions_count_towards_the_limit() -> None:
    coverage = Coverage(["choice", "llm"], [False, True], 0.25, 4)
    _add(coverage, [0] * 90 + [1] * 3, [-1] * 90 + [-1, -1, Outcome.LLM_FAILED])
    assert coverage.excess() is None  # the window is not full
    _add(coverage, [1], [-1])
    assert coverage.excess() is None  # a quarter is allowed
    _add(coverage, [1, 1], [Outcome.LLM_FAILED, -1])
    assert "2 of the last 4" in str(coverage.excess())


def test_more_failures_than_a_full_window_allows_stop_before_it_is_full() -> None:
    coverage = Coverage(["llm"], [True], 0.05, 500)
    _add(coverage, [0] * 36, [Outcome.LLM_FAILED] * 25 + [-1] * 11)
    assert coverage.excess() is None  # 475 good decisions could follow
    _add(coverage, [0] * 36, [Outcome.LLM_FAILED] + [-1] * 35)
    assert "26 of the last 72" in str(coverage.excess())


def test_old_failures_leave_the_window_but_not_the_whole() -> None:
    coverage = Coverage(["llm"], [True], 0.05, 10)
    _add(coverage, [0] * 10, [Outcome.LLM_FAILED] * 10)
    assert coverage.excess() is not None
    for _ in range(3):
        _add(coverage, [0] * 10, [-1] * 10)
    assert coverage.excess() is None
    assert "10 of all 40" in str(coverage.excess(at_end=True))


def test_a_run_without_models_has_nothing_to_exceed() -> None:
    coverage = Coverage(["choice"], [False], 0.0, 1)
    _add(coverage, [0] * 5, [-1] * 5)
    assert coverage.excess() is None
    assert coverage.excess(at_end=True) is None
