"""Group polarization: whether agents that lean one way on a choice dilemma lean further when they read each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.experiments.interfaces import Cell, Criterion, Kind, Measured, Section, Setting
from oasis.experiments.measures import ashmans_d, assortativity, bimodality_coefficient, polarization
from oasis.experiments.phenomena.advice import advice
from oasis.experiments.phenomena.dilemma import (
    ANSWER,
    MIXED,
    PRIMES,
    STANCE,
    STANCE_SCALE,
    in_scenario,
    opinions_of_stances,
    population_of,
)
from oasis.experiments.phenomena.polarization_report import LIMITS, sections
from oasis.experiments.results import Results
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["Polarization", "opinions_over_time"]

F64 = npt.NDArray[np.float64]


class Polarization(Kind):
    """``kind = "polarization"``: see `oasis.experiments.phenomena.dilemma.DilemmaParameters`.

    The name of an arm begins with its population: ``risky``, ``cautious`` or ``mixed``. Populations are made for each
    replicate; a shared one is not for this kind, since primes change profiles.
    """

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "polarization.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        ["shift", "group_shift", "first_mean", "final_mean", "variance_change", "assortativity", "bimodality"]
        + ["separation", "answered"]
    )
    limits: ClassVar[Sequence[str]] = LIMITS
    criterion = Criterion(
        "Which of the two is readier to take the risk?",
        "How small may the chance of success be for this answer to take the risk? 1: it must be certain; 10: 1 in 10.",
        "readier for the risk",
        "more cautious",
    )

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Prime the population, pose the dilemma, schedule the interviews."""
        return in_scenario(scenario, cell, setting)

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Measure how opinions moved between the first interview and the last."""
        found = opinions_over_time(run)
        steps = np.unique(found["step"].to_numpy())
        wide = found.pivot("step", index="agent_id", values="opinion").sort("agent_id")
        panel = wide.drop("agent_id").to_numpy().T.astype(np.float64)  # (waves, agents asked)
        agents = wide["agent_id"].to_numpy()
        groups = run.users.select("agent_id", "group").collect().sort("agent_id")["group"].cast(pl.String)
        group = groups.to_numpy()[agents]
        first, last = panel[0], panel[-1]
        mixed = population_of(cell.arm) == MIXED
        halves = [panel[:, group == prime] for prime in PRIMES]
        outcomes: dict[str, float | None] = {
            "shift": float(polarization(panel)[-1]),
            "first_mean": _mean(first),
            "final_mean": _mean(last),
            "variance_change": _variance_change(first, last),
            "assortativity": _assortativity(run, agents, last),
            "answered": float((~np.isnan(last)).mean()),
            "group_shift": float(np.mean([polarization(half)[-1] for half in halves])) if mixed else None,
            "bimodality": bimodality_coefficient(last) if mixed else None,
            "separation": ashmans_d(*(half[-1] for half in halves)) if mixed else None,
        }
        over_time = [
            pl.DataFrame({"after": steps - 1, "group": name, "opinion": [_mean(row) for row in part]})
            for name, part in (("all", panel), *zip(PRIMES, halves, strict=True))
            if part.shape[1]
        ]
        people = pl.DataFrame({"agent_id": agents, "group": group.astype(str), "first": first, "last": last})
        tables = {"opinions": people}
        if (said := advice(run)).height:
            tables["answers"] = said
        schema = {"after": pl.Int64, "group": pl.String, "opinion": pl.Float64}
        return Measured(outcomes, {"over_time": pl.concat(over_time).cast(schema), **tables})  # type: ignore[arg-type]

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show shifts beside baselines, means over time, and opinions before and after."""
        return sections(results, setting)


def opinions_over_time(run: Run) -> pl.DataFrame:
    """Return the opinion of each agent asked in each interview, in tenths: ``step, agent_id, opinion``; NaN: no answer.

    An agent of the choice model has its exact stance, on the line of `opinions_of_stances`; others have their answer.
    """
    low, high = STANCE_SCALE
    stance = 2 * (pl.col("value") - low) / (high - low) - 1
    exact = pl.col("question_id") == STANCE
    known = (
        run.interviews.filter(pl.col("question_id").is_in([ANSWER, STANCE]))
        .with_columns(value=pl.when(pl.col("outcome").cast(pl.String) == "accepted").then("value"), exact=exact)
        .sort("exact")
        .with_columns(value=pl.when("exact").then(stance).otherwise("value"))
        .unique(["step", "agent_id"], keep="last", maintain_order=True)
        .sort("step", "agent_id")
        .collect()
    )
    values = known["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    opinion = np.where(known["exact"].to_numpy(), opinions_of_stances(values), values)
    return known.select("step", "agent_id").with_columns(opinion=pl.Series(opinion))


def _mean(opinions: F64) -> float | None:
    known = opinions[~np.isnan(opinions)]
    return float(known.mean()) if len(known) else None


def _variance_change(first: F64, last: F64) -> float | None:
    """Return the variance of opinions at the end over that at first, less 1, over agents that answered both times."""
    both = ~np.isnan(first) & ~np.isnan(last)
    if both.sum() < 2 or np.ptp(first[both]) == 0:
        return None
    return float(last[both].var(ddof=1) / first[both].var(ddof=1) - 1)


def _assortativity(run: Run, agents: npt.NDArray[np.int32], opinion: F64) -> float:
    """Return the assortativity of opinions over the follows at the end."""
    known = np.full(run.manifest.coverage.registered, np.nan)
    known[agents] = opinion
    follows = run.follows.select("follower_id", "followee_id").collect()
    return assortativity(follows["follower_id"], follows["followee_id"], known)
