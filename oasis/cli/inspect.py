"""``oasis inspect``: what happened in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import polars as pl

from oasis.runs.cascades import cascade_curve, compare_with_real
from oasis.runs.inspection import AgentStep, activations, agent_step
from oasis.runs.reading import Run, open_run
from oasis.runs.summary import Summary, history, server_lines, summarise
from oasis.runs.text_table import one_line, text_table

__all__ = ["inspect"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--agent",
    type=int,
    metavar="ID",
    help="When this agent acted; with --step, what it saw and did.",
)
@click.option("--step", type=int, metavar="K", help="Who acted in this step.")
@click.option("--cascade", type=int, metavar="POST", help="The growth of this post's cascade, step by step.")
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="A real cascade to show beside it (columns minute, scale, depth, max_breadth); needs --cascade.",
)
@click.option("--top", type=click.IntRange(min=0), default=10, show_default=True, help="How many cascades to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def inspect(
    run: Path, agent: int | None, step: int | None, cascade: int | None, real: Path | None, top: int, as_json: bool
) -> None:
    """Show what happened in RUN: decision coverage, actions and their outcomes, the largest cascades.

    RUN may be finished, in progress, stopped or killed. Names of accounts are not shown.
    """
    if real is not None and cascade is None:
        raise click.UsageError("--real needs --cascade POST")
    if (agent is not None or step is not None) and cascade is not None:
        raise click.UsageError("give --agent and --step, or --cascade, not both")
    opened = open_run(run)
    if agent is not None and step is not None:
        seen = agent_step(opened, agent, step)
        click.echo(_json(seen.to_dict()) if as_json else _agent_text(seen))
    elif agent is not None or step is not None:
        acted = activations(opened, agent, step)
        listed = {"activations": acted.to_dicts()}
        click.echo(_json(listed) if as_json else _heading(opened) + "\n" + _activations_text(acted))
    elif cascade is not None:
        curve = cascade_curve(opened, cascade)
        if real is not None:
            curve = compare_with_real(curve, real)
        rows = {"root_id": cascade, "steps": curve.to_dicts()}
        click.echo(_json(rows) if as_json else _heading(opened) + f"\ncascade of post {cascade}\n" + text_table(curve))
    else:
        summary = summarise(opened, top)
        click.echo(_json(summary.to_dict()) if as_json else _summary_text(summary))


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


_STATES = {
    "killed": "KILLED: its process died; what was done is on disk",
    "failed": "FAILED",
    "stopped": "STOPPED",
}


def _heading(run: Run) -> str:
    manifest = run.manifest
    state = _STATES.get(run.state, run.state)
    lines = [f"{one_line(manifest.name)}: {state}, {run.steps_done:,} of {manifest.steps_planned:,} steps"]
    if run.state == "running" and run.process_state == "unknown":
        lines[0] += " (whether its process lives cannot be told here)"
    if manifest.message:
        lines.append(one_line(manifest.message, 400))
    lines += [one_line(said, 400) for said in history(manifest)]
    return "\n".join(lines)


def _summary_text(summary: Summary) -> str:
    manifest, coverage, calls = summary.run.manifest, summary.coverage, summary.calls
    effect = summary.effects
    decided = "".join(f", {count:,} by {one_line(name)}" for name, count in coverage["decided_by"].items())
    lines = [
        _heading(summary.run),
        f"seed {manifest.seed}, state hash {manifest.state_hash or '- (the run has not ended)'}",
        "",
        f"agents      {coverage['registered']:,} registered, {coverage['active']:,} active at least once, "
        f"{effect.mean_active:,.1f} a step on average",
        f"decisions   {coverage['decisions']:,}{decided}, {coverage['llm_failed']:,} llm_failed, "
        f"{coverage['llm_invalid']:,} llm_invalid",
        *effect.lines(),
    ]
    if calls["attempts"]:
        by_status = ", ".join(f"{count:,} {status}" for status, count in calls.items() if status != "attempts")
        tokens = summary.tokens
        lines.append(f"llm calls   {calls['attempts']:,} ({by_status})")
        lines.append(
            f"tokens      {tokens['input']:,} in ({tokens['cached']:,} of them cached), {tokens['output']:,} out"
        )
        if (each := summary.per_decision) is not None:
            lines.append(
                f"each        {each['calls']:.2f} calls, {each['input']:,.0f} tokens in ({each['cached']:,.0f} cached),"
                f" {each['output']:,.1f} out per decision by a language model"
            )
        if summary.cost is not None:
            lines.append(f"cost        {summary.cost:,.4g} by the prices of the scenario's budget")
        lines += [f"server      {line}" for line in server_lines(manifest)]
    if manifest.refused_rows:
        lines.append(f"refused     {len(manifest.refused_rows):,} rows of the population (see manifest.json)")
    lines += ["", "actions of agents", text_table(summary.actions) if summary.actions.height else "none"]
    if summary.outside.height:
        lines += ["", "from outside", text_table(summary.outside, ["action", "outcome", "count"])]
    spread = summary.cascades.filter(pl.col("size") > 1)
    if summary.cascades.height and not spread.height:
        lines += ["", "no post was reposted"]
    elif spread.height:
        shown = ["root_id", "author_id", "step", "size", "depth", "max_breadth", "virality", "quotes", "content"]
        lines += ["", "largest cascades", text_table(spread, shown, width=60)]
    return "\n".join(lines)


_LISTED = 100  # activations on a screen


def _activations_text(acted: pl.DataFrame) -> str:
    if not acted.height:
        return "nobody acted"
    more = acted.height - _LISTED
    rest = f"\n... and {more:,} more; --json lists all" if more > 0 else ""
    return text_table(acted.head(_LISTED), width=100) + rest


def _agent_text(seen: AgentStep) -> str:
    about = {name: value for name, value in seen.agent.items() if value is not None and name != "agent_id"}
    lines = [f"agent {seen.agent_id} at step {seen.step}", ""]
    lines += [f"{name.replace('_', ' '):<14}  {one_line(str(value), 100)}" for name, value in about.items()]
    lines += ["", "what it was shown"]
    if seen.feed.height:
        posts_only = seen.feed["message_id"].is_null().all()
        lines.append(text_table(seen.feed.drop("message_id") if posts_only else seen.feed))
    else:
        lines.append("nothing" if seen.feed_kept else "not kept: see [output] impressions in the run's scenario")
    lines += ["", "what it then did", text_table(seen.actions)]
    if seen.calls.height:
        shown = ["turn", "attempt", "purpose", "status", "tokens_in", "tokens_out", "error", "response"]
        lines += ["", "calls of language models", text_table(seen.calls.with_columns(_as_text()), shown)]
    return "\n".join(lines)


def _as_text() -> pl.Expr:
    return pl.col("purpose", "status").cast(pl.String)
