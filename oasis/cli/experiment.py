"""``oasis experiment``: questions about a platform, as arms and replicates, with a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from oasis.cli.judge import judge_command
from oasis.cli.language_model import endpoint_option, model_option, model_path_option
from oasis.errors import RunStoppedError, ScenarioError
from oasis.experiments.deciding import says_who_asks
from oasis.experiments.design import Design
from oasis.experiments.execution import default_jobs, run_experiment
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.results import Results
from oasis.plugins import available, load
from oasis.scenario import parse_override

__all__ = ["experiment"]

_FAILURES_SHOWN = 5


@click.group()
def experiment() -> None:
    """Run experiments: arms, replicates, comparisons and a report."""


@experiment.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(as_json: bool) -> None:
    """List the experiments that are installed, with their questions."""
    designs = {name: Design.load(load("experiments", name).design) for name in available("experiments")}
    if as_json:
        click.echo(json.dumps({name: design.to_dict() for name, design in designs.items()}, ensure_ascii=False))
        return
    for name, design in designs.items():
        arms = sum(arm.role != "twin" for arm in design.arms)
        click.echo(f"{name}: {design.experiment.title} ({arms} arms, {design.experiment.replicates} replicates)")
        click.echo(f"    {' '.join(design.experiment.question.split())}")


@experiment.command("run")
@click.argument("name")
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Folder with real data.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to make or go on with [default: runs/NAME].")
@click.option("--quick", is_flag=True, help="A small version, to see that it works.")
@click.option("--replicates", type=click.IntRange(1), help="Seeds of each arm, instead of the design's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of all arms' scenario.")
@endpoint_option
@model_path_option
@model_option
@click.option("--llm-share", type=click.FloatRange(0, 1), help="Share of the agents that the model decides for, drawn.")
@click.option(
    "--jobs", type=click.IntRange(1), help="Runs at a time [default: one per core, or one where they are large]."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparisons as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def run(
    name: str,
    data: Path | None,
    out: Path | None,
    quick: bool,
    replicates: int | None,
    overrides: tuple[str, ...],
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    llm_share: float | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the experiment NAME (see `oasis experiment list`), or that of a TOML file, and write its report.

    With --llm and --model, agents of the choice model are decided for by that language model instead, unless any arm of
    the design says itself which agents are llm: then it decides for these alone, in all arms.

    The same command goes on where an earlier one was stopped. Exit status 1 if a run failed.
    """
    design = _design(name)
    changes: dict[str, Any] = design.changes(quick, data is not None) | dict(map(parse_override, overrides))
    declared = says_who_asks(design, changes, changes)
    if declared and llm_share is not None:
        raise ScenarioError(
            "--llm-share: the design says itself which agents are llm; change the policies of its arms, or leave it out"
        )
    some = (endpoint is not None or model_path is not None or llm_share is not None) and not declared
    named = some and llm_share is None
    deciders: Literal["choice", "llm"] = "llm" if named or design.asks_model else "choice"
    left_out = design.left_out(deciders, some, changes)
    design = design.decided_by(deciders, some, changes)
    request = Request(
        replicates=replicates or design.replicates(quick, data is not None),
        quick=quick,
        changes=changes,
        data=None if data is None else str(data.resolve()),
        endpoint=endpoint,
        model=model,
        model_path=None if model_path is None else str(model_path.resolve()),
        llm_share=llm_share,
        left_out=left_out,
    )
    folder = ExperimentFolder.begin(out or Path("runs") / design.experiment.name, design, request)
    jobs = jobs or default_jobs(folder)
    _announce(folder, jobs)
    with _progress(quiet) as progress:
        task = progress.add_task("runs", total=len(folder.cells))
        failures = run_experiment(folder, jobs, lambda done, total: progress.update(task, completed=done))
    for failure in failures[:_FAILURES_SHOWN]:
        click.echo(f"failed: {failure.cell.path}: {failure.message}", err=True)
    if len(failures) > _FAILURES_SHOWN:
        click.echo(f"... see oasis experiment status {folder.path}", err=True)
    if len(failures) < len(folder.cells):
        _report(folder, as_json)
    if failures:
        raise RunStoppedError(
            f"{len(failures)} of {len(folder.cells)} runs failed; the same command takes them up again"
        )


@experiment.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the comparisons as JSON.")
def report(folder: Path, as_json: bool) -> None:
    """Write the report of an experiment anew, of the runs that are done."""
    _report(ExperimentFolder.open(folder), as_json)


@experiment.command("status")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def status(folder: Path, as_json: bool) -> None:
    """Say which runs of an experiment are done, and which failed and why."""
    found = ExperimentFolder.open(folder)
    states = [found.state(cell) for cell in found.cells]
    if as_json:
        rows = [{**vars(s), "cell": {**vars(s.cell), "point": dict(s.cell.point)}} for s in states]
        click.echo(json.dumps({"name": found.design.experiment.name, "runs": rows}))
        return
    counts = {kind: sum(s.state == kind for s in states) for kind in ("done", "begun", "waiting", "failed")}
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    click.echo(f"{found.design.experiment.name}: {len(states)} runs: {words}")
    for s in states:
        if s.state in ("begun", "failed"):
            why = f": {s.error}" if s.error else ""
            click.echo(f"  {s.cell.path}: {s.state}, {s.steps_done} of {s.steps} steps{why}")


experiment.add_command(judge_command)


def _design(name: str) -> Design:
    names = available("experiments")
    if name in names:
        return Design.load(load("experiments", name).design)
    if name.endswith(".toml") or Path(name).is_file():
        return Design.load(Path(name))
    raise ScenarioError(f"no experiment {name!r}; there are {', '.join(names)}; or give a TOML file")


def _announce(folder: ExperimentFolder, jobs: int) -> None:
    design, cells = folder.design.experiment, folder.cells
    scenario = folder.base_scenario(cells[0])
    data = "generated population" if folder.request.data is None else f"data of {folder.request.data}"
    at_a_time = f"{jobs} at a time" if jobs > 1 else "one at a time"
    click.echo(
        f"{design.name}: {len(cells)} runs of {scenario.simulation.steps} steps, {at_a_time}, {data} -> {folder.path}",
        err=True,
    )
    if folder.llm_agents is not None:
        click.echo(f"llm agents  {folder.llm_agents}", err=True)


def _report(folder: ExperimentFolder, as_json: bool) -> None:
    from oasis.experiments.report import REPORT, write_experiment_report  # matplotlib takes half a second to load
    from oasis.runs.text_table import text_table

    results, sections = write_experiment_report(folder)
    if as_json:
        facts: dict[str, Any] = {"effects": results.effects.to_dicts(), "levels": results.levels.to_dicts()}
        facts["llm_agents"] = folder.llm_agents
        click.echo(json.dumps({"name": folder.design.experiment.name, "runs": len(results.rows), **facts}))
        return
    for line in _lines(results):
        click.echo(line)
    for section in sections:
        if section.printed and section.table is not None:
            click.echo(f"{section.title}\n{text_table(section.table)}")
    click.echo(f"look at     {folder.path / REPORT}")


def _lines(results: Results) -> list[str]:
    from oasis.runs.text_table import text_table

    design = results.design.experiment
    kind = "with a language model" if results.asked_model else "model consequence, no finding about people"
    lines = [f"{design.title} ({kind}; {len(results.rows)} of {len(results.folder.cells)} runs)"]
    if results.folder.llm_agents is not None:
        lines.append(f"llm agents: {results.folder.llm_agents}")
    effects = results.effects if results.folder.sweep else results.effects.drop("point")
    if effects.height and effects["estimate"].is_not_null().any():
        lines.append(text_table(effects))
    elif effects.height:
        lines.append("no effect is given below 5 replicates")
    return lines


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("runs"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )
