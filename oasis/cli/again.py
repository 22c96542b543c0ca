"""``oasis resume`` and ``oasis replay``: a recorded run, executed again."""

from __future__ import annotations

import time
from pathlib import Path

import click

from oasis.cli.language_model import changed_keys, model_path_option
from oasis.cli.progress import RunProgress
from oasis.cli.run import carry_out, report
from oasis.runs import open_run
from oasis.simulation import Simulation, again

__all__ = ["replay", "resume"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--llm", "endpoint", metavar="URL", help="Server to ask from now on, with the same model; or 'local'.")
@model_path_option
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a limit, e.g. budget.max_calls=900."
)
@click.option("--allow-changes", is_flag=True, help="Go on though versions, templates ... differ; noted in the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def resume(
    run: Path,
    endpoint: str | None,
    model_path: Path | None,
    overrides: tuple[str, ...],
    allow_changes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Go on with a RUN that was stopped or killed, to the same end as if it had not been.

    The world is taken from the newest checkpoint that is whole; the steps since are executed again with the recorded
    decisions, and compared. No recorded answer of a language model is asked for a second time.
    """
    changes = [*overrides, *changed_keys(endpoint, model_path)]
    begun = time.perf_counter()
    progress = RunProgress(open_run(run).manifest.steps_planned, quiet)
    simulation = again.resume(run, changes, allow_changes=allow_changes, on_repeated=progress.advance)
    progress.advance(simulation.world.step)
    _announce(run, simulation)
    carry_out(simulation, progress, run, begun, as_json)
    report(simulation.summary, run, begun, as_json)


def _announce(run: Path, simulation: Simulation) -> None:
    place = simulation.place
    assert isinstance(place, again.Resumption)
    done, taken = place.steps_done, simulation.world.step
    for damage in place.damage:
        click.echo(f"Warning: {damage}; it is done without", err=True)
    since = f"checkpoint of step {taken}" if taken else "beginning"
    repeated = f"; steps {taken + 1} to {done} are executed again first" if taken < done else ""
    click.echo(
        f"{run}: {done} of {simulation.scenario.simulation.steps} steps are done; taken up from the {since}{repeated}",
        err=True,
    )


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--answers", "by_answers", is_flag=True, help="Decide again from the recorded answers, rendering every prompt."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
def replay(run: Path, by_answers: bool, quiet: bool) -> None:
    """Execute a RUN again from its records, asking no language model, and compare every step.

    Agents of language models do what they are recorded to have decided; with --answers they decide again from the
    recorded answers, which takes longer. Prints the state hash, which is the recorded one; exit status 1 if a step
    comes out differently.
    """
    with RunProgress(open_run(run).steps_done, quiet) as progress:
        state_hash = again.replay(run, progress.advance, by_answers=by_answers)
    click.echo(f"the same, step by step: {state_hash}")
