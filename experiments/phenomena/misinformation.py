"""Misinformation: true and false news from the same accounts, and what moderation does to their reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from oasis.errors import InputError
from oasis.experiments.figures import by_arm, draw_curves, styled
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import news_labels, news_pairs, posts_over_time, reach_over_time
from oasis.experiments.results import Results
from oasis.grammar.phrases import TOPICS
from oasis.grammar.texts import write_posts
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.randomness import Draws
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["Misinformation", "NewsParameters"]

_SIDES = ("true", "false")
_NUMBERS = ("reach", "posts", "shares")
_PANELS = 10
"""Pairs drawn one by one at most."""


class NewsParameters(Parameters):
    """``[parameters]``.

    Attributes
    ----------
    pairs : int
        Accounts that post one true and one false item each.
    audience : float
        Share of agents, drawn, who follow such an account besides its own followers.
    first_step, spacing : int
        Of the first pair, and steps from one pair to the next.
    """

    pairs: int = Field(default=10, ge=1)
    audience: float = Field(default=0.05, ge=0, le=1)
    first_step: int = Field(default=1, ge=1)
    spacing: int = Field(default=1, ge=1)


class Misinformation(Kind):
    """``kind = "misinformation"``: see `NewsParameters`.

    Both texts of a pair are drawn from one grammar and topic, and which of them is the false one is drawn too, so
    nothing but the label ``veracity`` tells them apart.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "misinformation.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        [f"{side}_{what}" for side in ("true", "false") for what in ("reach", "shares")]
        + ["reach_difference", "shares_difference", "acted_on"]
    )
    limits: ClassVar[Sequence[str]] = (
        "Whether false news spreads further is assumed here: it is the coefficient that is swept. What the experiment"
        " shows is what moderation does under each assumption. At `veracity` -0.35 the odds of reposting a false item"
        " are twice those of a true one (about as in Vosoughi et al. 2018), at 0 they are alike, at 0.35 half."
        " `seen` is the pull of the new in the same way: the log odds of reposting what was shown before, 0 for none.",
        "Reach counts agents to whom an item was shown, whether they read it or believed it.",
        "Texts come from a grammar: the false items are not worded as false news is.",
        "Moderation acts on reports or on perfect knowledge of what is false, without delay beyond its schedule.",
    )

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Add the news: authors, topics and texts are drawn from the replicate's seed."""
        values: dict[str, Any] = {}
        agents = scenario.population.agents or 1000
        if setting.data is not None:
            values["population"] = {"source": "parquet", "path": str(setting.data)}
            agents = _agents_in(setting.data)
        news = list(_news(Draws(cell.seed), agents, scenario.simulation.steps, setting))
        values["interventions"] = [*scenario.to_dict()["interventions"], *news]
        return scenario.with_values(values)

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Measure reach and shares of each side, and how many posts moderation acted on."""
        labels = news_labels(run.posts)
        reach = reach_over_time(run.impressions, labels)
        posts = posts_over_time(run.posts, labels).with_columns(shares=pl.col("reposts") + pl.col("quotes"))
        outcomes: dict[str, float | None] = {}
        for name, frame, column in (("reach", reach, "reach"), ("shares", posts, "shares")):
            pairs = news_pairs(frame, labels, column)
            for side in _SIDES:
                outcomes[f"{side}_{name}"] = _mean(pairs[side])
            outcomes[f"{name}_difference"] = _mean(pairs["difference"])
        moderating = pl.col("action").cast(pl.String).is_in(["label_post", "demote_post", "remove_post"])
        done = moderating & (pl.col("outcome").cast(pl.String) == "accepted")
        outcomes["acted_on"] = float(run.events.filter(done).select(pl.col("target_id").n_unique()).collect().item())
        return Measured(outcomes, {"news": _by_step(reach, posts, labels, run.steps_done)})

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show reach and posts over time by arm and pair, and every outcome by arm."""
        news = results.table("news").filter(pl.col("arm").is_in(results.arms))
        base = results.design.experiment.baseline
        sections, pairs = [], []
        for number, point in enumerate(news["point"].unique(maintain_order=True)):
            where = "" if point is None else f", {point}"
            here = news.filter(pl.col("point").eq_missing(point))
            title = f"Reach and posts over time{where}"
            sections.append(
                Section(f"over_time_{number}", title, _OVER_TIME if number == 0 else (), None, _means(here))
            )
            alone = here.filter(pl.col("arm") == base)
            title = f"Reach of each pair over time, {base}{where}"
            pairs.append(Section(f"pairs_{number}", title, _PAIRS if number == 0 else (), None, _pairs(alone)))
        words = "A point is a replicate; the bar is the mean with its interval."
        return [*sections, Section("outcomes", "Outcomes by arm", (words,), figure=by_arm(results)), *pairs]


_OVER_TIME = (
    "Mean over items, then mean over replicates with their 2.5 to 97.5% range. Posts are the item, its reposts and its"
    " quotes. Pairs appear one after another: an item counts as 0 until it is posted.",
)
_PAIRS = (
    f"The first {_PANELS} pairs at most: mean over replicates, in each of which another account posts the pair, and"
    " their 2.5 to 97.5% range. Reach, posts and shares of every pair and arm are in tables/news.parquet.",
)


@styled
def _means(news: pl.DataFrame) -> Figure:
    """Return reach above, posts below, of false news left, of true news right, by arm."""
    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    for row, (number, unit) in zip(grid, (("reach", "agents reached"), ("posts", "posts")), strict=True):
        for axes, side in zip(row, ("false", "true"), strict=True):
            part = news.filter(pl.col("side") == side)
            means = part.group_by("arm", "replicate", "step", maintain_order=True).agg(pl.col(number).mean())
            draw_curves(axes, means, "step", number)
            axes.set_title(f"{unit}, {side} news")
        row[0].set_ylabel(f"{unit}, mean over items")
    for axes in grid[1]:
        axes.set_xlabel("step")
    grid[0, 0].legend()
    return figure


@styled
def _pairs(news: pl.DataFrame) -> Figure:
    """Return a panel per pair: reach of the false and of the true item."""
    topics = news["topic"].unique(maintain_order=True).to_list()[:_PANELS]
    columns = min(5, len(topics))
    rows = -(-len(topics) // columns)
    figure = Figure(figsize=(11, 0.6 + 2.1 * rows), dpi=110, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(topics) :]:
        axes.set_visible(False)
    for axes, topic in zip(grid.flat, topics, strict=False):
        sides = news.filter(pl.col("topic") == topic).select("replicate", "step", "reach", arm=pl.col("side"))
        draw_curves(axes, sides.sort("arm", "replicate", "step"), "step", "reach")
        axes.set_title(str(topic))
    for axes in grid[:, 0]:
        axes.set_ylabel("agents")
    figure.supxlabel("step", fontsize="medium")
    grid[0, 0].legend()
    return figure


def _news(draws: Draws, agents: int, steps: int, setting: Setting) -> Sequence[dict[str, Any]]:
    p = parse_parameters(NewsParameters, setting.parameters, "parameters")
    count, first, spacing = p.pairs, p.first_step, p.spacing
    if count > agents:
        raise InputError(f"parameters.pairs: {count} accounts are more than the {agents} agents there are")
    if first + (count - 1) * spacing > steps:
        raise InputError(
            f"parameters: {count} pairs every {spacing} steps from {first} on need more than {steps} steps"
        )
    items = np.arange(count, dtype=np.uint64)
    authors = np.argsort(draws.bits("misinformation.author", 0, np.arange(agents, dtype=np.uint64)))[:count]
    topics = draws.integers("misinformation.topic", 0, len(TOPICS), items)
    swapped = draws.uniform("misinformation.swap", 0, items) < 0.5
    texts = [write_posts(draws, "misinformation", 0, items, topics, index).to_pylist() for index in (0, 1)]
    audience = {"share": p.audience}
    news: list[dict[str, Any]] = []
    for i in range(count):
        news.append({"step": first, "kind": "follow", "agents": audience, "users": int(authors[i])})
        for index in (0, 1):
            news.append(
                {
                    "step": first + i * spacing,
                    "kind": "post",
                    "author": int(authors[i]),
                    "content": texts[index][i],
                    "topic": f"news {i + 1}",
                    "veracity": bool((index == 0) ^ bool(swapped[i])),
                }
            )
    return news


def _agents_in(folder: Path) -> int:
    try:
        return int(pl.scan_parquet(folder / "users.parquet").select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{folder}: no population ('oasis population generate' or 'import' makes one): {str(error)[:150]}"
        ) from None


def _mean(values: pl.Series) -> float | None:
    found = values.mean()
    return float(found) if isinstance(found, int | float) else None


def _by_step(reach: pl.DataFrame, posts: pl.DataFrame, labels: pl.LazyFrame, steps: int) -> pl.DataFrame:
    """Return ``topic``, ``side``, ``step``, and the cumulative `_NUMBERS` of each item at each step 0 to `steps`."""
    keys = ["topic", "veracity", "step"]
    items = labels.select("topic", "veracity").unique().collect()
    # "news 2" before "news 10".
    items = items.sort(pl.col("topic").str.len_chars(), "topic", "veracity")
    grid = items.join(pl.DataFrame({"step": np.arange(steps + 1, dtype=np.int32)}), how="cross")
    held = grid.join(reach, on=keys, how="left", maintain_order="left").join(
        posts.select(*keys, "posts", "shares"), on=keys, how="left", maintain_order="left"
    )
    return held.select(
        "topic",
        side=pl.when(pl.col("veracity") == 1).then(pl.lit("true")).otherwise(pl.lit("false")),
        step="step",
        **{name: pl.col(name).forward_fill().over("topic", "veracity").fill_null(0) for name in _NUMBERS},
    )
