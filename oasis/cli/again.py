"""``oasis resume`` and ``oasis replay``: a recorded run, executed again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from oasis.cli.progress import RunProgress
from oasis.cli.run import execute, report
from oasis.errors import OasisError
from oasis.runs import open_run
from oasis.simulation import again

__all__ = ["replay", "resume"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--llm", "endpoint", metavar="URL", help="Server to ask from now on, with the same model.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a limit, e.g. budget.max_calls=900."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def resume(run: Path, endpoint: str | None, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Go on with a RUN that was stopped or killed, to the same end as if it had not been.

    The steps that are done are executed again, with the recorded answers, and compared; no recorded answer is asked
    for a second time. The run's directory is replaced when the resumed run has ended.
    """
    changes = [*overrides] if endpoint is None else [*overrides, f'llm.endpoints=["{endpoint}"]']
    begun = time.perf_counter()
    resumption = again.Resumption(run, changes)
    simulation = resumption.simulation
    steps = simulation.scenario.simulation.steps
    click.echo(f"{run}: {resumption.steps_done} of {steps} steps are done; they are executed again first", err=True)
    try:
        with RunProgress(steps, quiet) as progress:
            asyncio.run(execute(simulation, progress))
    except OasisError:
        resumption.commit()
        if run.exists() and simulation.ended:
            report(simulation.summary, run, begun, as_json)
        raise
    resumption.commit()
    report(simulation.summary, run, begun, as_json)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="Show no progress.")
def replay(run: Path, quiet: bool) -> None:
    """Execute a RUN again from its records, asking no language model, and compare every step.

    Prints the state hash, which is the recorded one; exit status 1 if a step comes out differently.
    """
    with RunProgress(open_run(run).steps_done, quiet) as progress:
        state_hash = again.replay(run, progress.advance)
    click.echo(f"the same, step by step: {state_hash}")
