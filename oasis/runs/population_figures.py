"""Figures of a population, as PNG: degrees with their fitted tails, how unequal activity is, and when it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from oasis.runs.figures import COLOURS, GREY, INK, STYLE, save_figure

__all__ = ["draw_population"]


def draw_population(data: dict[str, pl.DataFrame], folder: Path) -> list[str]:
    """Write ``degrees.png`` and ``activity.png``, and the frames of `oasis.population.figure_data` as Parquet beside
    them; return the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
        for axes, direction in zip(figure.subplots(1, 2, sharey=True), ("in", "out"), strict=True):
            _degrees(axes, data["degrees"].filter(pl.col("direction") == direction), direction)
        save_figure(figure, folder / "degrees.png")
        figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
        lorenz, rhythm = figure.subplots(1, 2)
        _lorenz(lorenz, data["activity"])
        _rhythm(rhythm, data["rhythm"])
        save_figure(figure, folder / "activity.png")
    for name, frame in data.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return ["degrees.png", "activity.png", *(f"{name}.parquet" for name in data)]


def _degrees(axes: Axes, frame: pl.DataFrame, direction: str) -> None:
    axes.set_title("Followers" if direction == "in" else "Follows")
    axes.set_xlabel(f"{direction}-degree")
    if direction == "in":
        axes.set_ylabel("share of agents with at least so many")
    frame = frame.filter(pl.col("degree") > 0)
    if not frame.height:
        axes.text(0.5, 0.5, "nobody follows anybody", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.6g}%"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    colour = COLOURS[0] if direction == "in" else COLOURS[2]
    axes.plot(frame["degree"], frame["share_at_least"], ".", markersize=4, color=colour)
    tail = frame.drop_nulls("fitted")
    if tail.height:
        axes.plot(tail["degree"], tail["fitted"], color=INK, linewidth=1.4, linestyle=(0, (5, 3)))
        note = f"exponent {tail['exponent'][0]:.3f} ± {tail['error'][0]:.3f}\nfrom {tail['degree'][0]:,} on"
        axes.text(0.05, 0.08, note, transform=axes.transAxes, va="bottom", color=INK)


def _lorenz(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("How unequal activity is")
    axes.set_xlabel("share of agents, least active first")
    axes.set_ylabel("share of activity")
    x, y = frame["agents"].to_numpy(), frame["activity"].to_numpy()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(x, y, x, color=COLOURS[0], alpha=0.12, linewidth=0)
    axes.plot(x, y, color=COLOURS[0], linewidth=2.2)
    top = f"the most active tenth: {1 - float(np.interp(0.9, x, y)):.0%}"
    axes.text(0.06, 0.93, top, transform=axes.transAxes, va="top", color=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _rhythm(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("When it is")
    axes.set_xlabel("hour (UTC)")
    axes.set_ylabel("mean chance to act in a step")
    axes.bar(frame["utc_hour"], frame["mean_activity"], color=COLOURS[1], width=0.85)
    axes.set_xticks(range(0, 24, 3))
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", visible=False)
