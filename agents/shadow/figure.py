"""The figure of a language model asked in the shadow of a run: calibration, and actions side by side."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oasis.agents.shadow.shadow import Shadow
from oasis.runs.figures import COLOURS, GREY, INK
from oasis.runs.text_table import one_line

__all__ = ["shadow_figure"]

_ACTIONS = 12  # rows of the right panel at most: those done most


def shadow_figure(found: Shadow) -> Figure:
    """Return the figure: expected and observed frequency of acting by bins, and actions per activation."""
    figure = Figure(figsize=(13, 5.4), dpi=110)
    figure.subplots_adjust(left=0.065, right=0.98, top=0.77, bottom=0.115, wspace=0.42)
    count = found.counts
    title = f"How well {found.policy} stands in for {one_line(found.model, 60)}"
    figure.text(0.065, 0.935, title, fontsize=16, fontweight="bold", color=INK)
    said = (
        f"{count['answered']:,} answers of {count['agents']:,} agents, {count['occasions']:,} occasions. Bars: 95%"
        " intervals over agents; at actions, of the distance to what was recorded"
    )
    figure.text(0.065, 0.885, said, fontsize=10.5, color=GREY)
    left, right = figure.subplots(1, 2)
    _calibration(left, found.scores.calibration)
    _shares(right, found.scores.shares)
    return figure


def _calibration(axes: Axes, table: pl.DataFrame) -> None:
    axes.set_title("Calibration: ten bins of occasions")
    expected, observed, low, high = (
        table[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in ("expected", "observed", "low", "high")
    )
    top = 1.08 * float(np.nanmax([*expected, *observed, *high, 1e-3]))
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_yscale("function", functions=(_root, np.square))
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, label="as expected")
    half = np.nan_to_num(np.maximum(np.stack([observed - low, high - observed]), 0))
    axes.errorbar(
        expected, observed, half, fmt="o", markersize=5, capsize=3, color=COLOURS[0], label="the language model"
    )
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlabel("probability of acting, by the choice model (scale: square root)")
    axes.set_ylabel("share acted on")
    axes.legend(loc="upper left")


def _shares(axes: Axes, shares: pl.DataFrame) -> None:
    axes.set_title("Actions per activation", pad=28)
    shown = shares.with_columns(most=pl.max_horizontal("recorded", "asked", "expected")).filter(pl.col("most") > 0)
    shown = shown.sort("most", descending=True, maintain_order=True).head(_ACTIONS)
    place = np.arange(shown.height)[::-1].astype(np.float64)
    names = ("expected", "recorded", "asked", "difference", "low", "high")
    each = {name: shown[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names}
    half = np.stack([each["difference"] - each["low"], each["high"] - each["difference"]])
    axes.plot(each["expected"], place + 0.2, "D", markersize=5, color=COLOURS[2], label="choice model, expected")
    axes.plot(each["recorded"], place, "s", markersize=5, color=COLOURS[1], label="choice model, recorded")
    axes.errorbar(
        each["asked"],
        place - 0.2,
        xerr=np.nan_to_num(np.maximum(half, 0)),
        fmt="o",
        markersize=5,
        capsize=3,
        color=COLOURS[0],
        label="language model, asked",
    )
    axes.set_yticks(place, [name.replace("_", " ") for name in shown["action"]])
    axes.set_ylim(-0.6, shown.height - 0.4)
    axes.set_xscale("function", functions=(_root, np.square))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set_xlabel("actions per activation (scale: square root)")
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3, fontsize=8, columnspacing=1.0, handletextpad=0.3
    )


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))
