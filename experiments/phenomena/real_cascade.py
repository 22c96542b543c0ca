"""A real cascade in a folder: its users, their follows and activity, its growth, and the baselines made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from oasis.errors import InputError, ScenarioError
from oasis.experiments.baselines import Followers, fit_edge_probability, independent_cascade
from oasis.experiments.measures import fit_saturating, normalized_rmse, read_real_minutes, step_functions
from oasis.experiments.phenomena.independent import breadth_by_round, fitted_round, scale_by_round
from oasis.interfaces import Parameters
from oasis.population import load_population
from oasis.scenario import Scenario

__all__ = ["MEASURES", "Baseline", "CascadeFiles", "RealCascade"]

F64 = npt.NDArray[np.float64]

MEASURES = ("scale", "max_breadth")
"""What is compared per minute."""
_REPLICATES = 200


class CascadeFiles(Parameters):
    """Names of files in the folder, and the agent (a row of `users`) that posted the source."""

    users: str = "False_Business_0.csv"
    activity: str = "user_all_id_time.csv"
    curve: str = "False_Business_0_real_curve.csv"
    source: int = Field(default=32, ge=0)


@dataclass(frozen=True)
class Baseline:
    """A curve that a simulation has to beat: ``values`` at minutes 0 to the last used, and what it was told."""

    name: str
    values: F64
    told: str


class RealCascade:
    """The files of a real cascade, read and checked.

    Attributes
    ----------
    users, activity : Path
    curve : polars.DataFrame
        ``minute`` 0, 1, 2 ..., ``scale``, ``depth``, ``max_breadth``.
    agents, follows : int
    graph : Followers
    source : int
    root : int
        The source's earlier post: it is there before step 1.
    """

    def __init__(self, folder: Path, files: CascadeFiles) -> None:
        if not folder.is_dir():
            raise InputError(f"{folder}: no folder; a real cascade's has the files {', '.join(_names(files))}")
        for name, what in _names(files).items():
            if not (folder / name).is_file():
                raise InputError(f"{folder / name}: is not there; it should hold {what} (data of a real cascade)")
        self.users, self.activity = folder / files.users, folder / files.activity
        self.curve = read_real_minutes(folder / files.curve)
        people = load_population("x-csv", self.users, activity_path=self.activity)
        self.agents, self.follows = len(people.username), len(people.follower)
        self.graph = Followers.of(self.agents, people.follower, people.followee)
        self.source = files.source
        posted = np.flatnonzero(people.posts.author == files.source)
        if files.source >= self.agents or len(posted) != 1:
            raise InputError(
                f"{self.users}: agent {files.source} must have one earlier tweet, the source of the cascade; it has"
                f" {len(posted)} ({self.agents} users)"
            )
        self.root = int(posted[0])

    @staticmethod
    @lru_cache(maxsize=4)
    def _read(folder: Path, names: tuple[tuple[str, str | int], ...]) -> RealCascade:
        return RealCascade(folder, CascadeFiles.model_validate(dict(names)))

    @classmethod
    def read(cls, folder: Path, files: CascadeFiles) -> RealCascade:
        """Return the cascade in a folder, read once.

        Raises
        ------
        InputError
            Naming the file that is missing or wrong, and what it should hold.
        """
        return cls._read(folder, tuple(sorted(files.model_dump().items())))

    def in_scenario(self, scenario: Scenario, last: int) -> Scenario:
        """Return a scenario with these users, that is long enough to be compared up to minute `last`.

        Raises
        ------
        ScenarioError
        """
        minutes = scenario.simulation.steps * scenario.simulation.step_minutes
        if minutes < last:
            raise ScenarioError(
                f"simulation.steps: {scenario.simulation.steps} steps of {scenario.simulation.step_minutes:g} minutes"
                f" end at minute {minutes:g}; errors are over minutes 0 to {last}, so give more steps"
            )
        own = {"source": "x-csv", "path": str(self.users), "activity_path": str(self.activity)}
        return scenario.with_values({"population": {**own, "mean_active": scenario.population.mean_active}})

    @cached_property
    def reachable(self) -> int:
        """Users whom a chain of follows joins to the source, the source included."""
        return int((independent_cascade(self.graph, [self.source], 1.0, 1, 0) >= 0).sum())

    def windows(self, minutes: float, lasts: tuple[int, ...]) -> list[int]:
        """Return the last minutes of `lasts` that both a run of so many minutes and the real curve have."""
        return [last for last in lasts if last <= min(minutes, self.curve.height - 1)]

    def baselines(self, measure: str, last: int) -> Iterator[Baseline]:
        """Yield the baselines of ``scale`` or ``max_breadth`` over minutes 0 to `last`."""
        real = self.curve[measure].to_numpy()
        less = 0 if measure == "scale" else 1
        steps = step_functions(real, self.agents - less, self.reachable - less, last)
        said = {
            "all at once": f"{self.agents} users",
            "reachable at once": f"{self.reachable} users joined to the source by follows",
            "real end": f"the real value at minute {last}",
        }
        for name, values in steps.items():
            yield Baseline(name, values, said[name])
        fit = fit_saturating(real, last)
        told = f"the real curve: level {fit.level:.3g}, {fit.minutes:.3g} minutes"
        yield Baseline("saturating exponential", fit.curve(last), told)
        yield self._independent(measure, last)

    def _independent(self, measure: str, last: int) -> Baseline:
        end = float(self.curve["scale"][last])
        p = fit_edge_probability(self.graph, [self.source], min(end, float(self.reachable)), _REPLICATES).p
        rounds = independent_cascade(self.graph, [self.source], p, _REPLICATES, 0)
        minutes, curve = fitted_round(scale_by_round(rounds), self.curve["scale"], last)
        told = f"the real scale at minute {last}: p = {p:.3g}; the real curve: {minutes} minutes a round"
        if end > self.reachable:
            told += f"; no p reaches {end:g}, follows join {self.reachable}"
        if measure != "scale":
            mean = breadth_by_round(rounds).mean(axis=0)
            curve = mean[np.minimum(np.arange(last + 1) // minutes, len(mean) - 1)]
        return Baseline("independent cascade", curve, told)

    def error(self, curves: npt.ArrayLike, measure: str, last: int) -> F64:
        """Return the normalized RMSE of each row of `curves` over minutes 0 to `last`, shape (r,) or ()."""
        return normalized_rmse(curves, self.curve[measure].to_numpy(), last)


def _names(files: CascadeFiles) -> dict[str, str]:
    return {
        files.users: "a row per user: bio, whom it follows, earlier tweets",
        files.activity: "the same users with 24 hourly counts of activity each",
        files.curve: "minute, scale, depth, max_breadth of the real cascade",
    }
