"""The figure of `scale.py`: seconds of a step by phase, what an active agent costs, memory of a registered one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from oasis.runs.figures import COLOURS, GREY, INK, STYLE, save_figure

PHASES = ("recommend", "decide", "commit", "embed", "tables", "record", "activate")
NAMES = {"x": "X by interest", "reddit": "Reddit by hot"}


def draw_scale(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the settings of one run of the benchmark, a row of axes for each platform."""
    platforms = list(dict.fromkeys(r["platform"] for r in results))
    with rc_context(STYLE):
        figure = Figure(figsize=(15.5, 4.9 * len(platforms)), dpi=110, layout="constrained")
        grid = figure.subplots(len(platforms), 3, squeeze=False, width_ratios=[1, 1.25, 1])
        for row, platform in zip(grid, platforms, strict=True):
            mine = [r for r in results if r["platform"] == platform]
            sizes = sorted({r["registered"] for r in mine})
            usual = [min((r for r in mine if r["registered"] == n), key=_from_usual) for n in sizes]
            _seconds(row[0], usual, NAMES[platform])
            _per_agent(row[1], mine)
            _memory(row[2], usual)
        save_figure(figure, path)


def _from_usual(result: dict[str, Any]) -> float:
    return abs(result["meant"] / result["registered"] - 0.05)


def _seconds(axes: Axes, results: list[dict[str, Any]], name: str) -> None:
    axes.set_title(f"{name}: a step, 5% active")
    axes.set_ylabel("seconds")
    x = [r["registered"] for r in results]
    axes.plot(x, [r["step_s"] for r in results], color=INK, linewidth=2.6, marker="o", label="whole step")
    for phase, colour in zip(PHASES, COLOURS, strict=False):
        axes.plot(x, [r["seconds"][phase] for r in results], color=colour, linewidth=1.5, marker=".", label=phase)
    top = results[-1]["step_s"] / x[-1]
    axes.plot(x, [top * n for n in x], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="in proportion")
    _logarithmic(axes)
    axes.legend(loc="upper left", fontsize=8, ncols=2, columnspacing=1.0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 12)  # room for the legend


def _per_agent(axes: Axes, results: list[dict[str, Any]]) -> None:
    axes.set_title("What an active agent costs in a step, by phase")
    axes.set_ylabel("microseconds per active agent")
    labels = [f"{r['active']:,.0f}\nof {r['registered']:,}" for r in results]
    base = [0.0] * len(results)
    for phase, colour in zip(PHASES, COLOURS, strict=False):
        heights = [1e6 * r["seconds"][phase] / max(r["active"], 1) for r in results]
        axes.bar(labels, heights, bottom=base, color=colour, width=0.7, label=phase)
        base = [b + h for b, h in zip(base, heights, strict=True)]
    for place, total in enumerate(base):
        axes.text(place, total, f"{total:,.0f}", ha="center", va="bottom", color=INK, fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(0, 1.3 * max(base))
    axes.set_xlabel("agents active of agents registered")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="upper right", ncols=4, fontsize=8, columnspacing=1.0)


def _memory(axes: Axes, results: list[dict[str, Any]]) -> None:
    axes.set_title("Memory of a registered agent, at most")
    axes.set_ylabel("bytes per registered agent")
    x = [r["registered"] for r in results]
    for key, colour, label in (
        ("bytes_per_agent", COLOURS[0], "while steps are made"),
        ("bytes_per_agent_to_the_end", COLOURS[1], "with the end of the run"),
    ):
        axes.plot(x, [r[key] for r in results], color=colour, linewidth=2, marker="o", label=label)
    for r in results:
        place = r["registered"], r["bytes_per_agent"]
        axes.annotate(f"{place[1]:,.0f}", place, (6, 7), textcoords="offset points", ha="left", color=INK)
    _logarithmic(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.6, high * 2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="upper right")


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("agents registered")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
