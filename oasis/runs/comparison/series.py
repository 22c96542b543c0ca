"""The metrics of a run as series by step, those of its interviews included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.runs.reading import Run

__all__ = ["Series", "kind_of_metric", "read_series", "sort_metrics"]

_NOT_METRICS = ("step", "warm_up", "step_digest")
_KINDS = {
    "activity": ("registered", "active", "actions", "rejected", "failed_decisions", "accepted_", "posts_total",
                 "comments_total", "follows_total"),
    "reach": ("agents_shown", "agents_reached", "empty_feeds", "distinct_roots_shown", "distinct_authors_shown"),
    "exposure": ("impressions", "exposure_gini", "author_exposure_gini", "largest_root_share", "in_network_share",
                 "seen_before_share", "cross_group_share"),
    "opinion": ("mean_stance", "stance_", "interview_"),
    "cost": ("llm_calls", "tokens_"),
}  # fmt: skip
"""Names, and beginnings of names, by what they measure."""


@dataclass(frozen=True)
class Series:
    """Metrics of a run, ``values[name][i]`` at step ``steps[i]``; NaN where null."""

    steps: npt.NDArray[np.int64]
    warm_up: int
    values: dict[str, npt.NDArray[np.float64]]

    @property
    def last_step(self) -> int:
        """The last step that is done; 0 before the first."""
        return int(self.steps[-1]) if len(self.steps) else 0

    def matrix_row(self, name: str, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return a metric at `steps`, which must have been done."""
        return self.values[name][np.searchsorted(self.steps, steps)]


def read_series(run: Run) -> Series:
    """Return all numbers of a run's metrics, and ``interview_<question>``: the mean answer of a step's interviews."""
    frame = run.metrics.collect().sort("step")
    steps = frame["step"].to_numpy().astype(np.int64)
    names = [
        name
        for name, kind in frame.schema.items()
        if kind.is_numeric() and name not in _NOT_METRICS and not name.startswith("seconds_")
    ]
    values = {name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names}
    warm_up = run.manifest.warmup_steps
    if "warm_up" in frame.columns and frame["warm_up"].dtype == pl.Boolean:
        warm_up = max([int(step) for step in frame.filter("warm_up")["step"]], default=0)
    answers = (
        run.interviews.filter(pl.col("value").is_not_null() & pl.col("value").is_not_nan())
        .group_by("question_id", "step")
        .agg(pl.col("value").mean())
        .sort("question_id", "step")
        .collect()
    )
    for (question,), rows in answers.group_by("question_id", maintain_order=True):
        series = np.full(len(steps), np.nan)
        asked = rows.filter(pl.col("step").is_in(steps.tolist()))
        series[np.searchsorted(steps, asked["step"].to_numpy())] = asked["value"].to_numpy()
        values[f"interview_{question}"] = series
    return Series(steps, warm_up, values)


def kind_of_metric(name: str) -> str:
    """Return what a metric measures: ``activity``, ``reach``, ``exposure``, ``opinion``, ``cost`` or ``other``."""
    return next((kind for kind, begins in _KINDS.items() if name.startswith(begins)), "other")


def sort_metrics(names: Iterable[str]) -> list[str]:
    """Return metrics by what they measure, else in their order."""
    kinds: Sequence[str] = [*_KINDS, "other"]
    return sorted(names, key=lambda name: kinds.index(kind_of_metric(name)))
