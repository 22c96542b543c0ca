"""``oasis interview``: ask agents of a finished run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from oasis.cli.language_model import model_path_option
from oasis.interfaces import Question
from oasis.scenario_model import llm_changes
from oasis.simulation.afterwards import AFTERWARDS, interview_run

__all__ = ["interview"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("question")
@click.option("--agent", "agents", type=int, multiple=True, required=True, help="Agent to ask; may be repeated.")
@click.option("--scale", type=(float, float), metavar="LOW HIGH", help="Ask for a number between these.")
@click.option("--option", "options", multiple=True, metavar="ANSWER", help="Ask for one of several; give at least two.")
@click.option("--llm", "endpoint", metavar="URL", help="Server for llm agents, instead of the scenario's; or 'local'.")
@model_path_option
@click.option("--model", metavar="NAME", help="Model for llm agents.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per answer.")
def interview(
    run: Path,
    question: str,
    agents: tuple[int, ...],
    scale: tuple[float, float] | None,
    options: tuple[str, ...],
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Ask agents of a RUN a QUESTION, as they are at its end.

    The run itself stays as it is; answers are printed and kept beside its files in interviews_afterwards.parquet.
    """
    asked = Question("afterwards", question, scale, options or None)
    answers = asyncio.run(interview_run(run, list(agents), asked, llm_changes(endpoint, model, model_path)))
    for row in answers.to_pylist():
        if as_json:
            click.echo(json.dumps(row))
            continue
        value = "" if row["value"] is None else f"{row['value']:g}"
        if asked.options and row["value"] is not None:
            value = asked.options[int(row["value"])]
        text = row["text"] or ""
        shown = " ".join(part for part in (value, text if text != value else "") if part)
        click.echo(f"agent {row['agent_id']} ({row['policy']}): {shown or row['outcome']}")
    click.echo(f"kept in {run / AFTERWARDS}", err=True)
