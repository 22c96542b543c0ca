"""What came of a run's decisions: what share changed anything, how many feeds were empty, which actions were asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from oasis.actions import READ_ACTIONS, Action
from oasis.runs.reading import Run

__all__ = ["Effects", "action_mix", "effects"]

_IDLE = [Action.DO_NOTHING.label, *sorted(action.label for action in READ_ACTIONS)]
_NO_ACTIONS = [Action.NO_DECISION.label, "interview"]
_POSTS = ["create_post", "quote_post", "repost"]


@dataclass(frozen=True)
class Effects:
    """What came of decisions.

    Attributes
    ----------
    mean_active : float
        Agents active in a step, on average.
    decisions : int
        Activations, decided or not.
    changed : int
        Those with at least one accepted action that changes the platform: not do_nothing, and none that only reads.
    new_posts : int
        Posts, quotes and reposts of agents.
    feeds, empty_feeds : int or None
        Feeds handed out, and those with nothing in them; None where the run has not counted them.
    mix : polars.DataFrame
        ``action``, ``asked``, ``accepted``, ``share`` (of all that was asked), most frequent first.
    """

    mean_active: float
    decisions: int
    changed: int
    new_posts: int
    feeds: int | None
    empty_feeds: int | None
    mix: pl.DataFrame

    @property
    def changed_share(self) -> float | None:
        """Share of decisions that changed the platform; None where there was none."""
        return self.changed / self.decisions if self.decisions else None

    @property
    def empty_share(self) -> float | None:
        """Share of feeds that were empty; None where there was none, or they were not counted."""
        return self.empty_feeds / self.feeds if self.feeds and self.empty_feeds is not None else None

    def lines(self) -> list[str]:
        """Return for a terminal, in a line each, how much changed and by which actions."""
        if self.changed_share is None:
            return []
        mix = ", ".join(f"{row['action']} {row['share']:.1%}" for row in self.mix.iter_rows(named=True))
        empty = "" if self.empty_share is None else f", {self.empty_share:.1%} of feeds empty"
        changed = f"{self.changed_share:.1%} of decisions changed the platform"
        return [
            f"changed     {changed}, {self.new_posts:,} new posts, quotes and reposts{empty}",
            f"actions     {mix}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "mean_active": self.mean_active,
            "decisions": self.decisions,
            "changed": self.changed,
            "changed_share": self.changed_share,
            "new_posts": self.new_posts,
            "feeds": self.feeds,
            "empty_feeds": self.empty_feeds,
            "empty_share": self.empty_share,
            "mix": self.mix.to_dicts(),
        }


def action_mix(actions: pl.DataFrame) -> pl.DataFrame:
    """Return `Effects.mix` from counts by ``action`` and ``outcome``."""
    accepted = pl.col("count").filter(pl.col("outcome") == "accepted").sum()
    return (
        actions.filter(~pl.col("action").is_in(_NO_ACTIONS))
        .group_by("action")
        .agg(asked=pl.col("count").sum(), accepted=accepted)
        .with_columns(share=pl.col("asked") / pl.col("asked").sum())
        .sort(["asked", "action"], descending=[True, False])
    )


def effects(run: Run, actions: pl.DataFrame, decisions: int) -> Effects:
    """Return what came of a run's decisions.

    Parameters
    ----------
    actions : polars.DataFrame
        ``action``, ``outcome``, ``count`` of agents (`oasis.runs.summary.action_counts`).
    decisions : int
        Activations, as in the coverage.

    Raises
    ------
    RunDirectoryError
        If a file is missing or damaged.
    """
    action = pl.col("action").cast(pl.String)
    changing = (
        (pl.col("agent_id") >= 0)
        & (pl.col("outcome").cast(pl.String) == "accepted")
        & ~action.is_in([*_IDLE, *_NO_ACTIONS])
    )
    activation = (pl.col("step").cast(pl.Int64) * 2**32) + pl.col("agent_id")
    changed = run.events.filter(changing).select(activation.n_unique()).collect().item()
    mix = action_mix(actions)
    feeds, empty = _feeds(run)
    return Effects(
        decisions / max(run.steps_done, 1),
        decisions,
        int(changed),
        int(mix.filter(pl.col("action").is_in(_POSTS))["accepted"].sum()),
        feeds,
        empty,
        mix,
    )


def _feeds(run: Run) -> tuple[int | None, int | None]:
    metrics = run.metrics
    if not {"active", "empty_feeds"} <= set(metrics.collect_schema().names()):
        return None, None
    feeds, empty = metrics.select(pl.col("active").sum(), pl.col("empty_feeds").sum()).collect().row(0)
    return int(feeds), int(empty)
