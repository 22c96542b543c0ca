"""How often agents did what in a run: accepted actions per activation."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from oasis.actions import Action, Outcome
from oasis.errors import RunDirectoryError
from oasis.runs.reading import Run

__all__ = ["action_rates"]


def action_rates(run: Run, without: Collection[str] = ()) -> dict[str, float]:
    """Return each action's number per activation, by its name; those that did not happen are not there.

    Parameters
    ----------
    run : Run
    without : collection of str
        Names of policies whose agents do not count.

    Raises
    ------
    RunDirectoryError
        If the run cannot be read, or nobody acted in it.
    """
    text = pl.col("policy", "action", "outcome").cast(pl.String)
    events = run.events.filter(pl.col("agent_id") >= 0).with_columns(text)
    events = events.filter(~pl.col("policy").is_in(list(without)))
    activations = events.select("step", "agent_id").unique().select(pl.len()).collect().item()
    if not activations:
        raise RunDirectoryError(f"{run.path}: no agent acted in this run, so it has no rates; name another")
    done = (pl.col("outcome") == Outcome.ACCEPTED.label) & (pl.col("action") != Action.DO_NOTHING.label)
    counts = events.filter(done).group_by("action").len().sort("action").collect()
    return {name: count / activations for name, count in counts.iter_rows()}
