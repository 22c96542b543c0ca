"""``oasis population``: make, convert and look at populations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from oasis.errors import PopulationError, ScenarioError
from oasis.paths import check_absent
from oasis.plugins import load
from oasis.population import SOURCES, Population, describe, load_population, write_population
from oasis.population.figure_data import figure_data
from oasis.world.embeddings import Embedder

__all__ = ["population"]

Command = TypeVar("Command", bound=Callable[..., None])

_OPTIONS = {"agents", "mean_active", "seed"}
_FILES = [source for source in SOURCES if source != "generate"]


def _embedding_options(command: Command) -> Command:
    embedder = click.option(
        "--embedder", default="wordllama", show_default=True, help="What embeds bios and posts, for runs that need it."
    )
    return embedder(click.option("--no-embeddings", is_flag=True, help="Embed nothing.")(command))


@click.group()
def population() -> None:
    """Make, convert and look at populations."""


@population.command()
@click.option("--agents", type=click.IntRange(1), required=True, help="How many agents.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all draws.")
@click.option("--mean-active", type=float, default=0.05, show_default=True, help="Mean chance to act in a step.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A parameter, e.g. reciprocity=0.5.")
@_embedding_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
def generate(
    agents: int,
    seed: int,
    mean_active: float,
    settings: tuple[str, ...],
    embedder: str,
    no_embeddings: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Generate a population and write it as Parquet."""
    check_absent(out, PopulationError)
    embeds = _embedder(embedder, no_embeddings)
    further = dict(_setting(setting) for setting in settings)
    for key in sorted(further.keys() & _OPTIONS):
        raise ScenarioError(f"--set {key}: is an option of its own; give --{key.replace('_', '-')}")
    found = load_population("generate", agents=agents, seed=seed, mean_active=mean_active, **further)
    _write(found, out, embeds, as_json)


@population.command("import")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--path", type=click.Path(path_type=Path), help="The same as FILE.")
@click.option("--source", type=click.Choice(_FILES), required=True, help="Format of the file.")
@click.option("--activity-path", type=click.Path(path_type=Path), help="CSV with activity counts, for x-csv.")
@click.option("--mean-active", type=float, default=0.05, show_default=True, help="Mean chance to act in a step.")
@_embedding_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--json", "as_json", is_flag=True, help="Print the description as JSON.")
def import_(
    file: Path | None,
    path: Path | None,
    source: str,
    activity_path: Path | None,
    mean_active: float,
    embedder: str,
    no_embeddings: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Read a population from FILE and write it as Parquet."""
    if (file is None) == (path is None):
        raise click.UsageError("name one file, as FILE or as --path")
    check_absent(out, PopulationError)
    embeds = _embedder(embedder, no_embeddings)
    found = load_population(source, file or path, activity_path=activity_path, mean_active=mean_active)
    _write(found, out, embeds, as_json)


@population.command("describe")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--source", type=click.Choice(_FILES), help="Format [default: by the file's name].")
@click.option("--figures", type=click.Path(path_type=Path), help="Folder to make, for figures and their data.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def describe_(path: Path, source: str | None, figures: Path | None, as_json: bool) -> None:
    """Say what a population is like: size, degrees, reciprocity, groups, clusters, activity, what was refused."""
    if figures is not None:
        check_absent(figures, PopulationError)
    by_name = {".csv": "x-csv", ".json": "reddit-json"}.get(path.suffix.lower(), "parquet")
    found = load_population(source or by_name, path)
    if figures is not None:
        _draw(found, figures)
    _show(found, as_json)


def _setting(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise ScenarioError(f"--set {setting}: must be KEY=VALUE, e.g. --set reciprocity=0.5")
    try:
        return key.strip(), json.loads(text)
    except ValueError:
        return key.strip(), text


def _embedder(name: str, none: bool) -> Embedder | None:
    return None if none else load("embedders", name)()


def _write(found: Population, out: Path, embedder: Embedder | None, as_json: bool) -> None:
    write_population(found, out, embedder)
    _show(found, as_json)
    click.echo(f"written to {out}", err=True)


def _draw(found: Population, folder: Path) -> None:
    from oasis.runs.population_figures import draw_population  # matplotlib takes half a second to import

    try:
        names = draw_population(figure_data(found), folder)
    except OSError as error:
        raise PopulationError(f"{folder}: cannot be written: {error.strerror}; choose another --figures") from None
    click.echo(f"written to {folder}: {', '.join(names)}", err=True)


def _show(found: Population, as_json: bool) -> None:
    facts = describe(found)
    if as_json:
        click.echo(json.dumps(facts))
        return
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), _plain(value))
    Console().print(table)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(f"{number:.3f}" for number in value)
    if isinstance(value, dict):
        return ", ".join(f"{reason}: {count}" for reason, count in value.items()) or "none"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
