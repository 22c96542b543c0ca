"""Misinformation: true and false news from the same accounts, and what moderation does to their reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from oasis.errors import InputError
from oasis.experiments.figures import by_arm, curves
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import news_labels, news_pairs, posts_over_time, reach_over_time
from oasis.experiments.results import Results
from oasis.grammar.phrases import TOPICS
from oasis.grammar.texts import write_posts
from oasis.randomness import Draws
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["Misinformation"]

_SIDES = ("true", "false")


class Misinformation(Kind):
    """``kind = "misinformation"``.

    Parameters of the design: ``pairs`` (accounts that post one true and one false item each), ``audience`` (share of
    agents, drawn, who follow such an account besides its own followers), ``first_step`` and ``spacing`` (steps between
    pairs). Both texts of a pair are drawn from one grammar and topic, and which of them is
    the false one is drawn too, so nothing but the label ``veracity`` tells them apart.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "misinformation.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        [f"{side}_{what}" for side in ("true", "false") for what in ("reach", "shares")]
        + ["reach_difference", "shares_difference", "acted_on"]
    )
    limits: ClassVar[Sequence[str]] = (
        "Whether false news spreads further is assumed here: it is the coefficient that is swept. What the experiment"
        " shows is what moderation does under each assumption.",
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
        steps = run.steps_done
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
        over_time = [
            _by_step(frame, column, side, steps).with_columns(measure=pl.lit(column), side=pl.lit(_SIDES[1 - side]))
            for frame, column in ((reach, "reach"), (posts, "shares"))
            for side in (1, 0)
        ]
        return Measured(outcomes, {"over_time": pl.concat(over_time)})

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show reach over time by arm, and every outcome by arm."""
        over_time = results.table("over_time").filter(pl.col("arm").is_in(results.arms))
        points = over_time["point"].unique(maintain_order=True).to_list()
        sections = []
        for number, point in enumerate(points):
            where = "" if point is None else f", {point}"
            for side in ("false", "true"):
                part = over_time.filter(
                    pl.col("point").eq_missing(point) & (pl.col("measure") == "reach") & (pl.col("side") == side)
                )
                figure = curves(part, "step", "value", "step", "agents reached, mean over items")
                title = f"Reach of {side} news{where}"
                sections.append(Section(f"reach_{side}_{number}", title, figure=figure))
        words = "A point is a replicate; the bar is the mean with its interval."
        return [*sections, Section("outcomes", "Outcomes by arm", (words,), figure=by_arm(results))]


def _news(draws: Draws, agents: int, steps: int, setting: Setting) -> Sequence[dict[str, Any]]:
    count = int(setting.parameters.get("pairs", 10))
    first, spacing = int(setting.parameters.get("first_step", 1)), int(setting.parameters.get("spacing", 1))
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
    audience = {"share": float(setting.parameters.get("audience", 0.05))}
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


def _by_step(frame: pl.DataFrame, column: str, veracity: int, steps: int) -> pl.DataFrame:
    """Return the mean over items of one side at each step, held between changes: ``step``, ``value``."""
    mine = frame.filter(pl.col("veracity") == veracity)
    topics = mine["topic"].unique()
    grid = pl.DataFrame({"step": np.arange(steps + 1, dtype=np.int32)}).join(
        pl.DataFrame({"topic": topics}), how="cross"
    )
    held = (
        grid.join(mine.select("topic", "step", value=column), on=["topic", "step"], how="left")
        .sort("topic", "step")
        .with_columns(pl.col("value").forward_fill().over("topic").fill_null(0).cast(pl.Float64))
    )
    return held.group_by("step").agg(pl.col("value").mean()).sort("step")
