"""From the scenario's ``[population]`` table to a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oasis.errors import ScenarioError, nearest
from oasis.plugins import parse_parameters
from oasis.population.activity import check_mean
from oasis.population.generate import GenerateParameters, generate
from oasis.population.parquet import read_population, read_posts
from oasis.population.population import Population
from oasis.population.reddit_json import read_reddit_json
from oasis.population.x_csv import read_x_csv

__all__ = ["SOURCES", "load_population"]

SOURCES = ("generate", "parquet", "reddit-json", "x-csv")


def load_population(
    source: str,
    path: str | Path | None = None,
    *,
    activity_path: str | Path | None = None,
    agents: int | None = None,
    seed: int = 0,
    mean_active: float = 0.05,
    **further: Any,
) -> Population:
    """Return the population that a scenario asks for.

    Parameters
    ----------
    source : str
        One of `SOURCES`.
    path, activity_path : path, optional
        The file or folder, and for ``x-csv`` another one with activity counts.
    agents : int, optional
        For ``generate`` only.
    **further
        Keys of `GenerateParameters`; for files ``history``: a Parquet file with posts that exist before step 1.

    Raises
    ------
    ScenarioError, PopulationError
    """
    check_mean(mean_active)
    if source not in SOURCES:
        raise ScenarioError(
            f"population.source: unknown {source!r}{nearest(source, SOURCES)}; allowed: {', '.join(SOURCES)}"
        )
    if activity_path is not None and source != "x-csv":
        raise ScenarioError(f"population.activity_path is for source 'x-csv', not {source!r}")
    if source == "generate":
        if path is not None:
            raise ScenarioError("population.path is for sources that read a file; remove it, or name such a source")
        _check_keys(further, source, ("source", "mean_active", *GenerateParameters.model_fields))
        values: Mapping[str, Any] = {**further, **({} if agents is None else {"agents": agents})}
        return generate(parse_parameters(GenerateParameters, values, "population"), seed, mean_active)
    if path is None:
        raise ScenarioError(f"population.path: source {source!r} needs its file; --set population.path=PATH")
    if agents is not None:
        raise ScenarioError("population.agents is for source 'generate'; a file has as many agents as it has rows")
    common = ("source", "path", "mean_active", "history")
    _check_keys(further, source, (*common, "activity_path") if source == "x-csv" else common)
    population = _read(source, Path(path), None if activity_path is None else Path(activity_path), mean_active)
    if "history" in further:
        _add_history(population, Path(str(further["history"])))
    return population


def _check_keys(further: Mapping[str, Any], source: str, known: Sequence[str]) -> None:
    for key in sorted(further.keys() - set(known)):
        raise ScenarioError(
            f"population.{key}: unknown key for source {source!r}{nearest(key, known)}; "
            f"allowed: {', '.join(sorted(known))}"
        )


def _read(source: str, path: Path, activity_path: Path | None, mean_active: float) -> Population:
    if source == "x-csv":
        return read_x_csv(path, activity_path, mean_active)
    if source == "reddit-json":
        return read_reddit_json(path, mean_active)
    return read_population(path, mean_active)


def _add_history(population: Population, path: Path) -> None:
    population.posts = population.posts.join(read_posts(path, len(population)))
