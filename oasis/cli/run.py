"""``oasis run``: a scenario file becomes a run directory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import polars as pl

from oasis.cli.language_model import check_asked, endpoint_option, model_option, model_path_option
from oasis.cli.progress import RunProgress
from oasis.errors import OasisError, ReplayError
from oasis.runs import open_run
from oasis.runs.effects import Effects, effects
from oasis.runs.summary import action_counts
from oasis.scenario import Scenario
from oasis.scenario_model import with_model
from oasis.simulation import RunSummary, Simulation
from oasis.simulation.estimate import estimate
from oasis.simulation.place import NewPlace
from oasis.simulation.rerun import Outcome, Rerun

__all__ = ["carry_out", "free_directory", "report", "run"]


@click.command()
@click.argument("scenario", required=False, type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key, e.g. simulation.steps=20.")
@click.option("--seed", type=int, help="Seed of all draws, instead of the scenario's.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory to make [default: runs/NAME].")
@click.option(
    "--from-manifest", "recorded", type=click.Path(path_type=Path), metavar="RUN", help="Make a recorded run again."
)
@endpoint_option
@model_path_option
@model_option
@click.option("--llm-share", type=click.FloatRange(0, 1), help="Share of the agents that the model decides for.")
@click.option("--estimate", "predict", is_flag=True, help="Estimate calls and tokens first; the report has both.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def run(
    scenario: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    recorded: Path | None,
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    llm_share: float | None,
    predict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a SCENARIO (a TOML file) and write a run directory.

    With --llm and --model, agents of the choice model are decided for by that language model instead, unless the
    scenario has llm agents already. --llm local needs no server: it runs a GGUF file (--model-path), or the small
    packaged model, which ranks posts by scores since its own choices are at chance.

    Ctrl-C ends the run cleanly: what was done is on disk.

    With --from-manifest RUN (a run directory or its manifest) instead of a SCENARIO, that run is made again; exit
    status 1 if it comes out differently.
    """
    if (scenario is None) == (recorded is None):
        raise click.UsageError("give either SCENARIO (a TOML file) or --from-manifest RUN")
    if predict and recorded is not None:
        raise click.UsageError("--estimate is of a SCENARIO, not of --from-manifest")
    changes = [*overrides] if seed is None else [*overrides, f"simulation.seed={seed}"]
    rerun = None
    if recorded is not None:
        rerun = Rerun(recorded, lambda s: with_model(s.with_overrides(changes), endpoint, model, llm_share, model_path))
        loaded = rerun.scenario
        out = out or free_directory(Path("runs") / f"{loaded.simulation.name}-again")
        rerun.check_out(out)
    else:
        assert scenario is not None
        loaded = with_model(Scenario.load(scenario, changes), endpoint, model, llm_share, model_path)
    check_asked(loaded, model)
    out = out or Path("runs") / loaded.simulation.name
    begun = time.perf_counter()
    simulation = rerun.simulation(out) if rerun else Simulation(loaded, _place(loaded, out, predict))
    _announce(simulation, out, rerun)
    carry_out(simulation, RunProgress(loaded.simulation.steps, quiet), out, begun, as_json)
    outcome = rerun.outcome(out) if rerun else None
    report(simulation.summary, out, begun, as_json, _compared(outcome))
    if outcome and not outcome.failed and not as_json:
        click.echo(f"compared    {outcome.text}")
    if outcome and outcome.failed:
        raise ReplayError(outcome.text)


def _place(scenario: Scenario, out: Path, predict: bool) -> NewPlace:
    """Return a new run directory, which knows what the run will ask of language models where that is wanted."""
    place = NewPlace(out)
    if predict and (found := estimate(scenario)).asks:
        place.predicted = found.ranges()
    return place


def free_directory(path: Path) -> Path:
    """Return `path`, numbered where it is there already."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(p for p in chain([path], numbered) if not os.path.lexists(p))


def _compared(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    return {"same": outcome.same, "first_different_step": outcome.first_different_step, "compared": outcome.text}


def carry_out(simulation: Simulation, progress: RunProgress, out: Path, begun: float, as_json: bool) -> None:
    """Do all steps and show progress; where the run ends early, print how before the error goes on."""
    progress.watch(lambda: simulation.server_load)
    try:
        with progress:
            asyncio.run(_execute(simulation, progress))
    except OasisError:
        if simulation.ended:
            report(simulation.summary, out, begun, as_json)
        raise


async def _execute(simulation: Simulation, progress: RunProgress) -> None:
    """Do all steps; SIGINT and SIGTERM end the run in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, simulation.request_stop)
    await simulation.run(progress.show)


def _announce(simulation: Simulation, out: Path, rerun: Rerun | None) -> None:
    """Say on standard error what the run begins with and who decides."""
    world, parts = simulation.world, simulation.parts
    users = world.users
    shares = [f"{name} {int((users['policy'] == i).sum()):,}" for i, name in enumerate(parts.policy_names)]
    scenario = simulation.scenario
    click.echo(
        f"{scenario.simulation.name}: {len(users):,} agents on {scenario.platform.kind} "
        f"({', '.join(shares)}), {len(world.follows):,} follows, {len(world.posts):,} earlier posts, "
        f"{scenario.simulation.steps} steps, seed {scenario.simulation.seed} -> {out}",
        err=True,
    )
    for warning in [*simulation.warnings, *parts.warnings, *(rerun.warnings(parts) if rerun else ())]:
        click.echo(f"Warning: {warning}", err=True)
    refused = len(parts.refused_rows)
    if refused:
        click.echo(f"{refused} entries of the population were refused; see refused_rows in the manifest", err=True)


def report(
    summary: RunSummary, out: Path, begun: float, as_json: bool, further: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Print how a run ended; `further` goes into the JSON."""
    seconds = time.perf_counter() - begun
    coverage, effect = summary.coverage, _effects(summary, out)
    if as_json:
        facts = {
            "status": summary.status,
            "out": str(out),
            "steps_done": summary.steps_done,
            "state_hash": summary.state_hash,
            "coverage": coverage,
            "tokens": summary.tokens,
            "effects": None if effect is None else effect.to_dict(),
            "seconds": round(seconds, 3),
            **further,
        }
        click.echo(json.dumps(facts))
        return
    decided = ", ".join(f"{count:,} by {name}" for name, count in coverage["decided_by"].items())
    click.echo(f"{summary.status}: {summary.steps_done} steps in {seconds:.1f} s")
    per_step = "" if effect is None else f", {effect.mean_active:,.1f} a step on average"
    click.echo(
        f"agents      {coverage['registered']:,} registered, {coverage['active']:,} active at least once{per_step}"
    )
    click.echo(f"decisions   {coverage['decisions']:,}: {decided or 'none'}")
    failed = coverage["llm_failed"] + coverage["llm_invalid"]
    if failed:
        click.echo(f"failures    {coverage['llm_failed']:,} without an answer, {coverage['llm_invalid']:,} invalid")
    for line in [] if effect is None else effect.lines():
        click.echo(line)
    if any(summary.tokens.values()):
        tokens = summary.tokens
        click.echo(f"tokens      {tokens['input']:,} in ({tokens['cached']:,} cached), {tokens['output']:,} out")
    if predicted := open_run(out).manifest.predicted if (out / "manifest.json").exists() else None:
        form = "{expected:,.0f} ({low:,.0f} to {high:,.0f})"
        ranges = {name: form.format(**each) for name, each in predicted.items()}
        click.echo(f"estimated   {ranges['tokens_in']} in, {ranges['tokens_out']} out, {ranges['calls']} calls")
    if summary.state_hash:
        click.echo(f"state hash  {summary.state_hash}")
    if (out / "report.html").exists():
        click.echo(f"look at     {out}/report.html  {out}/figures/overview.png")
    elif summary.status == "done" and (message := open_run(out).manifest.message):
        click.echo(f"note        {message}")


def _effects(summary: RunSummary, out: Path) -> Effects | None:
    """Return what came of the decisions, from the run directory; None where it cannot be read."""
    try:
        run = open_run(out)
        counts = action_counts(run)
        return effects(run, counts.filter(~pl.col("outside")), summary.coverage["decisions"])
    except OasisError:  # the run failed before it wrote one; the error that ended it says why
        return None
