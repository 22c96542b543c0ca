"""The ``oasis`` command: finds its subcommands when they are asked for, and turns errors into exit codes."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

from oasis.errors import OasisError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "branch": "oasis.cli.branch:branch",
    "branches": "oasis.cli.branch:branches",
    "compare": "oasis.cli.compare:compare_runs",
    "doctor": "oasis.cli.doctor:doctor",
    "estimate": "oasis.cli.estimate:estimate_run",
    "experiment": "oasis.cli.experiment:experiment",
    "export": "oasis.cli.export:export",
    "fit": "oasis.cli.fit:fit",
    "inspect": "oasis.cli.inspect:inspect",
    "interview": "oasis.cli.interview:interview",
    "population": "oasis.cli.population:population",
    "replay": "oasis.cli.again:replay",
    "resume": "oasis.cli.again:resume",
    "run": "oasis.cli.run:run",
    "shadow": "oasis.cli.shadow:shadow",
    "verify": "oasis.cli.verify:verify",
}


class _Commands(click.Group):
    """Imports a subcommand only when it is used, so that ``--help`` and completion answer at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OasisError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("oasis-sim"), prog_name="oasis")
def main() -> None:
    """Simulate a social platform: asynchronous agents, a recommender, and numbers that can be rerun.

    Exit status: 0 done, 1 the run failed or stopped, 2 bad usage or input.
    """
