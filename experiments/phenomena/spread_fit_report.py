"""What the report of a fit to cascades says: what is known of each parameter, and how near the fitted model comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from oasis.experiments.figures import styled
from oasis.experiments.interfaces import Section
from oasis.experiments.phenomena.spread_inference import LEAST, PLANTED, Fit, Target, planted
from oasis.experiments.results import Results
from oasis.experiments.statistics import IDENTIFIED
from oasis.runs.figures import COLOURS, GREY, INK

__all__ = ["LIMITS", "sections"]

LIMITS = (
    "The real cascades are 100 that a study of rumours kept: none has fewer than 125 users. So simulated cascades are"
    " compared within that range only, and nothing is said of how many posts are shared little or not at all.",
    "The data have no users, no follow graph and no growth. Population, degrees and activity are those of the scenario"
    " (see The model); with others the same cascades would give other values. Their columns of times contradict the"
    " growth curves, so no time is fitted.",
    "Depth depends on who counts as the parent of a repost, and how the real trees were made is not in the data."
    " Simulated reposts hang below the earliest sharer whom the reposter follows, else below the source: the shallowest"
    " tree that the follow graph allows. By the posts that were shown it is about twice as deep.",
    "Nothing circulates but the source posts: neither other posts nor what happened outside takes attention.",
    "The values hold for sharing when a post spreads widely. They are no average over what people are shown.",
)


def sections(
    results: Results,
    real: Target | None,
    prior: Mapping[str, Sequence[float]],
    truth: Mapping[str, float],
    keep: float,
) -> list[Section]:
    """Return the sections of a report.

    Parameters
    ----------
    real : Target or None
        Real cascades; without, those of the planted truth are the target.
    """
    cascades, drawn = results.table("cascades"), results.table("drawn")
    target = planted(cascades) if real is None else real
    if real is None:
        cascades, drawn = (table.filter(pl.col("replicate") != PLANTED) for table in (cascades, drawn))
    fit = Fit.of(drawn, cascades, target, list(prior), keep, results.design.experiment.level)
    known = None if real is not None else np.array([truth[name] for name in fit.names])
    short = [name.rsplit(".", 1)[-1] for name in fit.names]
    return [
        _said(fit, short, list(prior.values()), known),
        _correlations(fit, short),
        _near(fit),
        Section("cascades", "Cascades, fitted and simulated", _CASCADES, figure=_drawn_cascades(fit)),
    ]


_CASCADES = (
    "Left: share of the cascades with at most so many users, within the range that is compared. Right: mean depth by"
    " size. Thin lines are the kept draws, each with its own parameters.",
)


def _said(fit: Fit, short: Sequence[str], prior: Sequence[Sequence[float]], truth: np.ndarray | None) -> Section:
    p, (error, covered) = fit.posterior, fit.validation
    n, enough, kept = len(fit.draws), int(fit.enough.sum()), len(fit.kept)
    ends = np.array(prior)
    said = [word(*values) for values in zip(p.narrowed, error, strict=True)]
    cut = [how != "no" and cut_off(fit.draws[fit.kept, i], *ends[i]) for i, how in enumerate(said)]
    said = ["cut off" if here and how == "yes" else how for here, how in zip(cut, said, strict=True)]
    columns: dict[str, Any] = {
        "parameter": list(short),
        "prior_low": ends[:, 0],
        "prior_high": ends[:, 1],
        "mean": p.mean,
        "low": p.low,
        "high": p.high,
        "sd_over_prior": p.narrowed,
        "error_cv": error,
        "covered_cv": covered,
        "identified": said,
    }
    if truth is not None:
        columns |= {"truth": truth, "inside": (p.low <= truth) & (truth <= p.high)}
    text = [
        f"Of {n} draws from the prior, even within its bounds, {enough} have at least {LEAST} cascades between"
        f" {fit.target.window.low} and {fit.target.window.high} users. Kept are the {kept} of them whose cascades are"
        f" nearest to the {int((~fit.target.held_out).sum())} that are fitted to ({fit.target.name}): the"
        " Kolmogorov-Smirnov distance of sizes plus that of depths given size (rejection: Pritchard et al. 1999). The"
        f" interval holds {fit.level:.0%} of the kept draws.",
        "Whether the data could say anything is tried with each kept draw as the truth, inferred from all others:"
        " error_cv is the squared error over the variance of the prior (0 exact, 1 nothing learnt; Csillery et al."
        " 2012), covered_cv how often the truth was inside its interval. A parameter is called identified where the"
        f" standard deviation of the kept draws and error_cv are both at most {IDENTIFIED:g} of the prior's.",
    ]
    if truth is not None:
        text.append("There are no data: one run with the values in the column truth stands for them.")
    if unknown := [name for name, how in zip(short, said, strict=True) if how != "yes"]:
        text.append(f"Not identified, or weakly, by these cascades: {', '.join(unknown)}. Other values do as well.")
    table = pl.DataFrame(columns)
    return Section(
        "fit", "What the cascades say of the parameters", text, table, _posteriors(fit, short, ends, truth), True
    )


_AT_BOUND = 0.2
"""Share of the kept draws in an outer tenth of the prior from which on it is the prior that ends them; even: 0.1."""


def cut_off(kept: np.ndarray, low: float, high: float) -> bool:
    """Return whether the prior, from `low` to `high`, ends what the kept draws of a parameter, shape (n,), may be."""
    edge = 0.1 * (high - low)
    return bool(max((kept < low + edge).mean(), (kept > high - edge).mean()) >= _AT_BOUND)


def word(narrowed: float, error: float) -> str:
    """Return whether a parameter is identified: yes, weakly (one of the two says so), or no."""
    return ("no", "weakly", "yes")[int(narrowed <= IDENTIFIED) + int(error <= IDENTIFIED)]


def _correlations(fit: Fit, short: Sequence[str]) -> Section:
    c = fit.posterior.correlation
    rows = [(short[i], short[j], float(c[i, j])) for i, j in combinations(range(len(short)), 2)]
    text = (
        "Correlation among the kept draws. Near 1 or -1 the cascades know a combination of the two better than either:"
        " one may be raised if the other makes up for it.",
    )
    table = pl.DataFrame(rows, {"parameter": pl.String, "other": pl.String, "correlation": pl.Float64}, orient="row")
    return Section("trade_offs", "What can stand in for what", text, table)


def _near(fit: Fit) -> Section:
    """Return distances to cascades fitted to and held out, with the ceiling."""
    beside = fit.beside()
    rows: list[tuple[Any, ...]] = [(name, *fitted, *out) for name, (fitted, out) in beside.items()]
    halves, parts = fit.target.ceiling()
    for name, found in (("data, two halves", halves), ("data, parts of these sizes", parts)):
        middle = np.median(found, axis=0)
        low, high = np.quantile(found, [0.025, 0.975], axis=0)
        rows += [
            (f"{name}: median", None, None, *middle),
            (f"{name}: 2.5%", None, None, *low),
            (f"{name}: 97.5%", None, None, *high),
        ]
    names = ("cascades", "fitted_size", "fitted_depth", "held_out_size", "held_out_depth")
    table = pl.DataFrame(rows, {names[0]: pl.String, **dict.fromkeys(names[1:], pl.Float64)}, orient="row")
    text = (
        f"Distances to the {int((~fit.target.held_out).sum())} cascades fitted to and the"
        f" {int(fit.target.held_out.sum())} held out, which share no root user and no story with them. Of the draws,"
        " the mean of their distributions is compared: the kept ones, and all of them, for which nothing was fitted."
        " Log-normal sizes with the depths of what is fitted to know nothing of agents. Two samples of the same"
        " cascades are as far apart as the last rows say: within that range they cannot tell a model from the truth.",
        _verdict(beside["kept draws"][1], np.quantile(parts, 0.975, axis=0)),
    )
    return Section("distances", "How near the fitted model comes", text, table, printed=True)


def _verdict(apart: np.ndarray, most: np.ndarray) -> str:
    """Return what distances to the cascades held out mean, beside those of the data's own parts: sizes, depths."""
    near = apart <= most
    words = [
        f"{what} ({far:.2f}, at most {limit:.2f})"
        for what, far, limit in zip(("sizes", "depths"), apart, most, strict=True)
    ]
    if near.all() or not near.any():
        how, than = ("as near to", "as") if near.all() else ("farther from", "than")
        return f"The kept draws are {how} what was held out {than} the data's own parts are, in {' and '.join(words)}."
    yes, no = words if near[0] else reversed(words)
    return (
        f"The kept draws are as near to what was held out as the data's own parts are in {yes}, and farther in {no}. So"
        " the model does not fit in that, and its parameters are those of the least bad fit."
    )


@styled
def _posteriors(fit: Fit, short: Sequence[str], ends: np.ndarray, truth: np.ndarray | None) -> Figure:
    """Return kept draws of each parameter over its prior, and of each pair."""
    p = len(short)
    pairs = list(combinations(range(p), 2))
    columns = max(p, len(pairs), 1)
    figure = Figure(figsize=(11, 6.2 if pairs else 3.2), dpi=110, layout="constrained")
    grid = figure.subplots(2 if pairs else 1, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    kept = fit.draws[fit.kept]
    for i in range(p):
        axes = grid[0, i]
        axes.set_visible(True)
        axes.hist(
            kept[:, i],
            bins=np.linspace(float(ends[i, 0]), float(ends[i, 1]), 16).tolist(),
            density=True,
            color=COLOURS[0],
            alpha=0.6,
            label="kept draws",
        )
        axes.axhline(1 / (ends[i, 1] - ends[i, 0]), color=GREY, lw=1.5, label="prior")
        if truth is not None:
            axes.axvline(truth[i], color=INK, lw=1.5, ls="--", label="truth")
        axes.set_xlim(*ends[i])
        axes.set_title(short[i])
    grid[0, 0].legend()
    grid[0, 0].set_ylabel("density")
    for axes, (i, j) in zip(grid[-1] if pairs else (), pairs, strict=False):
        axes.set_visible(True)
        axes.plot(fit.draws[:, i], fit.draws[:, j], "o", ms=2, color=GREY, alpha=0.3, mec="none")
        axes.plot(kept[:, i], kept[:, j], "o", ms=4, color=COLOURS[0], mec="none")
        if truth is not None:
            axes.plot(truth[i], truth[j], "x", ms=9, mew=2, color=INK)
        axes.set_xlabel(short[i])
        axes.set_ylabel(short[j])
    return figure


@styled
def _drawn_cascades(fit: Fit) -> Figure:
    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    target, window = fit.target, fit.target.window
    sizes = np.arange(window.low, window.high + 1)
    for row in fit.kept:
        left.plot(sizes, fit.shapes.size[row], color=COLOURS[0], lw=0.6, alpha=0.3)
        right.plot(range(len(window.cuts) + 1), _mean_depth(fit.shapes.depth[row]), color=COLOURS[0], lw=0.6, alpha=0.3)
    for name, rows, colour in (("fitted to", ~target.held_out, INK), ("held out", target.held_out, COLOURS[1])):
        shapes = target.shapes(rows)
        left.plot(sizes, shapes.size[0], color=colour, lw=2, label=f"{target.name}, {name}")
        right.plot(range(len(window.cuts) + 1), _mean_depth(shapes.depth[0]), "o-", color=colour, lw=2)
    left.plot([], [], color=COLOURS[0], lw=1, label="kept draws")
    left.set_xscale("log")
    ticks = np.unique(np.geomspace(window.low, window.high, 6).round(-1 if window.low >= 50 else 0)).astype(int)
    left.set_xticks(ticks, [str(tick) for tick in ticks])
    left.set_xticks([], minor=True)
    left.set_xlabel("users")
    left.set_ylabel("share of cascades")
    left.legend()
    bounds = [window.low, *window.cuts, window.high + 1]
    right.set_xticks(range(len(bounds) - 1), [f"{a} to {b - 1}" for a, b in zip(bounds, bounds[1:], strict=False)])
    right.set_xlabel("users")
    right.set_ylabel("mean depth, reposts")
    right.set_ylim(bottom=0)
    return figure


def _mean_depth(cumulative: np.ndarray) -> np.ndarray:
    """Return the mean of each bin from its cumulative shares, shape (b, d)."""
    return np.asarray((1 - cumulative).sum(axis=1))
