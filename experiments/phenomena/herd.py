"""Herding: comments that start with a vote up, none, or one down, and what that first vote does to their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from oasis.errors import InputError
from oasis.experiments.figures import treatments
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import SEEDED_VOTES, net_scores
from oasis.experiments.phenomena.items import Item, assigned, drawn_items, real_items
from oasis.experiments.results import Results
from oasis.experiments.statistics import mean_t
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.randomness import Draws
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["Herd", "HerdParameters"]

PERSONAS = "user_data_36.json"


class HerdParameters(Parameters):
    """``[parameters]``.

    Attributes
    ----------
    posts : int
        How many appear from outside.
    comments : int
        Items under each, one step later.
    spacing : int
        Steps from one post to the next.
    real_posts : int
        How many of the real items are used where data are given; each has one comment.
    up, down : float
        Shares of the items that get a vote up, or down: above 0, and below 1 together.
    """

    posts: int = Field(default=20, ge=1)
    comments: int = Field(default=1, ge=1)
    spacing: int = Field(default=1, ge=1)
    real_posts: int = Field(default=20, ge=1)
    up: float = 1 / 3
    down: float = 1 / 3


class Herd(Kind):
    """``kind = "herd"``: see `HerdParameters`.

    The design of Muchnik, Aral and Taylor (2013), Science 341:647: comments are assigned at random, anew in each
    replicate, to start with one vote up, none, or one down from outside. The outcome of an item is its final score
    less that vote; an effect is the difference between the means of treated and untreated items of the same run.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "herd.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        [
            "up_effect",
            "down_effect",
            *(f"{what}_{treatment}" for what in ("net", "items") for treatment in SEEDED_VOTES),
        ]
    )
    limits: ClassVar[Sequence[str]] = (
        "How a score that is seen moves the next vote is assumed: the coefficient `log1p_score` of `like_comment`, from"
        " Muchnik, Aral and Taylor (2013). The experiment shows what follows from it, not that it is so.",
        "Their site had votes of friends and enemies, and topics that herd differently; here all readers are alike in"
        " this.",
        "Items of a run compete for the same readers, so a vote for one takes readers from others: effects are those of"
        " treating a share of the items, as in the original, and not of one item alone.",
        "Comments under one post are ordered by score in the default arm: an effect there is influence and exposure"
        " together, which is why the other arms are there.",
        "Real items are a post and one false comment each, without votes, for 36 made-up personas: they bring texts and"
        " bios, no behaviour. With one comment a post nothing competes for being shown, so exposure plays no part, and"
        " readers are made to vote more often than people do, since there are 36 of them.",
    )

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Add posts and comments; which item gets which vote is drawn from the replicate's seed."""
        draws, values = Draws(cell.seed), {}
        p = parse_parameters(HerdParameters, setting.parameters, "parameters")
        posts, spacing = p.posts if setting.data is None else p.real_posts, p.spacing
        if 2 + (posts - 1) * spacing > scenario.simulation.steps:
            raise InputError(
                f"parameters: {posts} posts every {spacing} steps, commented on a step later, need more than the"
                f" {scenario.simulation.steps} steps there are"
            )
        if setting.data is None:
            items = drawn_items(draws, posts, p.comments, scenario.population.agents or 1000)
        else:
            personas = setting.data / PERSONAS
            values["population"] = {"source": "reddit-json", "path": str(personas)}
            items = real_items(draws, posts, setting.data)
        treated = assigned(draws, sum(len(item.comments) for item in items), p.up, p.down)
        entries = [*scenario.to_dict()["interventions"], *_entries(items, treated, spacing)]
        return scenario.with_values({**values, "interventions": entries})

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Compare the net scores of treated and untreated items."""
        items = _items(run)
        outcomes: dict[str, float | None] = {}
        for treatment in SEEDED_VOTES:
            scores = items.filter(pl.col("treatment") == treatment)["net_score"].to_numpy()
            outcomes[f"net_{treatment}"] = float(scores.mean()) if len(scores) else None
            outcomes[f"items_{treatment}"] = float(len(scores))
        for side in ("up", "down"):
            treated, control = outcomes[f"net_{side}"], outcomes["net_control"]
            outcomes[f"{side}_effect"] = None if treated is None or control is None else treated - control
        return Measured(outcomes, {"items": items})

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show net scores by treatment and arm, and whether the votes were given as declared."""
        table = _by_treatment(results)
        text = (
            "Net score: votes that agents gave, without the first vote from outside. A point is a replicate's mean over"
            " the items of a treatment, the bar the mean over replicates with its interval. Intervals of treatments"
            " overlap more than effects suggest, since these are paired within replicates.",
            "Where the score is hidden, a first vote can only decide which comments of a thread are shown, and in what"
            " order; where it is left out of the ranking, it can only be seen; where both are done, it can do nothing,"
            " and an effect there would be an error of the method.",
        )
        figure = treatments(results, [f"net_{t}" for t in SEEDED_VOTES], list(SEEDED_VOTES), "net score, votes")
        return [
            Section("net_scores", "Net score by first vote", text, table, figure, printed=True),
            Section("delivered", "Items by first vote, as delivered", _DELIVERED, _delivered(results)),
        ]


_DELIVERED = (
    "Read back from the votes that comments had from outside at the end of each run; the range is over replicates.",
)


def _entries(items: Sequence[Item], treated: Sequence[str], spacing: int) -> list[dict[str, Any]]:
    """Return interventions: a post, and a step later its comments, each with its first vote."""
    entries: list[dict[str, Any]] = []
    votes = iter(treated)
    for number, item in enumerate(items):
        step, name = 1 + number * spacing, f"item {number + 1}"
        entries.append({"step": step, "kind": "post", "author": item.author, "content": item.text, "topic": name})
        for author, text in item.comments:
            vote = SEEDED_VOTES[next(votes)]
            entries.append(
                {
                    "step": step + 1,
                    "kind": "comment",
                    "agents": [author],
                    "posts": {"where": {"topic": name}},
                    "content": text,
                    **({"likes": 1} if vote > 0 else {"dislikes": 1} if vote < 0 else {}),
                }
            )
    return entries


def _items(run: Run) -> pl.DataFrame:
    """Return a row per comment from outside: ``comment_id, treatment, likes, dislikes, net_score``."""
    made = (pl.col("agent_id") == -1) & (pl.col("action").cast(pl.String) == "comment")
    accepted = pl.col("outcome").cast(pl.String) == "accepted"
    from_outside = run.events.filter(made & accepted).select(comment_id=pl.col("created_id"))
    vote = pl.col("base_likes").cast(pl.Int64) - pl.col("base_dislikes").cast(pl.Int64)
    names = {vote: name for name, vote in SEEDED_VOTES.items()}
    items = (
        run.comments.join(from_outside, on="comment_id", how="semi")
        .select("comment_id", "likes", "dislikes", treatment=vote.replace_strict(names, return_dtype=pl.String))
        .sort("comment_id")
        .collect()
    )
    return net_scores(items)


def _by_treatment(results: Results) -> pl.DataFrame:
    """Return mean net scores and effects by arm, with intervals."""
    level = results.design.experiment.level
    rows = []
    for arm in results.arms:
        for outcome, label in [(f"net_{t}", t) for t in SEEDED_VOTES] + [
            ("up_effect", "up less control"),
            ("down_effect", "down less control"),
        ]:
            at = mean_t(results.outcome(outcome).filter(pl.col("arm") == arm)["value"].drop_nulls(), level)
            rows.append((arm, label, at.estimate, at.low, at.high, at.n))
    schema = {"arm": pl.String, "first vote": pl.String, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, {**schema, "replicates": pl.Int64}, orient="row")


def _delivered(results: Results) -> pl.DataFrame:
    """Return how many items of each treatment there were."""
    rows = []
    for arm in results.arms:
        for treatment in SEEDED_VOTES:
            items = results.outcome(f"items_{treatment}").filter(pl.col("arm") == arm)["value"].drop_nulls()
            rows.append((arm, treatment, items.min(), items.max()))
    schema = {"arm": pl.String, "first vote": pl.String, "items, least": pl.Float64, "items, most": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").with_columns(pl.col("items, least", "items, most").cast(pl.Int64))
