"""Look at agents: who acted when, and one agent at one step: the feed it saw and what it then did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from oasis.errors import InputError
from oasis.runs.handles import NAME_COLUMNS, without_mentions, without_names
from oasis.runs.reading import Run
from oasis.runs.summary import with_content

__all__ = ["AgentStep", "activations", "agent_step"]

_NEARBY = 10


@dataclass(frozen=True)
class AgentStep:
    """What an agent saw and did in a step. Names of accounts and mentions in texts are left out.

    Attributes
    ----------
    agent : dict
        Its row of ``users`` without username and name.
    feed : polars.DataFrame
        ``turn``, ``position``, ``post_id``, ``message_id`` (of a group), ``author_id``, ``source``, ``score``,
        ``content``.
    feed_kept : bool
        Whether the run kept what was shown to this agent.
    actions : polars.DataFrame
        ``seq``, ``turn``, ``policy``, ``action``, ``target_kind``, ``target_id``, ``outcome``, ``created_id``,
        ``probability``, ``content``.
    calls : polars.DataFrame
        Calls of language models for its decision.
    """

    agent_id: int
    step: int
    agent: dict[str, Any]
    feed: pl.DataFrame
    feed_kept: bool
    actions: pl.DataFrame
    calls: pl.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return {
            "agent_id": self.agent_id,
            "step": self.step,
            "agent": self.agent,
            "feed_kept": self.feed_kept,
            "feed": self.feed.to_dicts(),
            "actions": self.actions.to_dicts(),
            "llm_calls": self.calls.to_dicts(),
        }


def agent_step(run: Run, agent_id: int, step: int) -> AgentStep:
    """Return what an agent saw and did in a step.

    Raises
    ------
    InputError
        If the agent or step is not there, or the agent was not active in it (with steps in which it was).
    """
    mine = pl.col("agent_id") == agent_id
    now = mine & (pl.col("step") == step)
    actions = run.events.filter(now).with_columns(without_names()).sort("seq").collect()
    agent = run.users.filter(mine).collect()
    if not agent.height and not actions.height:
        _check_agent(run, agent_id)
    _check_step(run, step)
    if not actions.height:
        raise InputError(f"agent {agent_id} was not active at step {step}; {_active_steps(run, agent_id, step)}")
    shown = run.impressions.filter(now).sort("turn", "position").collect()
    authors = run.posts.select("post_id", "author_id")
    feed = shown.join(
        authors.filter(pl.col("post_id").is_in(shown["post_id"].unique().to_list())).collect(),
        on="post_id",
        how="left",
        maintain_order="left",
    )
    feed = with_content(run, feed, "post_id").with_columns(pl.col("source").cast(pl.String))
    feed = feed.join(_messages(run, shown["message_id"]), on="message_id", how="left", maintain_order="left")
    feed = feed.with_columns(pl.coalesce("author_id", "sender"), pl.coalesce("content", "message"))
    kept = run.manifest.scenario.get("output", {}).get("impressions", "all")
    calls = run.llm_calls.filter(now).sort("turn", "attempt").collect()
    return AgentStep(
        agent_id,
        step,
        (_masked(agent.drop(NAME_COLUMNS, strict=False)).to_dicts() or [{"agent_id": agent_id}])[0],
        feed.select("turn", "position", "post_id", "message_id", "author_id", "source", "score", "content"),
        kept == "all" or bool(shown.height),
        _masked(actions.drop("step", "agent_id", "arg_id")),
        _masked(calls.drop("step", "agent_id", "options", "logprobs")),
    )


def activations(run: Run, agent_id: int | None = None, step: int | None = None) -> pl.DataFrame:
    """Return who acted in a step, or the steps in which an agent acted.

    Returns
    -------
    polars.DataFrame
        A row per activation, by step and agent: ``step``, ``agent_id``, ``policy``, ``shown`` (posts and group
        messages, null where not kept), ``actions`` (in their order; with the outcome of those that were not accepted).

    Raises
    ------
    InputError
        If the agent or step is not there.
    """
    chosen = pl.col("agent_id") >= 0
    if agent_id is not None:
        _check_agent(run, agent_id)
        chosen &= pl.col("agent_id") == agent_id
    if step is not None:
        _check_step(run, step)
        chosen &= pl.col("step") == step
    action, outcome = pl.col("action").cast(pl.String), pl.col("outcome").cast(pl.String)
    refused = pl.when(outcome != "accepted").then(pl.format(" ({})", outcome)).otherwise(pl.lit(""))
    acted = (
        run.events.filter(chosen)
        .sort("step", "agent_id", "seq")
        .group_by("step", "agent_id", maintain_order=True)
        .agg(pl.col("policy").first().cast(pl.String), actions=(action + refused).str.join(", "))
    )
    shown = run.impressions.filter(chosen).group_by("step", "agent_id").agg(shown=pl.len())
    table = acted.join(shown, on=["step", "agent_id"], how="left", maintain_order="left").collect()
    if run.manifest.scenario.get("output", {}).get("impressions", "all") == "all":
        table = table.with_columns(pl.col("shown").fill_null(0))
    return table.select("step", "agent_id", "policy", "shown", "actions")


def _messages(run: Run, ids: pl.Series) -> pl.DataFrame:
    """Return ``message_id``, ``sender`` and ``message`` (no mentions) of group messages, which only events hold."""
    sent = pl.col("action").cast(pl.String) == "send_to_group"
    accepted = pl.col("outcome").cast(pl.String) == "accepted"
    outside = pl.col("agent_id") < 0  # then the content is JSON
    arguments = pl.when(outside).then("content")
    sender = pl.when(outside).then(arguments.str.json_path_match("$.agent").cast(pl.Int32)).otherwise("agent_id")
    text = pl.when(outside).then(arguments.str.json_path_match("$.text")).otherwise("content")
    return (
        run.events.filter(sent & accepted & pl.col("created_id").is_in(ids.drop_nulls().unique().to_list()))
        .select(message_id="created_id", sender=sender, message=without_mentions(text))
        .collect()
    )


def _check_agent(run: Run, agent_id: int) -> None:
    count = run.users.select(pl.len()).collect().item()
    if not 0 <= agent_id < count:
        raise InputError(f"--agent {agent_id}: no such agent; this run has agents 0 to {count - 1}")


def _check_step(run: Run, step: int) -> None:
    if not 1 <= step <= run.steps_done:
        raise InputError(f"--step {step}: this run has done steps 1 to {run.steps_done}")


def _masked(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(without_mentions(pl.col(pl.String)))


def _active_steps(run: Run, agent_id: int, step: int) -> str:
    steps = run.events.filter(pl.col("agent_id") == agent_id).select(pl.col("step").unique()).collect()["step"]
    if not len(steps):
        return "it never was"
    nearest = sorted(steps.to_list(), key=lambda s: (abs(s - step), s))[:_NEARBY]
    what = "it was at" if len(steps) <= _NEARBY else f"of the {len(steps)} steps at which it was, the nearest are"
    return f"{what} {', '.join(map(str, sorted(nearest)))}"
