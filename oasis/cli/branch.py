"""``oasis branch`` and ``oasis branches``: runs that share the past of another."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from oasis.cli.language_model import changed_keys, model_path_option
from oasis.cli.progress import RunProgress
from oasis.cli.run import carry_out, free_directory, report
from oasis.runs.lineage import lineage
from oasis.simulation import branching

__all__ = ["branch", "branches"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--at-step", type=int, required=True, metavar="K", help="The last step that both share.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a key, e.g. recsys.kind=hot.")
@click.option(
    "--intervene", multiple=True, metavar="KEYS", help="Add an intervention, e.g. 'kind=\"ban\", agents=[3]'."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory to make [default: RUN-branch-K].")
@click.option("--llm", "endpoint", metavar="URL", help="Server to ask from now on, or 'local'.")
@model_path_option
@click.option("--allow-changes", is_flag=True, help="Branch off though versions or code differ; noted in the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def branch(
    run: Path,
    at_step: int,
    changes: tuple[str, ...],
    intervene: tuple[str, ...],
    out: Path | None,
    endpoint: str | None,
    model_path: Path | None,
    allow_changes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Branch off a RUN: the same up to step K, then made on by a changed scenario.

    After step K the branch shares every draw, and every recorded answer of a language model, that the change does not
    touch, so what differs is the change's effect ('oasis compare' shows it). An intervention without 'step' happens in
    step K + 1. The branch is a run like any other, complete without its parent.
    """
    named = [*changes, *changed_keys(endpoint, model_path)]
    beside = run if run.name not in ("", "..") else run.resolve()
    out = out or free_directory(beside.with_name(f"{run.resolve().name}-branch-{at_step}"))
    begun = time.perf_counter()
    with RunProgress(at_step, quiet) as progress:
        simulation = branching.branch(
            run, at_step, out, named, intervene, allow_changes=allow_changes, on_step=progress.advance
        )
    steps = simulation.scenario.simulation.steps
    place = simulation.place
    assert isinstance(place, branching.BranchPlace)
    again = f", steps {place.taken_up + 1} to {at_step} executed again" if place.taken_up < at_step else ""
    click.echo(f"{run}: branches off after step {at_step} of {steps}{again} -> {out}", err=True)
    for warning in simulation.warnings:
        click.echo(f"Warning: {warning}", err=True)
    carry_out(simulation, RunProgress(steps, quiet, done=at_step), out, begun, as_json)
    report(simulation.summary, out, begun, as_json)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print the tree as JSON.")
def branches(folder: Path, as_json: bool) -> None:
    """List the runs in a FOLDER [default: runs] as a tree of branches."""
    damage: list[str] = []
    trees = lineage(folder, damage)
    for said in damage:
        click.echo(f"Warning: {said}", err=True)
    if as_json:
        click.echo(json.dumps([tree.to_json() for tree in trees]))
        return
    for tree in trees:
        for line in tree.lines():
            click.echo(line)
