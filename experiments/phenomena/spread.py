"""Information spreading: how far, how fast and how deep posts travel under different recommenders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from oasis.experiments.baselines import Followers
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import cascade_growth, cascade_measures, generations, held
from oasis.experiments.measures.real import LAST_MINUTES
from oasis.experiments.phenomena.independent import matched_cascades
from oasis.experiments.phenomena.real_cascade import MEASURES, CascadeFiles, RealCascade
from oasis.experiments.phenomena.seeds import Seeding, cascade_posts, seeded_roots, with_seeds
from oasis.experiments.phenomena.spread_report import LIMITS, sections
from oasis.experiments.results import Results
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["SpreadParameters", "Spreading"]

I64 = npt.NDArray[np.int64]

_MEANS = ("scale", "depth", "max_breadth", "virality", "half_minutes", "burstiness")
"""Outcomes that are means over cascades."""


class SpreadParameters(Parameters):
    """``[parameters]``: the posts that are followed, and the files of real data."""

    seeds: Seeding = Seeding()
    data: CascadeFiles = CascadeFiles()
    last_minutes: list[int] = Field(default=list(LAST_MINUTES), min_length=1)


class Spreading(Kind):
    """``kind = "spread"``: see `SpreadParameters`.

    On a generated population some posts come from outside in step 1; outcomes are means over their cascades. With data
    there is one cascade: that of the source's tweet, which is in the data and in the world before step 1.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "spread.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        [*_MEANS, "branching", "extra_depth"]
        + [f"nrmse_{measure}_{last}" for measure in MEASURES for last in LAST_MINUTES]
    )
    limits: ClassVar[Sequence[str]] = LIMITS

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Add the source posts, or take the users of the real cascade."""
        parameters = parameters_of(setting)
        real = real_of(setting)
        if real is None:
            return with_seeds(scenario, parameters.seeds)
        return real.in_scenario(scenario, min(parameters.last_minutes))

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Measure the cascades of the source posts."""
        real = real_of(setting)
        roots = seeded_roots(run) if real is None else np.array([real.root])
        minutes = run.manifest.step_minutes
        posts = cascade_posts(run, roots)
        mine = pl.col("root_id").is_in(roots.tolist())
        found = cascade_measures(posts, minutes).filter(mine)
        tree = generations(posts).filter(mine)
        last = int(run.steps_done * minutes)
        curves = _mean_curves(cascade_growth(posts, minutes).filter(mine), last)
        outcomes: dict[str, float | None] = {name: _mean(found[name]) for name in _MEANS}
        passed_on = tree.filter(pl.col("generation") > 0)
        outcomes["branching"] = _ratio(float(passed_on["next_posts"].sum()), float(passed_on["posts"].sum()))
        shape = _beside_independent(run, found, cell.seed)
        outcomes["extra_depth"] = _difference(outcomes["depth"], shape["depth"][0])
        if real is not None:
            for window in real.windows(last, LAST_MINUTES):
                for measure in MEASURES:
                    error = real.error(curves[measure].to_numpy(), measure, window)
                    outcomes[f"nrmse_{measure}_{window}"] = float(error)
        followers = run.users.select(author_id="agent_id", followers="followers").collect()
        cascades = found.join(followers, on="author_id", how="left")
        strata = parameters_of(setting).seeds.stratum(cascades["followers"].to_numpy())
        tables = {"curve": curves, "generations": tree, "independent": shape}
        return Measured(outcomes, {**tables, "cascades": cascades.with_columns(stratum=pl.Series(strata))})

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show growth, generations, shape beside independent cascades; with data, errors beside baselines."""
        return sections(results, real_of(setting), parameters_of(setting).last_minutes)


def parameters_of(setting: Setting) -> SpreadParameters:
    """Return ``[parameters]``, checked.

    Raises
    ------
    ScenarioError
    """
    return parse_parameters(SpreadParameters, setting.parameters, "parameters")


def real_of(setting: Setting) -> RealCascade | None:
    """Return the real cascade that was given."""
    return None if setting.data is None else RealCascade.read(setting.data, parameters_of(setting).data)


def _mean_curves(growth: pl.DataFrame, last: int) -> pl.DataFrame:
    """Return the mean over cascades of scale, depth and breadth at minutes 0 to `last`."""
    columns: dict[str, Any] = {"minute": np.arange(last + 1)}
    parts = growth.partition_by("root_id")
    for name in ("scale", "depth", "max_breadth"):
        each = [held(part["minute"], part[name], last) for part in parts]
        columns[name] = np.mean(each, axis=0) if each else np.full(last + 1, np.nan)
    return pl.DataFrame(columns)


def _beside_independent(run: Run, found: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return one row: independent cascades of the same sources and mean scale on the graph before step 1."""
    columns = ("p", "scale", "depth", "max_breadth")
    if not found.height:
        return pl.DataFrame({name: [None] for name in columns}, dict.fromkeys(columns, pl.Float64))
    follows = run.follows.filter(pl.col("step") == 0).select("follower_id", "followee_id").collect()
    agents = run.users.select(pl.len()).collect().item()
    graph = Followers.of(agents, follows["follower_id"], follows["followee_id"])
    mean = _mean(found["scale"]) or 1.0
    matched = matched_cascades(graph, found["author_id"].to_list(), mean, seed)
    return pl.DataFrame({name: [float(getattr(matched, name))] for name in columns})


def _mean(values: pl.Series) -> float | None:
    known = values.drop_nulls()
    return float(known.mean()) if len(known) else None  # type: ignore[arg-type]


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None


def _difference(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
