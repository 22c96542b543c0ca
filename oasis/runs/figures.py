"""Figures of a run, as PNG; each draws one frame of `oasis.runs.figure_data`, `overview.png` draws them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, PercentFormatter, StrMethodFormatter

__all__ = ["COLOURS", "FIGURES", "GREY", "INK", "STYLE", "draw_figures", "save_figure"]

INK, GREY, _GRID = "#1f2933", "#66727f", "#e4e7eb"
# Okabe and Ito (2008), "Color universal design": told apart by colour-blind readers; yellow left out (too pale here).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a5195", "#8c8c8c")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a "$" in a name is a dollar
}
_STACKED = 7  # actions with a colour of their own; the rest is "other"
_MINUTES_BELOW = 3  # hours; shorter times are shown in minutes
_TOP_NEEDS = 100  # posts below which "the top 1%" is less than one of them


def draw_figures(data: dict[str, pl.DataFrame], folder: Path, title: str, subtitle: str) -> list[str]:
    """Write each figure and the overview as PNG, and the data as Parquet; return the names, overview first."""
    folder.mkdir(exist_ok=True)
    with rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
            draw(figure.subplots(), data[name])
            save_figure(figure, folder / f"{name}.png")
        save_figure(_overview(data, title, subtitle), folder / "overview.png")
    for name, frame in data.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return ["overview", *FIGURES]


def _overview(data: dict[str, pl.DataFrame], title: str, subtitle: str) -> Figure:
    figure = Figure(figsize=(15, 8.6), dpi=110)
    grid = figure.add_gridspec(2, 12, left=0.055, right=0.975, top=0.815, bottom=0.075, hspace=0.42, wspace=1.9)
    figure.text(0.055, 0.945, title, fontsize=19, fontweight="bold", color=INK)
    figure.text(0.055, 0.908, subtitle, fontsize=11, color=GREY)
    _activity(figure.add_subplot(grid[0, :8]), data["activity"], legend_above=True)
    _exposure(figure.add_subplot(grid[0, 8:]), data["exposure"])
    if _spread(data["cascade_curves"]):
        _cascade_curves(figure.add_subplot(grid[1, :4]), data["cascade_curves"])
        _cascade_sizes(figure.add_subplot(grid[1, 4:8]), data["cascade_sizes"])
    else:
        _reception(figure.add_subplot(grid[1, :8]), data["reception"])
    _followers(figure.add_subplot(grid[1, 8:]), data["followers"])
    return figure


def _activity(axes: Axes, frame: pl.DataFrame, legend_above: bool = False) -> None:
    axes.set_title("What agents did", pad=27 if legend_above else None)
    per_hour, unit = _time_unit(frame["hours"])
    axes.set_xlabel(f"simulated {unit} since the start")
    axes.set_ylabel("accepted actions per simulated hour")
    if not frame.height:
        return _nothing(axes, "no action was accepted")
    totals = (
        frame.group_by("action").agg(pl.col("per_hour").sum()).sort(["per_hour", "action"], descending=[True, False])
    )
    names = totals["action"].to_list()
    series = {name: frame.filter(pl.col("action") == name)["per_hour"].to_numpy() for name in names}
    if len(names) > _STACKED + 1:
        series = {name: series[name] for name in names[:_STACKED]} | {
            "other": np.sum([series[name] for name in names[_STACKED:]], axis=0)
        }
    hours = frame["hours"].unique().sort().to_numpy()
    hours = hours * per_hour
    if len(hours) == 1:  # a single bin has no width to draw an area on
        hours = np.array([0.0, 2 * hours[0]])
        series = {name: np.repeat(values, 2) for name, values in series.items()}
    labels = [name.replace("_", " ") for name in series]
    axes.stackplot(hours, *series.values(), labels=labels, colors=COLOURS, alpha=0.92, linewidth=0)
    axes.set_xlim(hours[0], hours[-1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 3, 6, 10]))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    handles, texts = axes.get_legend_handles_labels()
    if legend_above:
        tight = {"columnspacing": 1.0, "handlelength": 1.0, "handletextpad": 0.5, "borderaxespad": 0.1}
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(labels), **tight)
    else:
        axes.legend(handles[::-1], texts[::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def _exposure(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("Who gets seen")
    axes.set_xlabel("share of shown posts, least shown first")
    axes.set_ylabel("share of impressions")
    if not frame.height:
        return _nothing(axes, "no impressions were made or kept")
    if frame.height == 2:
        return _nothing(axes, "only one post was shown")
    x, y = frame["posts"].to_numpy(), frame["impressions"].to_numpy()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(x, y, x, color=COLOURS[0], alpha=0.12, linewidth=0)
    axes.plot(x, y, color=COLOURS[0], linewidth=2.2)
    note = f"Gini {frame['gini'][0]:.2f}"
    if frame.height > _TOP_NEEDS:
        note += f"\ntop 1% of posts: {1 - float(np.interp(0.99, x, y)):.0%} of impressions"
    axes.text(
        0.06,
        0.93,
        note,
        transform=axes.transAxes,
        va="top",
        color=INK,
    )
    axes.text(0.60, 0.565, "equal exposure", color=GREY, fontsize=8.5, rotation=38, ha="center", va="bottom")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _cascade_curves(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("The largest cascades")
    per_hour, unit = _time_unit(frame["hours"])
    axes.set_xlabel(f"simulated {unit} since posted")
    axes.set_ylabel("posts in the cascade")
    if not _spread(frame):
        return _nothing(axes, "nothing was reposted")
    for colour, (root, curve) in zip(COLOURS, frame.group_by("root_id", maintain_order=True), strict=False):
        hours, scale = curve["hours"].to_numpy() * per_hour, curve["scale"].to_numpy()
        axes.plot(
            hours, scale, color=colour, linewidth=2, drawstyle="steps-post", label=f"post {root[0]:,}: {scale[-1]:,}"
        )
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.4 * float(frame["scale"].to_numpy().max()))  # room for the legend
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 3, 6, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper left", ncols=2, columnspacing=1.2, handlelength=1.4)


def _cascade_sizes(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("How far posts spread")
    axes.set_xlabel("posts in the cascade, at least")
    axes.set_ylabel("share of original posts")
    if frame.height and frame["size"].max() == 1:
        return _nothing(axes, "nothing was reposted")
    _survival(axes, frame["size"].to_numpy(), frame["share"].to_numpy(), COLOURS[2], "no post")


def _reception(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("How posts are received")
    axes.set_xlabel("likes (upvotes) or comments of a post, at least")
    axes.set_ylabel("share of posts")
    some = frame.filter(pl.col("count") > 0)
    if not some.height:
        return _nothing(axes, "no post was liked or commented on")
    for what, colour in (("likes", COLOURS[0]), ("comments", COLOURS[1])):
        curve = some.filter(pl.col("what") == what)
        if curve.height:
            _survival(axes, curve["count"].to_numpy(), curve["share"].to_numpy(), colour, "", label=what)
    axes.set_xlim(left=0.8, right=1.3 * float(some["count"].to_numpy().max()))
    axes.legend(loc="best")


def _followers(axes: Axes, frame: pl.DataFrame) -> None:
    axes.set_title("Who is followed")
    axes.set_xlabel("followers, at least")
    axes.set_ylabel("share of agents")
    some = frame.filter(pl.col("followers") > 0)
    _survival(axes, some["followers"].to_numpy(), some["share"].to_numpy(), COLOURS[5], "nobody is followed")


FIGURES: dict[str, Callable[[Axes, pl.DataFrame], None]] = {
    "activity": _activity,
    "exposure": _exposure,
    "cascade_curves": _cascade_curves,
    "cascade_sizes": _cascade_sizes,
    "reception": _reception,
    "followers": _followers,
}


def _spread(curves: pl.DataFrame) -> bool:
    """Return whether anything was reposted."""
    return bool((curves["scale"] > 1).any())


def _time_unit(hours: pl.Series) -> tuple[float, str]:
    """Return by what to multiply hours, and what they are then."""
    longest = float(hours.to_numpy().max(initial=0.0))
    return (60.0, "minutes") if longest < _MINUTES_BELOW else (1.0, "hours")


def _survival(
    axes: Axes, values: np.ndarray, share: np.ndarray, colour: str, nothing: str, label: str | None = None
) -> None:
    if not len(values):
        return _nothing(axes, nothing)
    if len(values) == 1 and label is None:
        return _nothing(axes, f"{share[0]:.0%} have {values[0]:,}, none has more")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(values, share, color=colour, linewidth=1.2, alpha=0.5, drawstyle="steps-pre")
    axes.plot(values, share, color=colour, marker="o", markersize=3.2, linestyle="none", label=label)
    axes.set_ylim(top=1.4)
    axes.set_xlim(left=0.8 * max(values.min(), 1), right=1.3 * values.max())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    for axis, least, most in ((axes.xaxis, max(values.min(), 1), values.max()), (axes.yaxis, share.min(), 1.0)):
        if most < 100 * least:  # powers of ten alone would be one or two
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.grid(which="minor", visible=False)
    axes.minorticks_off()


def _nothing(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date and version that would make each one another file."""
    FigureCanvasAgg(figure).print_figure(path, metadata={"Software": None})
