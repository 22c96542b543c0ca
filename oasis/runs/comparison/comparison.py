"""Compare runs: paired differences of their metrics, step by step and over all, and where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.errors import InputError
from oasis.runs.comparison.arms import Arm, group_runs
from oasis.runs.comparison.comparable import (
    baseline_first,
    check_ignored,
    common_steps,
    metric_names,
    notes_on,
    open_runs,
)
from oasis.runs.comparison.estimates import Estimate, paired, welch
from oasis.runs.comparison.parting import Divergence, first_divergence
from oasis.runs.comparison.scenario_differences import DIFFERENCES, arm_differences
from oasis.runs.comparison.series import kind_of_metric, read_series
from oasis.runs.reading import Run

__all__ = ["Comparison", "Pair", "compare"]

F64 = npt.NDArray[np.float64]

_PAIR_COLUMNS = {
    "arm": pl.String,
    "seed": pl.Int64,
    "metric": pl.String,
    "step": pl.Int64,
    "measured": pl.Boolean,
    "difference": pl.Float64,
}
_NUMBERS = ["count", "baseline", "value", "difference", "low", "high"]


@dataclass(frozen=True)
class Pair:
    """Two runs with the same seed, of the baseline and of another arm, and where they part."""

    arm: str
    seed: int
    baseline: Path
    run: Path
    divergence: Divergence


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    arms : list of Arm
        The baseline first.
    level : float
        Of all intervals.
    first_step, last_step : int
        The measured steps: left out are warm-up, the past that branches share, and what not all runs have done.
    differs : polars.DataFrame
        What differs in the scenarios: ``arm`` and `oasis.runs.comparison.scenario_differences.DIFFERENCES`.
    estimates : polars.DataFrame
        Over all measured steps, a row per arm, metric and ``kind``: ``paired``, or ``unpaired`` (Welch) where there
        are runs without a partner. ``count`` pairs (runs of the smaller arm), means ``baseline`` and ``value``, their
        ``difference`` with ``low`` and ``high`` (null without replicates), ``variance`` of the difference,
        ``variance_unpaired`` (the same values taken as independent) and ``variance_ratio``, the second over the first.
    by_step : polars.DataFrame
        The same per step, all common steps, ``measured`` or not: ``paired``, and of arms without a pair ``unpaired``.
    by_pair : polars.DataFrame
        The difference of each pair: ``arm``, ``seed``, ``metric``, ``step``, ``measured``, ``difference``.
    by_run : polars.DataFrame
        The mean of each metric over the measured steps of each run: ``arm``, ``seed``, ``run``, ``metric``, ``mean``.
    pairs : list of Pair
    unpaired : list of (str, Run)
        Arm and run without a partner: only in estimates of kind ``unpaired``.
    notes : list of str
        What a reader of the numbers must know.
    """

    arms: list[Arm]
    level: float
    first_step: int
    last_step: int
    differs: pl.DataFrame
    estimates: pl.DataFrame
    by_step: pl.DataFrame
    by_pair: pl.DataFrame
    by_run: pl.DataFrame
    pairs: list[Pair]
    unpaired: list[tuple[str, Run]]
    notes: list[str]

    @property
    def metrics(self) -> list[str]:
        """Names of what was compared, by what it measures."""
        return self.by_run["metric"].unique(maintain_order=True).to_list()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types; what is not a finite number is null."""
        return {
            "level": self.level,
            "first_step": self.first_step,
            "last_step": self.last_step,
            "arms": [
                {
                    "arm": arm.label,
                    "baseline": number == 0,
                    "repeats": arm.repeats,
                    "runs": [{"run": str(run.path), "seed": run.manifest.seed, "state": run.state} for run in arm.runs],
                }
                for number, arm in enumerate(self.arms)
            ],
            "notes": self.notes,
            "differs": self.differs.to_dicts(),
            "estimates": self.estimates.to_dicts(),
            "divergence": [
                {
                    "arm": pair.arm,
                    "seed": pair.seed,
                    "baseline": str(pair.baseline),
                    "run": str(pair.run),
                    "first_step": pair.divergence.step,
                    "steps_compared": pair.divergence.compared,
                    "differences": [vars(difference) for difference in pair.divergence.differences],
                    "note": pair.divergence.note or None,
                }
                for pair in self.pairs
            ],
            "unpaired": [
                {"arm": label, "run": str(run.path), "seed": run.manifest.seed} for label, run in self.unpaired
            ],
            "by_run": self.by_run.to_dicts(),
            "by_step": self.by_step.to_dicts(),
        }


def compare(
    directories: Sequence[str | Path],
    *,
    baseline: str | Path | None = None,
    metrics: Sequence[str] = (),
    level: float = 0.95,
    ignored: Sequence[str] = (),
    from_step: int | None = None,
) -> Comparison:
    """Compare runs. Those that differ only in seed and name are replicates of an arm; equal seeds make pairs.

    Parameters
    ----------
    directories : sequence of path
        At least two runs, in whatever state.
    baseline : path, optional
        A run of the arm that the others are compared with; that of the first run by default.
    metrics : sequence of str
        Names; by default all that every run has.
    level : float
        Of the intervals, between 0 and 1.
    ignored : sequence of str
        Keys of the scenario, or tables, that tell no arms apart (``population.path``, say).
    from_step : int, optional
        First step that is measured; by default the first behind the warm-up and the past that branches share.

    Raises
    ------
    InputError
        For fewer than two runs, the same one twice, what is not a run, an unknown metric, or no step in common.
    """
    if not 0 < level < 1:
        raise InputError(f"the level must be between 0 and 1, such as 0.95, got {level:g}")
    runs = open_runs(directories)
    check_ignored(runs, ignored)
    arms = group_runs(runs, ignored)
    arms = baseline_first(arms, baseline, runs)
    series = {run.path: read_series(run) for run in runs}
    notes = notes_on(runs)
    steps, measured, left_out = common_steps(runs, series, from_step)
    notes += left_out
    names = metric_names(series, metrics, notes)

    def values(chosen: Sequence[Run], name: str) -> F64:
        return np.array([series[run.path].matrix_row(name, steps) for run in chosen]).reshape(len(chosen), len(steps))

    first = arms[0]
    differs, estimates, by_step, by_pair = [], [], [], []
    pairs: list[Pair] = []
    unpaired: list[tuple[str, Run]] = []
    for arm in arms[1:]:
        differs.append(arm_differences(first, arm).select(pl.lit(arm.label).alias("arm"), *DIFFERENCES))
        seeds = [seed for seed in first.seeds if seed in arm.seeds]
        old, new = [first.of_seed(s) for s in seeds], [arm.of_seed(s) for s in seeds]
        pairs += [
            Pair(arm.label, seed, a.path, b.path, first_divergence(a, b))
            for seed, a, b in zip(seeds, old, new, strict=True)
        ]
        alone = [(a.label, run) for a in (first, arm) for run in a.runs if run.manifest.seed not in seeds]
        unpaired += [entry for entry in alone if entry not in unpaired]
        for name in names:
            if seeds:
                a, b = values(old, name), values(new, name)
                estimates.append(_rows(arm, name, "paired", paired(*_means(a, b, measured), level)))
                by_step.append(_rows(arm, name, "paired", paired(a, b, level), steps, measured))
                by_pair.append(_pair_rows(arm, seeds, name, b - a, steps, measured))
            if alone:
                a, b = values(first.runs, name), values(arm.runs, name)
                both = [_mean(x, measured) for x in (a, b)]
                estimates.append(_rows(arm, name, "unpaired", welch(both[0], both[1], level)))
                if not seeds:
                    by_step.append(_rows(arm, name, "unpaired", welch(a, b, level), steps, measured))
        notes += _about_pairs(first, arm, seeds, alone)
    if len(arms) == 1:
        notes.append(
            f"all {len(runs)} runs are replicates of one arm: their scenarios differ in nothing but seed and name, so "
            "there is nothing to compare; means per run are in by_run (--json)"
        )
    by_run = [
        {"arm": arm.label, "seed": run.manifest.seed, "run": str(run.path), "metric": name,
         "mean": float(_mean(values([run], name), measured)[0, 0])}
        for name in names for arm in arms for run in arm.runs
    ]  # fmt: skip
    return Comparison(
        arms,
        level,
        int(steps[measured][0]),
        int(steps[-1]),
        pl.concat(differs) if differs else pl.DataFrame(schema={"arm": pl.String, **DIFFERENCES}),
        _frame(estimates),
        _frame(by_step, steps=True),
        pl.concat(by_pair) if by_pair else pl.DataFrame(schema=_PAIR_COLUMNS),
        pl.DataFrame(by_run).with_columns(pl.col("mean").fill_nan(None)),
        pairs,
        unpaired,
        notes,
    )


def _about_pairs(baseline: Arm, arm: Arm, seeds: Sequence[int], alone: Sequence[tuple[str, Run]]) -> list[str]:
    notes = []
    what = f"{arm.label} and {baseline.label}"
    if len(seeds) == 1:
        notes.append(f"{what}: one pair, so differences have no interval; more seeds in both arms give one")
    elif not seeds:
        notes.append(f"{what}: no seed in common, so nothing is paired; the estimates are unpaired (Welch)")
    if alone and seeds:
        notes.append(
            f"{what}: {len(alone)} runs have no partner with the same seed; they count only in the estimates marked "
            "unpaired (Welch, over all runs of both arms as if independent)"
        )
    if alone and min(len(baseline.runs), len(arm.runs)) < 2:
        notes.append(f"{what}: an arm of one run gives an unpaired estimate no interval")
    return notes


def _means(a: F64, b: F64, measured: npt.NDArray[np.bool_]) -> tuple[F64, F64]:
    """Return the mean of each run over the measured steps that both of its pair know."""
    known = ~np.isnan(a) & ~np.isnan(b)
    return tuple(_mean(np.where(known, x, np.nan), measured) for x in (a, b))  # type: ignore[return-value]


def _mean(values: F64, measured: npt.NDArray[np.bool_]) -> F64:
    chosen = values[:, measured]
    known = ~np.isnan(chosen)
    count = known.sum(axis=1, keepdims=True)
    return np.where(known, chosen, 0.0).sum(axis=1, keepdims=True) / np.where(count > 0, count, np.nan)


def _rows(
    arm: Arm,
    metric: str,
    kind: str,
    found: Estimate,
    steps: npt.NDArray[np.int64] | None = None,
    measured: npt.NDArray[np.bool_] | None = None,
) -> pl.DataFrame:
    columns: dict[str, Any] = {} if steps is None else {"step": steps, "measured": measured}
    columns |= {name: getattr(found, name) for name in (*_NUMBERS, "variance", "variance_unpaired")}
    return pl.DataFrame(columns).select(
        pl.lit(arm.label).alias("arm"),
        pl.lit(metric).alias("metric"),
        pl.lit(kind_of_metric(metric)).alias("measures"),
        pl.lit(kind).alias("kind"),
        *columns,
        variance_ratio=pl.when(pl.col("variance") > 0).then(pl.col("variance_unpaired") / pl.col("variance"))
        if kind == "paired"
        else pl.lit(None, pl.Float64),
    )


def _pair_rows(
    arm: Arm,
    seeds: Sequence[int],
    metric: str,
    difference: F64,
    steps: npt.NDArray[np.int64],
    measured: npt.NDArray[np.bool_],
) -> pl.DataFrame:
    columns = {
        "arm": pl.repeat(arm.label, difference.size, eager=True),
        "seed": np.repeat(seeds, len(steps)),
        "metric": pl.repeat(metric, difference.size, eager=True),
        "step": np.tile(steps, len(seeds)),
        "measured": np.tile(measured, len(seeds)),
        "difference": difference.ravel(),
    }
    return pl.DataFrame(columns, _PAIR_COLUMNS).with_columns(pl.col("difference").fill_nan(None))


def _frame(parts: Sequence[pl.DataFrame], steps: bool = False) -> pl.DataFrame:
    if parts:
        return pl.concat(parts).with_columns(pl.col(pl.Float64).fill_nan(None))
    names = ("arm", "metric", "measures", "kind")
    schema: dict[str, Any] = dict.fromkeys(names, pl.String)
    schema |= {"step": pl.Int64, "measured": pl.Boolean} if steps else {}
    schema |= {"count": pl.Int64} | dict.fromkeys([*_NUMBERS[1:], "variance", "variance_unpaired"], pl.Float64)
    return pl.DataFrame(schema=schema | {"variance_ratio": pl.Float64})
