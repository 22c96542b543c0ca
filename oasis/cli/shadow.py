"""``oasis shadow``: a language model asked about a sample of a choice model's decisions."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from oasis.cli.language_model import endpoint_option, model_option, model_path_option
from oasis.cli.stopping import run_until_stopped
from oasis.errors import RunStoppedError
from oasis.runs.text_table import text_table
from oasis.scenario_model import llm_changes

if TYPE_CHECKING:
    from oasis.agents.shadow.shadow import Shadow

__all__ = ["shadow"]

_LOSSES = {
    "log_loss": "choice model on the language model's decisions",
    "entropy": "the same, if the choice model had made them (entropy)",
    "constant": "constant shares, fitted to these decisions",
    "above_entropy": "choice model less its entropy",
    "above_constant": "choice model less constant shares",
}


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@endpoint_option
@model_path_option
@model_option
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.01,
    show_default=True,
    help="Share of the activations that is asked about, drawn.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the sample.")
@click.option("--decided-by", metavar="NAME", help="Choice policy of the run, where it has several.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change how is asked: llm.KEY, budget.KEY, or policy.KEY, a parameter of the llm policy.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make, for answers, tables and a figure.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def shadow(
    run: Path,
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    share: float,
    seed: int,
    decided_by: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Ask a language model about a sample of a RUN's choice decisions, and do nothing of what it answers.

    The run is executed again in memory and stays as it is. For each drawn activation the model is asked what an llm
    agent would be, with what the agent saw and remembered then. Printed is how well the choice model foretells the
    answers: log loss, calibration and actions per activation, with intervals over agents.

    With --out answers are kept as they come, in a folder beside it: after Ctrl-C, a kill or a budget that is used up,
    the same command goes on from them. Without it nothing is written.
    """
    from oasis.agents.shadow.files import check_folder, write_shadow
    from oasis.agents.shadow.shadow import shadow_run
    from oasis.runs.begun import begun_folder, fate, forget

    if out is not None:
        check_folder(out, run)
    keep = None if out is None else begun_folder(out)
    shown = sys.stderr.isatty() and not quiet

    def on_step(step: int, asked: int) -> None:
        if shown:
            click.echo(f"\rstep {step:,}, {asked:,} asked ", err=True, nl=False)

    changes = llm_changes(endpoint, model, model_path)
    try:
        found = run_until_stopped(
            shadow_run(run, share, seed, decided_by, changes, overrides, keep=keep, on_step=on_step)
        )
    except asyncio.CancelledError:
        raise RunStoppedError(f"stopped on request; {fate(keep)}; the run is as it was") from None
    finally:
        if shown:
            click.echo(err=True)
    if out is not None:
        write_shadow(found, out, run)
        forget(begun_folder(out))
    click.echo(json.dumps(found.summary()) if as_json else _said(found))
    if out is not None:
        click.echo(f"written to {out}", err=True)


def _said(found: Shadow) -> str:
    count, scores, tokens = found.counts, found.scores, found.tokens
    failed = f"{count['llm_failed']:,} without an answer, {count['llm_invalid']:,} invalid"
    error = scores.calibration_error
    bounds = "" if error["low"] is None else f" ({error['low']:.4f} to {error['high']:.4f})"
    losses = scores.losses.with_columns(score=pl.col("score").replace_strict(_LOSSES))
    parts = [
        f"{count['asked']:,} of {count['activations']:,} activations of {found.policy!r} were drawn, and"
        f" {found.model} was asked: {count['answered']:,} answered by {count['agents']:,} agents, {failed}",
        f"{found.calls:,} calls, tokens {tokens['input']:,} in ({tokens['cached']:,} cached), {tokens['output']:,} out",
        f"{count['actions']:,} actions, {count['scored']:,} of them scored on {count['occasions']:,} occasions; texts"
        " that the model would write are not",
        "",
        "log loss per occasion, in nats; 95% intervals over agents",
        text_table(losses),
        "",
        f"calibration error: {error['value']:.4f}{bounds}; by chance alone about {error['by_chance']:.4f}",
        text_table(scores.calibration),
        "",
        "actions per activation: expected of the choice model, recorded in the run, and the language model's when"
        " asked; difference of the last two",
        text_table(scores.shares, ["action", "expected", "recorded", "asked", "difference", "low", "high"]),
    ]
    if found.decoding == "score":
        parts.append("decoding = 'score': what to do was drawn by action_rates; the model chose only to what")
    if count["agents"] < _few():
        parts.append(f"no intervals: fewer than {_few()} agents answered")
    return "\n".join(parts)


def _few() -> int:
    from oasis.agents.shadow.resampling import MIN_AGENTS

    return MIN_AGENTS
