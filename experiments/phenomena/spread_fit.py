"""Fitting the choice model to real cascades: draws from a prior, of which those are kept that come near the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from oasis.errors import InputError
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import followed_cascades, held_out, read_real_cascades, related
from oasis.experiments.phenomena.seeds import Seeding, cascade_posts, seeded_roots, with_seeds
from oasis.experiments.phenomena.spread_fit_report import LIMITS, sections
from oasis.experiments.phenomena.spread_inference import PLANTED, Target
from oasis.experiments.results import Results
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.randomness import Draws
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["SpreadFit", "SpreadFitParameters", "real_target"]


class CascadesFile(Parameters):
    """``[parameters.data]``: the table of real cascades in the data folder, and how it is parted.

    Attributes
    ----------
    file : str
    same_story : list of lists of str
        Topics that tell one story.
    test : list of str
        Topics that are held out in any case, with all that shares a root user or story with them.
    test_share : float
    """

    file: str = "cascades_99.csv"
    same_story: list[list[str]] = []
    test: list[str] = []
    test_share: float = Field(default=0.3, gt=0, lt=1)


class SpreadFitParameters(Parameters):
    """``[parameters]``.

    Attributes
    ----------
    prior : dict
        Key of the scenario to the least and greatest value: each run draws from this range, evenly.
    truth : dict
        The same keys to values. Without data replicate 1 has these, and its cascades are taken for the data.
    keep : float
        Share of the draws that is kept.
    """

    prior: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(min_length=1)
    truth: dict[str, float]
    keep: float = Field(default=0.1, gt=0, lt=1)
    seeds: Seeding = Seeding()
    data: CascadesFile = CascadesFile()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, (low, high) in self.prior.items():
            if not low < high:
                raise ValueError(f"prior: {key!r} is from {low:g} to {high:g}; the first must be less")
        if self.truth.keys() != self.prior.keys():
            raise ValueError(f"truth: has {', '.join(self.truth) or 'nothing'}; prior has {', '.join(self.prior)}")
        return self


class SpreadFit(Kind):
    """``kind = "spread-fit"``: see `SpreadFitParameters`.

    A run is one draw from the prior, and gives many cascades: those of posts from outside, which nothing competes with
    but themselves. The parameters whose cascades are distributed like the real ones are what the data say of them.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "spread-fit.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(["scale", "depth", "shared"])
    limits: ClassVar[Sequence[str]] = LIMITS

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Draw the parameters, and add the source posts."""
        parameters = _parameters(setting)
        if setting.data is not None:
            real_target(setting.data, parameters.data)
        return with_seeds(scenario.with_values(_values(cell, parameters, setting)), parameters.seeds)

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Measure the cascades of the source posts."""
        roots = seeded_roots(run)
        follows = run.follows.filter(pl.col("step") == 0).select("follower_id", "followee_id").collect()
        posts = cascade_posts(run, roots).filter(pl.col("root_id").is_in(roots.tolist()))
        found = followed_cascades(posts, follows)
        values = _values(cell, _parameters(setting), setting)
        drawn = pl.DataFrame(
            {"parameter": list(values), "value": list(values.values())}, {"parameter": pl.String, "value": pl.Float64}
        )
        outcomes = {
            "scale": float(found["scale"].to_numpy().mean()),
            "depth": float(found["depth"].to_numpy().mean()),
            "shared": float((found["scale"] > 1).to_numpy().mean()),
        }
        return Measured(outcomes, {"cascades": found, "drawn": drawn})

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show what the cascades say of each parameter, and how near the fitted model comes to those held out."""
        parameters = _parameters(setting)
        target = None if setting.data is None else real_target(setting.data, parameters.data)
        return sections(results, target, parameters.prior, parameters.truth, parameters.keep)


def _parameters(setting: Setting) -> SpreadFitParameters:
    return parse_parameters(SpreadFitParameters, setting.parameters, "parameters")


def _values(cell: Cell, parameters: SpreadFitParameters, setting: Setting) -> Mapping[str, Any]:
    if setting.data is None and cell.replicate == PLANTED:
        return parameters.truth
    bounds = np.array(list(parameters.prior.values()))
    even = Draws(cell.seed).uniform("spread_fit.prior", 0, np.arange(len(bounds), dtype=np.uint64))
    return dict(zip(parameters.prior, (bounds[:, 0] + even * (bounds[:, 1] - bounds[:, 0])).tolist(), strict=True))


def real_target(folder: Path, data: CascadesFile) -> Target:
    """Read the real cascades of a folder, parted.

    Raises
    ------
    InputError
        Naming the file or key that is missing or wrong.
    """
    table = read_real_cascades(folder / data.file)
    try:
        group = related(table, data.same_story)
    except InputError as error:
        raise InputError(f"parameters.data.same_story: {folder / data.file}: {error}") from None
    topics = table["topic_name"].to_list()
    if unknown := [topic for topic in data.test if topic not in topics]:
        raise InputError(f"parameters.data.test: {folder / data.file}: no cascade has the topic {unknown[0]!r}")
    first = group[[topics.index(topic) for topic in data.test]]
    out = held_out(group, data.test_share, np.random.default_rng(0), first)
    return Target(table["num_users"].to_numpy(), table["max_depth"].to_numpy(), group, out, str(data.file))
