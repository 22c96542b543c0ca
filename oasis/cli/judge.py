"""``oasis experiment judge``: a model reads what agents wrote, as a second opinion."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from oasis.cli.language_model import endpoint_option, model_option, model_path_option
from oasis.cli.stopping import run_until_stopped
from oasis.errors import RunStoppedError, ScenarioError
from oasis.experiments.folder import ExperimentFolder
from oasis.experiments.judging import BEGUN, judge
from oasis.experiments.results import gather
from oasis.inference_config import LLMConfig
from oasis.plugins import parse_parameters
from oasis.runs.begun import fate
from oasis.scenario import parse_override
from oasis.scenario_model import llm_changes

__all__ = ["judge_command"]


@click.command("judge")
@click.argument("folder", type=click.Path(path_type=Path))
@endpoint_option
@model_path_option
@model_option
@click.option(
    "--pairs", type=click.IntRange(1), default=20, show_default=True, help="Agents of each run that are read, drawn."
)
@click.option("--set", "overrides", multiple=True, metavar="llm.KEY=VALUE", help="Change how the judge is asked.")
def judge_command(
    folder: Path,
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    pairs: int,
    overrides: tuple[str, ...],
) -> None:
    """Let a model judge what agents of an experiment wrote, and write the report anew.

    Of each agent that is drawn, the first answer to an open question is set beside the last: in both orders, each asked
    twice, and each text rated by itself, twice: eight questions a pair. It is shown no arm and no account's name.

    Answers are kept as they come: after Ctrl-C the same command goes on from them.
    """
    experiment = ExperimentFolder.open(folder)
    results = gather(experiment)
    config = _config(endpoint, model_path, model, overrides)

    try:
        run_until_stopped(judge(results, config, pairs, lambda words: click.echo(words, err=True)))
    except asyncio.CancelledError:
        raise RunStoppedError(f"stopped on request; {fate(folder / BEGUN)}") from None
    from oasis.experiments.report import REPORT, write_experiment_report  # matplotlib takes half a second to load
    from oasis.runs.text_table import text_table

    _, sections = write_experiment_report(experiment)
    for section in sections:
        if section.name.startswith("judge") and section.table is not None:
            click.echo(f"{section.title}\n{text_table(section.table)}")
    click.echo(f"look at     {folder / REPORT}")


def _config(endpoint: str | None, model_path: Path | None, model: str | None, overrides: tuple[str, ...]) -> LLMConfig:
    if endpoint is None and model_path is None:
        raise ScenarioError("no judge is named: give --llm URL --model NAME, or --llm local")
    changes = llm_changes(endpoint, model, model_path)
    for key, value in map(parse_override, overrides):
        table, _, name = key.partition(".")
        if table != "llm" or name not in LLMConfig.model_fields:
            raise ScenarioError(f"--set {key!r}: allowed are llm.{', llm.'.join(LLMConfig.model_fields)}")
        changes[name] = value
    return parse_parameters(LLMConfig, changes, "llm")
