"""What the report of group polarization says: shifts beside baselines, opinions over time, before and after."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oasis.experiments.figures import by_arm, draw_curves, styled
from oasis.experiments.interfaces import Section, Setting
from oasis.experiments.measures.opinions import MIDPOINT
from oasis.experiments.phenomena.dilemma import MIXED, POPULATIONS, parameters_of, population_of
from oasis.experiments.results import Results
from oasis.runs.figures import COLOURS, GREY, INK

__all__ = ["LIMITS", "sections"]

LIMITS = (
    "Without a language model, opinions move by a rule that averages what was read, and averaging cannot polarize: no"
    " agent ever leaves the range of the opinions that it started from and read (DeGroot 1974), and on a connected"
    " graph everybody who is fully susceptible ends in one place. A shift here says whose opinions were read more, not"
    " that people grow extreme together. What makes groups polarize (persuasive arguments, comparison with others:"
    " Isenberg 1986) is not in these rules.",
    "A post speaks for its author's stance whatever its words: posts of the choice model come from a grammar and are"
    " not about the dilemma.",
    "How far primes move stances (parameters.risky, .cautious, .stance_sd) is assumed, not measured.",
    "The opinion of an agent of the choice model is its stance, read without error and without an answer's rounding."
    " The answer of a language model is a number under a schema, once per interview; how well it would repeat it was"
    " not measured. What agents write is read by a judge model only where one was asked (`oasis experiment judge`).",
    "Shift is along the mean's own first direction. In a mix the mean is near the middle, where that direction is a"
    " matter of chance, so look at group_shift, bimodality and separation there.",
    "The bimodality coefficient passes 5/9 for skewed distributions with one mode too; Hartigan's dip is not computed.",
    "The risky and the cautious arms of a replicate share their draws, so their results nearly mirror each other: they"
    " are not two pieces of evidence.",
    "Shuffled personas and activity alone are no baselines here: the rules look neither at personas nor at what agents"
    " do, only at what they read.",
)

_BINS = np.arange(1.0, 10.5, 0.5)


def sections(results: Results, setting: Setting) -> list[Section]:
    """Return the sections of a report."""
    over_time = results.table("over_time").filter(pl.col("arm").is_in(results.arms))
    opinions = results.table("opinions").filter(pl.col("arm").is_in(results.arms))
    means = (
        f"Mean opinion at each interview; {MIDPOINT:g} is the middle, below it is risk. Lines are means over"
        " replicates, bands their 2.5 to 97.5% range. Each panel has a scale of its own; in the mix the two halves"
        " are drawn apart.",
    )
    spread = (
        "Opinions of all replicates together before anybody acted (grey) and at the last interview (lines), as shares"
        f" of agents per {_BINS[1] - _BINS[0]:g} tenths.",
    )
    words = (
        "A point is a replicate; the bar is the mean with its interval. Arms of one replicate share stances and draws,"
        " so differences between arms are surer than the bars suggest: see the comparisons.",
    )
    return [
        Section("populations", "Who was asked what", _populations(results, setting)),
        Section("shifts", "Shift beside its baselines", _SHIFTS, _shifts(results), printed=True),
        Section("means", "Mean opinion over time", means, figure=_means(over_time)),
        Section("opinions", "Opinions before and after", spread, figure=_distributions(opinions)),
        Section("outcomes", "Outcomes by arm", words, figure=by_arm(results)),
    ]


_SHIFTS = (
    "Shift of the mean opinion in its first direction, in tenths of probability (of the mix: mean shift of its two"
    " halves, each in its own direction; below 0 they come together). Beside it, in the same seeds: alone, where nobody"
    " is shown what others write (no-interaction), and with shuffled feeds, where everybody reads somebody else's feed."
    " Low and high are the interval of the arm's mean.",
)


def _populations(results: Results, setting: Setting) -> tuple[str, ...]:
    p = parameters_of(setting)
    made = (
        f"Populations are generated: agents of one kind, told apart by their prime alone. Stances are assumed: normal"
        f" with mean {p.risky.stance:g} (risky) or {p.cautious.stance:g} (cautious) and standard deviation"
        f" {p.stance_sd:g}, cut off at -1 and 1."
        if setting.data is None
        else f"Accounts, follows and personas are those of {p.risky.file} (risky) and {p.cautious.file} (cautious): the"
        " same accounts with two primes. The data hold no opinions, so stances are assumed: normal with mean"
        f" {p.risky.stance:g} or {p.cautious.stance:g} and standard deviation {p.stance_sd:g}, cut off at -1 and 1."
    )
    mix = " In the mix a half of the agents, drawn anew for each replicate, has each prime, whoever follows whom."
    first = results.levels.filter(pl.col("outcome") == "first_mean").select("arm", "mean")
    at = {population_of(str(arm)): mean for arm, mean in first.iter_rows() if mean is not None}
    began = ", ".join(f"{name} {at[name]:.2f}" for name in POPULATIONS if name in at)
    asked = (
        f"Agents are asked in an interview, every {p.every} steps and in the last, for the lowest probability of"
        " success, 1 to 10 in 10, at which the risky option is still acceptable (Stoner 1961; Kogan and Wallach 1964):"
        " low is risk, high is caution. An agent without a language model has the opinion 5.5 + 4.5 x stance, so"
        " stance -1 is 1 in 10 and stance 1 is 10 in 10 (source: model); a language model answers in the agent's name"
        " (source: llm)."
        f" The poser of the dilemma has no stance and is not asked. Mean opinions at first: {began}."
    )
    return made + mix, asked


def _shifts(results: Results) -> pl.DataFrame:
    """Return a row per arm that is no baseline: its shift, and those of its population alone and of shuffled feeds."""
    at = {(arm, outcome): row for arm, outcome, *row in _levels(results).iter_rows()}
    rows = []
    for arm in (arm for arm in results.design.arms if arm.role == "arm" and arm.name in results.arms):
        population = population_of(arm.name)
        outcome = "group_shift" if population == MIXED else "shift"
        shuffled = next((a.name for a in results.design.arms if a.against == arm.name and a.role == "baseline"), None)
        alone = arm.against or results.design.experiment.baseline
        if arm.name == alone:
            continue
        n, mean, low, high = at.get((arm.name, outcome), (0, None, None, None))
        beside = [at.get((name, outcome), (0, None))[1] for name in (alone, shuffled)]
        rows.append((population, arm.name, n, mean, low, high, *beside))
    numbers = ("shift", "low", "high", "alone", "shuffled_feeds")
    schema = {"population": pl.String, "arm": pl.String, "runs": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    return pl.DataFrame(rows, schema, orient="row")


def _levels(results: Results) -> pl.DataFrame:
    return results.levels.select("arm", "outcome", "n", "mean", "low", "high")


@styled
def _means(over_time: pl.DataFrame) -> Figure:
    """Return a panel per population: mean opinion by steps done, a curve per arm; each on a scale of its own."""
    there = _populations_of(over_time)
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    grid = figure.subplots(1, len(there), squeeze=False)[0]
    for axes, population in zip(grid, there, strict=True):
        mine = over_time.filter(pl.col("arm").str.starts_with(f"{population}-"))
        axes.set_title(population)
        axes.set_xlabel("steps done")
        if population == MIXED:
            axes.axhline(MIDPOINT, color=GREY, lw=0.8, ls=":")
        for part in _curves_of(mine, population == MIXED):
            draw_curves(axes, part, "after", "opinion")
    grid[0].set_ylabel("mean opinion, tenths")
    _one_legend(figure, grid)
    return figure


def _populations_of(frame: pl.DataFrame) -> list[str]:
    """Return the populations that a measured table has, in their order."""
    found = {population_of(arm) for arm in frame["arm"].unique()}
    return [population for population in POPULATIONS if population in found]


def _curves_of(frame: pl.DataFrame, mixed: bool) -> list[pl.DataFrame]:
    """Return the curves to draw: of all agents, or of each half of a mix."""
    if not frame.height:
        return []
    names = frame["arm"].to_list()
    short = frame.with_columns(arm=pl.Series([name.partition("-")[2] for name in names], dtype=pl.String))
    groups = [name for name in short["group"].unique(maintain_order=True) if (name != "all") == mixed]
    return [short.filter(pl.col("group") == name) for name in groups]


def _one_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Name each arm once below all panels: they have the same arms in the same colours."""
    found = [axes.get_legend_handles_labels() for axes in panels]
    once = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    if once:
        figure.legend(list(once.values()), list(once), loc="outside lower center", ncols=len(once))


@styled
def _distributions(opinions: pl.DataFrame) -> Figure:
    """Return a panel per population: shares of agents by opinion, at first and at the end of each arm."""
    there = _populations_of(opinions)
    figure = Figure(figsize=(11, 4.4), dpi=110, layout="constrained")
    grid = figure.subplots(1, len(there), sharey=True, squeeze=False)[0]
    for axes, population in zip(grid, there, strict=True):
        mine = opinions.filter(pl.col("arm").str.starts_with(f"{population}-"))
        axes.set_title(population)
        axes.set_xlabel("opinion, tenths")
        axes.axvline(MIDPOINT, color=INK, lw=0.8, ls=":")
        for number, ((arm,), part) in enumerate(mine.group_by("arm", maintain_order=True)):
            if number == 0:
                axes.stairs(_shares(part["first"]), _BINS, fill=True, color=GREY, alpha=0.3, label="at first")
            name = str(arm).partition("-")[2]
            axes.stairs(_shares(part["last"]), _BINS, color=COLOURS[number % len(COLOURS)], lw=1.6, label=name)
    grid[0].set_ylabel("share of agents")
    _one_legend(figure, grid)
    return figure


def _shares(values: pl.Series) -> np.ndarray:
    known = values.to_numpy()
    counts, _ = np.histogram(known[~np.isnan(known)], _BINS)
    return counts / max(counts.sum(), 1)
