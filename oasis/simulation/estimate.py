"""What a run will ask of language models, before it begins: calls, tokens, money or time of a GPU, in ranges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from oasis.budget_config import BudgetConfig
from oasis.inference.likely import BUSY, QUIET, TYPICAL
from oasis.scenario import Scenario
from oasis.simulation.rehearsal import Counts, Rehearsal

__all__ = ["FEWER_TOKENS", "MARGIN", "Estimate", "Range", "estimate"]

FEWER_TOKENS = 0.9
"""Vocabularies that are larger than the one counted with (Llama 2's) take about so much of its tokens for English."""

MARGIN = 0.1
"""Share by which tokens may be off besides: rehearsals of a part were by 5% at most (docs/llm.md), and what agents do
to feeds by other habits, such as muting many, by as much."""


@dataclass(frozen=True)
class Range:
    """What is expected, between the least and the most that are likely."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a run will ask for.

    Attributes
    ----------
    asks : bool
        Whether any policy asks a language model.
    agents : int
        Agents that a language model decides for, at the start.
    steps : int
        Of the run.
    rehearsed_steps, rehearsed_agents : int
    decisions : float
        Activations of these agents.
    calls, tokens_in, tokens_out : Range
        If agents mostly do nothing, do what is typical, or are busy: see `oasis.inference.likely`. Nothing fails and
        nothing is asked twice.
    tokens_cached : Range
        Of `tokens_in`, what the prompts of each step share from their begin: about the most that a server has cached.
        The least is nothing.
    """

    asks: bool
    agents: int
    steps: int
    rehearsed_steps: int
    rehearsed_agents: int
    decisions: float
    calls: Range
    tokens_in: Range
    tokens_cached: Range
    tokens_out: Range

    @property
    def whole(self) -> bool:
        """Whether the whole run was rehearsed."""
        return self.rehearsed_steps >= self.steps and self.rehearsed_agents >= self.agents

    def cost(self, prices: BudgetConfig) -> Range | None:
        """Return the money; None without prices. The most is with nothing cached."""

        def of(end: str, cached: float) -> float:
            tokens = {"input": getattr(self.tokens_in, end), "output": getattr(self.tokens_out, end)}
            return prices.cost({**tokens, "cached": cached}) or 0.0

        if prices.price_in is None:
            return None
        share = self.tokens_cached.expected / max(self.tokens_in.expected, 1.0)
        return Range(
            of("low", share * self.tokens_in.low), of("expected", self.tokens_cached.expected), of("high", 0.0)
        )

    def gpu_hours(self, tokens_per_s: float) -> Range:
        """Return the hours of a GPU that computes so many tokens a second, input that is not cached and output."""
        cached = self.tokens_cached.expected
        share = cached / max(self.tokens_in.expected, 1.0)
        low = (1.0 - share) * self.tokens_in.low + self.tokens_out.low
        expected = self.tokens_in.expected - cached + self.tokens_out.expected
        most = self.tokens_in.high + self.tokens_out.high
        return Range(*(tokens / tokens_per_s / 3600.0 for tokens in (low, expected, most)))

    def ranges(self) -> dict[str, dict[str, float]]:
        """Return what a manifest says was predicted."""
        return {name: asdict(getattr(self, name)) for name in ("calls", "tokens_in", "tokens_cached", "tokens_out")}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self)


async def _estimate(scenario: Scenario) -> Estimate:
    rehearsal = Rehearsal(scenario)
    quiet, typical, busy = [await rehearsal.by(habit) for habit in (QUIET, TYPICAL, BUSY)]

    def calls(of: Callable[[Counts], float]) -> Range:
        ends = of(quiet), of(typical), of(busy)
        return Range(min(ends), of(typical), max(ends))

    def tokens(of: Callable[[Counts], float]) -> Range:
        found = calls(of)
        return Range((1.0 - MARGIN) * FEWER_TOKENS * found.low, found.expected, (1.0 + MARGIN) * found.high)

    cached = tokens(lambda counts: counts.tokens_in - counts.unshared)
    return Estimate(
        rehearsal.steps > 0,
        rehearsal.agents,
        scenario.simulation.steps,
        rehearsal.steps,
        rehearsal.rehearsed,
        rehearsal.decisions,
        calls(lambda counts: counts.calls),
        tokens(lambda counts: counts.tokens_in),
        Range(0.0, cached.expected, cached.high),
        tokens(lambda counts: counts.tokens_out),
    )


def estimate(scenario: Scenario) -> Estimate:
    """Rehearse a run in memory with made-up answers, and count. Nobody is asked and nothing is written.

    Raises
    ------
    InputError
        For anything in the scenario or the population that cannot work.

    Examples
    --------
    >>> scenario = Scenario.from_dict(
    ...     {"simulation": {"steps": 2}, "population": {"agents": 30}, "policies": [{"kind": "llm"}]}
    ... )
    >>> found = estimate(scenario)
    >>> found.calls.expected == found.decisions
    True
    """
    return asyncio.run(_estimate(scenario))
