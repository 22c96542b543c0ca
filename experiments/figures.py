"""Figures of experiments: replicates as points, arms side by side, curves with the range of replicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oasis.experiments.results import Results
from oasis.experiments.statistics import spread
from oasis.runs.figures import COLOURS, GREY, INK, STYLE

__all__ = ["by_arm", "curves", "draw_curves", "forest", "styled", "treatments"]

_COLUMNS = 3
Row = tuple[str, str, str | None]
"""Arm, what it is compared with, point of a sweep."""
F = TypeVar("F", bound=Callable[..., Figure])


def styled(draw: F) -> F:
    """Draw in the style of all figures."""

    def within(*given: object, **named: object) -> Figure:
        with rc_context(STYLE):
            return draw(*given, **named)

    within.__doc__ = draw.__doc__
    return within  # type: ignore[return-value]


@styled
def by_arm(results: Results) -> Figure:
    """Return one panel per declared outcome: a point per replicate, the mean with its interval per arm."""
    declared = [o for o in results.design.outcomes if results.outcome(o.name)["value"].is_not_null().any()]
    points = results.values["point"].unique(maintain_order=True).to_list()
    labels = [(point, arm) for point in points for arm in results.arms]
    names = [arm if point is None else f"{arm}, {point}" for point, arm in labels]
    rows = -(-len(declared) // _COLUMNS)
    height = rows * (1.0 + 0.3 * len(names))
    figure = Figure(figsize=(11, height), dpi=110, layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for axes in grid.flat[len(declared) :]:
        axes.set_visible(False)
    levels = results.levels
    for axes, outcome in zip(grid.flat, declared, strict=False):
        axes.set_title(outcome.name.replace("_", " "))
        axes.set_xlabel(outcome.unit)
        values = results.outcome(outcome.name)
        for row, (point, arm) in enumerate(labels):
            here = pl.col("point").eq_missing(point) & (pl.col("arm") == arm)
            known = values.filter(here)["value"].drop_nulls().to_numpy()
            colour = COLOURS[results.arms.index(arm) % len(COLOURS)]
            axes.plot(
                known, np.full(len(known), row), "o", ms=3.5, alpha=0.8, color=colour, mec="white", mew=0.4, zorder=3
            )
            level = levels.filter(here & (pl.col("outcome") == outcome.name)).rows(named=True)
            if level and level[0]["mean"] is not None:
                mean, low, high = (level[0][key] for key in ("mean", "low", "high"))
                if low is not None:
                    axes.plot([low, high], [row, row], color=colour, lw=3, alpha=0.45, solid_capstyle="butt")
                axes.plot([mean], [row], "|", ms=11, mew=2.2, color=INK)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
    return figure


@styled
def forest(results: Results) -> Figure:
    """Return one panel per compared outcome: each arm's difference from the baseline with its interval.

    Outcomes that have the same comparisons stand side by side, so that no panel has empty rows.
    """
    known = results.effects.drop_nulls("estimate")
    panels: dict[tuple[Row, ...], list[str]] = {}
    for (outcome,), part in known.group_by("outcome", maintain_order=True):
        panels.setdefault(tuple(part.select("arm", "baseline", "point").rows()), []).append(str(outcome))
    heights = [(1.0 + 0.3 * len(rows)) * -(-len(names) // _columns(len(names))) for rows, names in panels.items()]
    figure = Figure(figsize=(11, sum(heights)), dpi=110, layout="constrained")
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights).flat
    for part, (rows, outcomes) in zip(parts, panels.items(), strict=True):
        columns = _columns(len(outcomes))
        grid = part.subplots(-(-len(outcomes) // columns), columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(outcomes) :]:
            axes.set_visible(False)
        for axes, outcome in zip(grid.flat, outcomes, strict=False):
            axes.set_title(outcome.replace("_", " "))
            _draw_effects(axes, known.filter(pl.col("outcome") == outcome), 1 - results.design.experiment.level)
            axes.set_yticks(range(len(rows)), [_contrast(*row) for row in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _columns(panels: int) -> int:
    """Return in how many columns panels stand, so that few places are empty."""
    return 2 if panels in (2, 4) else min(panels, _COLUMNS)


def _draw_effects(axes: Axes, effects: pl.DataFrame, sure: float) -> None:
    axes.axvline(0, color=INK, lw=0.8)
    for row, effect in enumerate(effects.iter_rows(named=True)):
        colour = COLOURS[0] if effect["q"] is not None and effect["q"] <= sure else GREY
        axes.plot([effect["low"], effect["high"]], [row, row], color=colour, lw=2.5, solid_capstyle="butt")
        axes.plot([effect["estimate"]], [row], "o", ms=5, color=colour)


def _contrast(arm: str, baseline: str, point: str | None) -> str:
    return f"{arm} – {baseline}" + ("" if point is None else f", {point}")


@styled
def treatments(results: Results, outcomes: Sequence[str], labels: Sequence[str], unit: str) -> Figure:
    """Return one panel per arm: outcomes of the same unit side by side, points and means with intervals."""
    figure = Figure(figsize=(11, 3.2), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(results.arms), sharey=True, squeeze=False)
    for axes, arm in zip(panels.flat, results.arms, strict=True):
        axes.set_title(arm)
        for column, outcome in enumerate(outcomes):
            known = results.outcome(outcome).filter(pl.col("arm") == arm)["value"].drop_nulls().to_numpy()
            colour = COLOURS[column % len(COLOURS)]
            axes.plot(np.full(len(known), column), known, "o", ms=4, alpha=0.35, color=colour, mec="none")
            here = (pl.col("arm") == arm) & (pl.col("outcome") == outcome)
            for level in results.levels.filter(here).drop_nulls("mean").iter_rows(named=True):
                if level["low"] is not None:
                    axes.plot([column, column], [level["low"], level["high"]], color=colour, lw=2.5)
                axes.plot([column], [level["mean"]], "_", ms=13, mew=2.2, color=INK)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.6, len(labels) - 0.4)
    panels[0, 0].set_ylabel(unit)
    return figure


@styled
def curves(frame: pl.DataFrame, x: str, y: str, x_label: str, y_label: str) -> Figure:
    """Return curves by arm: the mean over replicates and their 2.5 to 97.5% range.

    Parameters
    ----------
    frame : polars.DataFrame
        ``arm``, ``replicate``, `x`, `y`; all replicates of an arm at the same `x`.
    """
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, frame, x, y)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend()
    return figure


def draw_curves(axes: Axes, frame: pl.DataFrame, x: str, y: str) -> None:
    """Draw mean and range by arm."""
    for number, ((arm,), part) in enumerate(frame.group_by("arm", maintain_order=True)):
        wide = part.pivot("replicate", index=x, values=y, aggregate_function="first").sort(x)
        at = wide[x].to_numpy()
        found = spread(wide.drop(x).to_numpy().T)
        colour = COLOURS[number % len(COLOURS)]
        axes.fill_between(at, found.low, found.high, color=colour, alpha=0.15, lw=0)
        axes.plot(at, found.mean, color=colour, lw=1.8, label=str(arm))
