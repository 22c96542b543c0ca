"""What cascades say of the parameters they came about with: distances, posterior, and what a fit is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import optimize, stats

from oasis.errors import InputError
from oasis.experiments.measures import Shapes, SizeWindow, held_out, shape_distances
from oasis.experiments.statistics import Posterior, cross_validated, nearest, posterior

__all__ = ["LEAST", "PLANTED", "Fit", "Target", "lognormal", "planted"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PLANTED = 1
"""The replicate that stands for the data where there are none."""
LEAST = 10
"""Cascades within the window below which a draw is not compared."""
_RESAMPLES = 200


@dataclass(frozen=True)
class Target:
    """The cascades that are fitted to, and those that are held out.

    Attributes
    ----------
    size, depth : ndarray, shape (c,)
    group : ndarray, shape (c,)
        Cascades of one group are held out together.
    held_out : ndarray of bool, shape (c,)
    name : str
    """

    size: I64
    depth: I64
    group: I64
    held_out: Bools
    name: str

    @cached_property
    def window(self) -> SizeWindow:
        """The range of sizes of those that are fitted to."""
        return SizeWindow.of(self.size[~self.held_out])

    def shapes(self, rows: Bools) -> Shapes:
        """Return some of them as one set."""
        return Shapes.of([(self.size[rows], self.depth[rows])], self.window)

    def ceiling(self) -> tuple[F64, F64]:
        """Return distances of halves, and of parts as large as those fitted to and held out, shape (200, 2) each.

        Within that range the data cannot tell a model from the truth.
        """
        rng = np.random.default_rng(1)

        def apart(share: float) -> F64:
            found = []
            for _ in range(_RESAMPLES):
                out = held_out(self.group, share, rng)
                found.append(shape_distances(self.shapes(~out), self.shapes(out))[0])
            return np.array(found)

        return apart(0.5), apart(float(self.held_out.mean()))


@dataclass(frozen=True)
class Fit:
    """Draws from the prior beside a target.

    Attributes
    ----------
    names : list of str
    draws : ndarray, shape (n, p)
    shapes : Shapes
        The cascades of each draw.
    target : Target
    keep : float
    level : float
    """

    names: list[str]
    draws: F64
    shapes: Shapes
    target: Target
    keep: float
    level: float

    @classmethod
    def of(
        cls, drawn: pl.DataFrame, cascades: pl.DataFrame, target: Target, names: list[str], keep: float, level: float
    ) -> Fit:
        """Build from the tables ``drawn`` and ``cascades`` of all runs.

        Raises
        ------
        InputError
            If too few draws have cascades within the window.
        """
        values = drawn.pivot("parameter", index="replicate", values="value").sort("replicate")
        parts = {int(r[0]): part for r, part in cascades.group_by("replicate")}
        sets = [(parts[r]["scale"].to_numpy(), parts[r]["depth"].to_numpy()) for r in values["replicate"]]
        return cls(names, values.select(names).to_numpy(), Shapes.of(sets, target.window), target, keep, level)

    @cached_property
    def enough(self) -> Bools:
        """Which draws have enough cascades within the window to be compared."""
        return np.asarray(self.shapes.counts.sum(axis=1) >= LEAST)

    def distances(self, target: Shapes) -> F64:
        """Return the distance of each draw, shape (n,): that of sizes and that of depths, added up; NaN for too few."""
        return np.where(self.enough, shape_distances(self.shapes, target).sum(axis=1), np.nan)

    @cached_property
    def kept(self) -> I64:
        """The draws that are nearest to the cascades that are fitted to."""
        return nearest(self.distances(self.target.shapes(~self.target.held_out)), self.keep)

    @cached_property
    def posterior(self) -> Posterior:
        """What the kept draws say."""
        return posterior(self.draws, self.kept, self.level)

    @cached_property
    def validation(self) -> tuple[F64, F64]:
        """Error and coverage of each parameter where each kept draw is taken for the truth in turn."""
        away = np.stack([self.distances(self.shapes.take([i])) for i in self.kept])
        return cross_validated(self.draws, self.kept, away, self.keep, level=self.level)

    def beside(self) -> Mapping[str, tuple[F64, F64]]:
        """Return distances to the cascades fitted to and to those held out, of the fit and of what knows less."""
        rows = {"kept draws": self.kept, "all draws": np.flatnonzero(self.enough)}
        found = {name: self.shapes.take(at).mixed() for name, at in rows.items()}
        found["log-normal sizes"] = lognormal(self.target)
        fitted, out = (self.target.shapes(part) for part in (~self.target.held_out, self.target.held_out))
        return {name: (shape_distances(s, fitted)[0], shape_distances(s, out)[0]) for name, s in found.items()}


def lognormal(target: Target, cascades: int = 20_000) -> Shapes:
    """Return cascades that know nothing of agents: sizes log-normal, depths as often as at that size in what is fitted.

    Mean and standard deviation of the logarithm are those of greatest likelihood for sizes that were cut to the
    window.
    """
    fitted = ~target.held_out
    logs = np.log(target.size[fitted].astype(np.float64))
    window = target.window
    ends = np.log([window.low - 0.5, window.high + 0.5])

    def loss(values: F64) -> float:
        at = stats.norm(values[0], np.exp(values[1]))
        return float(-(at.logpdf(logs) - np.log(max(at.cdf(ends[1]) - at.cdf(ends[0]), 1e-300))).sum())

    found = optimize.minimize(loss, [logs.mean(), np.log(max(logs.std(), 1e-3))], method="Nelder-Mead")
    at = stats.norm(found.x[0], np.exp(found.x[1]))
    even = np.linspace(at.cdf(ends[0]), at.cdf(ends[1]), cascades + 2)[1:-1]
    sizes = np.clip(np.round(np.exp(at.ppf(even))).astype(np.int64), window.low, window.high)
    mine = target.shapes(fitted)
    some = Shapes.of([(sizes, np.zeros_like(sizes))], window)
    return Shapes(some.size, mine.depth, some.counts)


def planted(cascades: pl.DataFrame, share: float = 0.3) -> Target:
    """Return the cascades of the planted truth as if they were data.

    Raises
    ------
    InputError
        If there are too few.
    """
    mine = cascades.filter((pl.col("replicate") == PLANTED) & (pl.col("scale") > 1))
    if mine.height < 2 * LEAST:
        raise InputError(
            f"the planted truth gave {mine.height} cascades that were shared; {2 * LEAST} are needed: give more seeds"
            " or steps"
        )
    group = np.arange(mine.height)
    out = held_out(group, share, np.random.default_rng(0))
    return Target(
        mine["scale"].to_numpy().astype(np.int64),
        mine["depth"].to_numpy().astype(np.int64),
        group,
        out,
        "planted truth",
    )
