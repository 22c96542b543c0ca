"""Where two runs part: the first step that differs, and in it the first agent and field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from oasis.runs.reading import Run
from oasis.runs.step_differences import Difference, step_differences

__all__ = ["Divergence", "first_divergence"]


@dataclass(frozen=True)
class Divergence:
    """Where two runs part.

    Attributes
    ----------
    step : int or None
        The first step whose digest differs; None where all steps compared are the same.
    compared : int
        Steps that both have done.
    differences : list of Difference
        The first one of each table that differs, in the order in which a step makes them.
    note : str
        What could not be told.
    """

    step: int | None
    compared: int
    differences: list[Difference] = field(default_factory=list)
    note: str = ""

    def sentence(self, second: str) -> str:
        """Return where they part in words; `second` names the second run."""
        if self.step is None:
            return self.note or f"no divergence in {self.compared:,} steps"
        found = "; ".join(difference.sentence(second) for difference in self.differences)
        return f"step {self.step:,}: {'; '.join(part for part in (found, self.note) if part)}"


def first_divergence(baseline: Run, other: Run) -> Divergence:
    """Return where two runs part. Of events and impressions only the step in which they do is read."""
    metrics = [run.metrics.collect() for run in (baseline, other)]
    compared = min(frame.height for frame in metrics)
    if not all("step_digest" in frame.columns for frame in metrics):
        return Divergence(None, compared, note="not known: a run has no step digests")
    digests = metrics[0].select("step", "step_digest").join(metrics[1].select("step", other="step_digest"), on="step")
    parted = digests.filter(pl.col("step_digest") != pl.col("other"))["step"].to_list()
    if not parted:
        return Divergence(None, compared)
    step = min(parted)
    before, after = (_tables(run, step) for run in (baseline, other))
    kept = [[_output(run).get(key) for key in ("impressions", "sample_share")] for run in (baseline, other)]
    differences = step_differences(before, after, same_agents_kept=kept[0] == kept[1])
    note = ""
    all_kept = all(_output(run).get("impressions", "all") == "all" for run in (baseline, other))
    if not any(d.table in ("outside", "impressions") for d in differences) and not all_kept:
        note = "what was shown was not kept for all agents by both"
    elif not differences:
        note = "no recorded row differs, but what agents remember of earlier steps does"
    return Divergence(step, compared, differences, note)


def _tables(run: Run, step: int) -> dict[str, pl.DataFrame]:
    return {
        name: run.table(name).filter(pl.col("step") == step).collect()
        for name in ("events", "impressions", "interviews")
    }


def _output(run: Run) -> dict[str, Any]:
    output: dict[str, Any] = run.manifest.scenario.get("output", {})
    return output
