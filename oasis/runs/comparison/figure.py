"""A comparison as files: small multiples of differences with their intervals, and the tables behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oasis.runs.comparison.comparison import Comparison
from oasis.runs.comparison.estimates import paired
from oasis.runs.figures import COLOURS, GREY, INK, STYLE, save_figure
from oasis.runs.text_table import one_line

__all__ = ["write_comparison"]

_PREFERRED = (
    "accepted_like_post", "accepted_repost", "accepted_create_comment", "accepted_create_post", "agents_reached",
    "distinct_roots_shown", "distinct_authors_shown", "exposure_gini", "author_exposure_gini", "in_network_share",
    "cross_group_share", "seen_before_share", "mean_stance_shown", "stance_distance_shown", "mean_stance",
)  # fmt: skip
_PANELS = 12
_POINTS = 60  # along the time axis; more steps are put together, a mean per pair
_SPARSE = 10  # values below which a series is drawn as points (interviews)


def write_comparison(found: Comparison, folder: Path) -> None:
    """Write ``differences.png`` and the frames of a comparison, each as Parquet, into a new folder."""
    folder.mkdir(parents=True)
    for name in ("estimates", "by_step", "by_pair", "by_run", "differs"):
        frame: pl.DataFrame = getattr(found, name)
        frame.write_parquet(folder / f"{name}.parquet")
    with rc_context(STYLE):
        save_figure(_figure(found, _shown(found)), folder / "differences.png")


def _shown(found: Comparison) -> list[str]:
    """Return which metrics are drawn: those that differ, the telling ones first; all where few were asked for."""
    if len(found.metrics) <= _PANELS:
        return found.metrics
    differ = set(found.by_step.filter(pl.col("difference").fill_null(0) != 0)["metric"])
    by_use = [*(name for name in _PREFERRED if name in found.metrics), *found.metrics]
    chosen = list(dict.fromkeys(name for name in by_use if name in differ))[:_PANELS]
    order = {name: place for place, name in enumerate(found.metrics)}
    return sorted(chosen, key=lambda name: order[name]) or found.metrics[:3]


def _figure(found: Comparison, metrics: Sequence[str]) -> Figure:
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    width, height, above = max(4.7 * columns, 8.0), 2.65 * rows, 1.15
    figure = Figure(figsize=(width, height + above), dpi=110)
    top = 1 - above / (height + above)
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.25 / width, top=top, bottom=0.55 / (height + above), hspace=0.62, wspace=0.26
    )
    base = found.arms[0].label
    warm = ", steps that are not measured in grey" if found.first_step > 1 else ""
    bands = f"{100 * found.level:g}% intervals over pairs with the same seed" if found.pairs else "unpaired"
    figure.text(0.75 / width, 1 - 0.42 / (height + above), f"Differences from {base} by step", fontsize=15,
                fontweight="bold", color=INK)  # fmt: skip
    figure.text(0.75 / width, 1 - 0.70 / (height + above), f"mean and {bands}{warm}", fontsize=10, color=GREY)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    for place, (axes, metric) in enumerate(zip(panels, metrics, strict=False)):
        _panel(axes, found, metric)
        if place >= len(metrics) - columns:
            axes.set_xlabel("step")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", bbox_to_anchor=(1 - 0.2 / width, 1 - 0.25 / (height + above)),
                  ncols=min(len(labels), 6))  # fmt: skip
    return figure


def _panel(axes: Axes, found: Comparison, metric: str) -> None:
    axes.set_title(metric.replace("_", " "))
    axes.axhline(0, color=GREY, linewidth=1)
    if found.first_step > 1:
        axes.axvspan(0.5, found.first_step - 0.5, color="#f0f2f4", zorder=0, linewidth=0)
    for colour, arm in zip(COLOURS * len(found.arms), found.arms[1:], strict=False):
        data = _points(found, arm.label, metric)
        steps, middle, low, high = (data[name].to_numpy() for name in ("step", "difference", "low", "high"))
        count = sum(pair.arm == arm.label for pair in found.pairs)
        label = f"{arm.label}: {_what(found, arm.label)} ({count} pairs)" if count else f"{arm.label} (unpaired)"
        if len(steps) <= _SPARSE:
            half = np.nan_to_num(np.stack([middle - low, high - middle]))
            axes.errorbar(steps, middle, half, fmt="o", markersize=4, capsize=3, color=colour, label=label)
        else:
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(steps, middle, color=colour, linewidth=1.6, label=label)
    axes.set_xlim(0.5, found.last_step + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))


def _what(found: Comparison, arm: str) -> str:
    """Return what is different in an arm, in a few words."""
    rows = found.differs.filter(arm=arm).rows(named=True)
    if not rows:
        return "the same scenario"
    first = one_line(f"{rows[0]['key']} {rows[0]['value'] or rows[0]['change']}", 44)
    return first + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")


def _points(found: Comparison, arm: str, metric: str) -> pl.DataFrame:
    """Return ``step``, ``difference``, ``low``, ``high``: a row per step, or per bin of steps where there are many."""
    by_step = found.by_step.filter(arm=arm, metric=metric).drop_nulls("difference")
    per_bin = -(-found.last_step // _POINTS)
    pairs = found.by_pair.filter(arm=arm, metric=metric).drop_nulls("difference")
    if per_bin == 1 or not pairs.height or by_step.height <= _SPARSE:
        return by_step.select("step", "difference", "low", "high")
    bins = (
        pairs.group_by("seed", bin=(pl.col("step") - 1) // per_bin)
        .agg(pl.col("difference").mean(), pl.col("step").mean())
        .sort("bin", "seed")
    )
    table = bins.pivot("bin", index="seed", values="difference").drop("seed")
    values = table.to_numpy().astype(np.float64)
    estimate = paired(np.zeros_like(values), values, found.level)
    steps = bins.group_by("bin", maintain_order=True).agg(pl.col("step").mean())["step"]
    columns = {"step": steps, "difference": estimate.difference, "low": estimate.low, "high": estimate.high}
    return pl.DataFrame(columns)
