"""``oasis export``: a run in another format."""

from __future__ import annotations

from pathlib import Path

import click

from oasis.runs.export import FORMATS, export_run
from oasis.runs.reading import open_run

__all__ = ["export"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(sorted(FORMATS)), required=True, help="The format.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="File to write (csv: folder); must not exist."
)
@click.option("--handles", is_flag=True, help="Write names of accounts too; they may be of real people.")
def export(run: Path, to: str, out: Path, handles: bool) -> None:
    """Write RUN as an SQLite file, a GraphML file of the follow graph, or a folder of CSV files.

    Names of accounts (usernames, names, @mentions in texts) are left out unless --handles is given.
    """
    click.echo(export_run(open_run(run), to, out, handles))
