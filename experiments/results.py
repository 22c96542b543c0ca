"""What an experiment gave: values of runs, differences between arms, what it cost; written beside the runs."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from oasis.errors import RunDirectoryError
from oasis.experiments.design import Outcome
from oasis.experiments.folder import OUTCOMES, RUN, ExperimentFolder
from oasis.experiments.statistics import (
    VALUES,
    Claim,
    Contrast,
    effects_table,
    equivalence_table,
    mean_t,
)
from oasis.experiments.work import TABLES
from oasis.runs import Run, open_run

__all__ = ["ARM_AT_POINT", "Cost", "Results", "at_point", "gather", "with_points"]

_AT = " @ "
ARM_AT_POINT = pl.when(pl.col("point").is_null()).then("arm").otherwise(pl.concat_str("arm", pl.lit(_AT), "point"))
"""What arms are called in comparisons: ``arm`` and ``point`` of a row as one name."""
NOTHING = "0"
"""The name of what outcomes that are effects already are compared with."""


@dataclass(frozen=True)
class Cost:
    """Of all runs together.

    Attributes
    ----------
    registered, active : tuple of int
        Least and most in a run.
    decisions : int
    decided_by : dict
    failed : int
        Decisions without an answer, or with an invalid one.
    tokens : dict
    seconds : float
        Of computing, added up over runs.
    """

    registered: tuple[int, int]
    active: tuple[int, int]
    decisions: int
    decided_by: dict[str, int]
    failed: int
    tokens: dict[str, int]
    seconds: float


class Results:
    """The runs that are done.

    Attributes
    ----------
    folder : ExperimentFolder
    rows : list of dict
        ``outcomes.json`` of each run that is done.
    """

    def __init__(self, folder: ExperimentFolder, rows: list[dict[str, Any]]) -> None:
        self.folder, self.rows, self.design = folder, rows, folder.design

    @property
    def arms(self) -> list[str]:
        """Names of arms and baselines, in the order declared."""
        return [arm.name for arm in self.design.arms if arm.role != "twin"]

    @property
    def whole(self) -> bool:
        """Whether all runs are done."""
        return len(self.rows) == len(self.folder.cells)

    @property
    def asked_model(self) -> bool:
        """Whether a language model decided for anybody."""
        return any(row["model"] for row in self.rows)

    @property
    def points(self) -> list[str | None]:
        """The point of each row, as in `values`."""
        return [_point(row["point"]) for row in self.rows]

    @cached_property
    def values(self) -> pl.DataFrame:
        """Rows of `oasis.experiments.statistics.VALUES`, with ``seed`` and ``point`` (null without a sweep)."""
        found = [
            (row["arm"], point, row["replicate"], row["seed"], name, value)
            for row, point in zip(self.rows, self.points, strict=True)
            for name, value in row["outcomes"].items()
        ]
        schema = {"arm": pl.String, "point": pl.String, "replicate": pl.Int64, "seed": pl.Int64}
        measured = pl.DataFrame(found, {**schema, "outcome": pl.String, "value": pl.Float64}, orient="row")
        derived = self.folder.kind.derived(self, self.folder.setting)
        return measured if derived is None else pl.concat([measured, derived], how="diagonal_relaxed")

    def run(self, arm: str, replicate: int) -> Run | None:
        """Return a run of an experiment without a sweep that is done and was kept."""
        for cell in self.folder.cells:
            if (cell.arm, cell.replicate) == (arm, replicate):
                kept = self.folder.place(cell) / RUN
                measured = (self.folder.place(cell) / OUTCOMES).exists()
                return open_run(kept) if measured and self.design.experiment.keep_runs else None
        return None

    def outcome(self, name: str) -> pl.DataFrame:
        """Return ``arm``, ``point``, ``replicate``, ``value`` of one outcome."""
        return self.values.filter(pl.col("outcome") == name).select("arm", "point", "replicate", "value")

    def table(self, name: str) -> pl.DataFrame:
        """Return a measured table of all runs, with ``arm``, ``point`` and ``replicate``.

        Raises
        ------
        RunDirectoryError
            If no run has it, or a file is damaged.
        """
        frames = []
        for cell in self.folder.cells:
            path = self.folder.place(cell) / TABLES / f"{name}.parquet"
            if path.exists() and (self.folder.place(cell) / OUTCOMES).exists():
                try:
                    frame = pl.read_parquet(path)
                except (OSError, pl.exceptions.PolarsError) as error:
                    raise RunDirectoryError(f"{path}: cannot be read: {str(error)[:200]}") from None
                marks = {"arm": cell.arm, "point": _point(cell.point), "replicate": cell.replicate}
                columns = [pl.lit(v, pl.Int64 if k == "replicate" else pl.String).alias(k) for k, v in marks.items()]
                frames.append(frame.with_columns(columns))
        if not frames:
            raise RunDirectoryError(f"{self.folder.path}: no run has a table {name!r}")
        return pl.concat(frames, how="vertical_relaxed")

    @cached_property
    def levels(self) -> pl.DataFrame:
        """Mean of each outcome in each arm: ``point, arm, outcome, n, mean, low, high`` (t interval of the mean)."""
        rows = []
        for (point, arm, outcome), part in self.values.group_by("point", "arm", "outcome", maintain_order=True):
            at = mean_t(part["value"].drop_nulls(), self.design.experiment.level)
            rows.append((point, arm, outcome, at.n, at.estimate, at.low, at.high))
        schema = {"point": pl.String, "arm": pl.String, "outcome": pl.String, "n": pl.Int64}
        return pl.DataFrame(rows, {**schema, **dict.fromkeys(("mean", "low", "high"), pl.Float64)}, orient="row")

    @cached_property
    def effects(self) -> pl.DataFrame:
        """Declared comparisons: `oasis.experiments.statistics.EFFECTS`, and ``point``."""
        contrasts = list(self._contrasts())
        config = self.design.experiment
        table = effects_table(
            self._arms_of_points, contrasts, method=config.method, level=config.level, seed=config.seed
        )
        return with_points(pl.DataFrame(pl.from_arrow(table)))

    @cached_property
    def equivalences(self) -> pl.DataFrame:
        """Declared claims of no difference: `oasis.experiments.statistics.EQUIVALENCES`, and ``point``."""
        claims = [
            Claim(c.outcome, c.arm, c.baseline, margin)
            for c in self._contrasts()
            if c.baseline.partition(_AT)[0] != NOTHING and (margin := self._declared(c.outcome).margin) is not None
        ]
        table = equivalence_table(self._arms_of_points, claims, level=self.design.experiment.level)
        return with_points(pl.DataFrame(pl.from_arrow(table)))

    @cached_property
    def cost(self) -> Cost:
        """Coverage and cost of all runs."""

        def total(*keys: str) -> int:
            return sum(sum(row["coverage"][key] for key in keys) for row in self.rows)

        def ends(key: str) -> tuple[int, int]:
            found = [row["coverage"][key] for row in self.rows] or [0]
            return min(found), max(found)

        decided: dict[str, int] = {}
        tokens: dict[str, int] = {}
        for row in self.rows:
            for sums, more in ((decided, row["coverage"]["decided_by"]), (tokens, row["tokens"])):
                for name, count in more.items():
                    sums[name] = sums.get(name, 0) + count
        seconds = sum(row["seconds"] for row in self.rows)
        failed = total("llm_failed", "llm_invalid")
        return Cost(ends("registered"), ends("active"), total("decisions"), decided, failed, tokens, seconds)

    def write(self) -> None:
        """Write outcomes, levels, effects, equivalences, and in ``tables/`` what was measured in all runs together."""
        tables = {"outcomes": self.values, "levels": self.levels, "effects": self.effects}
        for name, frame in {**tables, "equivalences": self.equivalences}.items():
            frame.write_parquet(self.folder.path / f"{name}.parquet")
        (self.folder.path / TABLES).mkdir(exist_ok=True)
        cells = (self.folder.place(cell) / TABLES for cell in self.folder.cells)
        for name in sorted({path.stem for place in cells for path in place.glob("*.parquet")}):
            self.table(name).write_parquet(self.folder.path / TABLES / f"{name}.parquet")

    def _declared(self, name: str) -> Outcome:
        return next(o for o in self.design.outcomes if o.name == name)

    def _contrasts(self) -> Iterable[Contrast]:
        base = self.design.experiment.baseline
        for point in self.values["point"].unique(maintain_order=True):
            there = set(self.values.filter(pl.col("point").eq_missing(point))["arm"])
            for outcome in (o for o in self.design.outcomes if o.family is not None):
                for arm in (a for a in self.design.arms if a.name in there and a.role != "twin"):
                    against = arm.against or base
                    if not fnmatch.fnmatchcase(arm.name, outcome.arms):
                        continue
                    family = outcome.family if arm.role == "arm" else f"{outcome.family}: baselines"
                    if outcome.null is not None:
                        yield Contrast(outcome.name, at_point(arm.name, point), at_point(NOTHING, point), family)
                    if arm.name != against and against in there:
                        yield Contrast(outcome.name, at_point(arm.name, point), at_point(against, point), family)

    @cached_property
    def _arms_of_points(self) -> pl.DataFrame:
        """The values, arms named with their points; with an arm that has the null value of outcomes that have one."""
        columns = [pl.col("arm"), pl.col("replicate"), pl.col("outcome"), pl.col("value")]
        named = self.values.with_columns(arm=ARM_AT_POINT).select(columns)
        nulls = [
            self.values.filter(pl.col("outcome") == o.name)
            .unique(["point", "replicate"], maintain_order=True)
            .with_columns(
                arm=pl.when(pl.col("point").is_null())
                .then(pl.lit(NOTHING))
                .otherwise(pl.concat_str(pl.lit(NOTHING + _AT), "point")),
                value=pl.lit(o.null, pl.Float64),
            )
            .select(columns)
            for o in self.design.outcomes
            if o.null is not None
        ]
        return pl.concat([named, *nulls]).select(VALUES.names)


def at_point(arm: str, point: str | None) -> str:
    """Return the name that an arm has in comparisons, where there may be a sweep: `ARM_AT_POINT` of its rows."""
    return arm if point is None else f"{arm}{_AT}{point}"


def with_points(frame: pl.DataFrame) -> pl.DataFrame:
    """Return comparisons with ``arm`` and ``baseline`` as declared, and ``point``, null without a sweep."""
    parts = pl.col("arm").str.split_exact(_AT, 1)
    return frame.with_columns(
        point=parts.struct.field("field_1"),
        arm=parts.struct.field("field_0"),
        baseline=pl.col("baseline").str.split_exact(_AT, 1).struct.field("field_0"),
    )


def _point(values: Any) -> str | None:
    """Return a point of the sweep in words; None without a sweep."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]} = {value}" for key, value in values.items()) or None


def gather(folder: ExperimentFolder) -> Results:
    """Read what was measured in the runs that are done.

    Raises
    ------
    RunDirectoryError
        If none is, or a file is damaged.
    """
    rows = []
    for cell in folder.cells:
        path = folder.place(cell) / OUTCOMES
        try:
            rows.append(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{path}: cannot be read: {str(error)[:200]}; remove it to measure again") from None
    if not rows:
        raise RunDirectoryError(f"{folder.path}: no run is done yet; go on with 'oasis experiment run'")
    return Results(folder, rows)
