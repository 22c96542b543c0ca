"""What the report says of a judge model: how it judged the arms, how well it agrees with itself and with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from scipy import stats

from oasis.errors import RunDirectoryError
from oasis.experiments.interfaces import Criterion, Section
from oasis.experiments.judging import KEYS, read_judged, read_judgements
from oasis.experiments.results import ARM_AT_POINT, Results, at_point, with_points
from oasis.experiments.statistics import (
    EFFECTS,
    MIN_REPLICATES,
    Contrast,
    cohens_kappa,
    effects_table,
    intraclass_correlation,
    jackknife,
    mean_t,
)

__all__ = ["judged_sections"]

TITLE = "Judged by a model (secondary)"
PLACE = "first text shown was chosen"
_RANK = "rating against the agent's own number, the other way round: Spearman's rho"
Measure = Callable[[pl.DataFrame], float]


def judged_sections(results: Results) -> list[Section]:
    """Return what was judged, by arm and beside its baselines, then how well the judge agrees; nothing without a judge.

    Raises
    ------
    RunDirectoryError
        If what the judge said cannot be read.
    """
    criterion, judged = results.folder.kind.criterion, read_judged(results.folder.path)
    if judged is None or criterion is None:
        return []
    table = read_judgements(results.folder.path).filter(pl.col("arm").is_in(results.arms))
    compared, rated = _compared(table), _rated(table)
    runs, level = _of_runs(compared, rated), results.design.experiment.level
    by_arm = Section(
        "judged", TITLE, _words(results, judged, criterion, table), _by_arm(results, runs, level), printed=True
    )
    beside = _beside_baselines(results, runs)
    return [by_arm, *([] if beside is None else [beside]), _agreement(results, compared, rated, level)]


def _words(results: Results, judged: Mapping[str, Any], criterion: Criterion, table: pl.DataFrame) -> list[str]:
    tokens, unanswered = judged["tokens"], table["answer"].null_count()
    silent = [arm for arm in results.arms if arm not in table["arm"].unique()]
    words = [
        f"A judge model ({judged['model']}, at temperature {judged['temperature']:g}) read what agents had written. The"
        " agents' own numbers above come first: a judge shares the blind spots of language models, and nothing here was"
        " set beside what people would judge. It was shown the question and the texts, without arm, step or author;"
        " names of accounts in the texts were replaced. A text may still give itself away, by speaking of what others"
        " wrote, say.",
        f"compared: which of an agent's first and last answer is {criterion.more}, +1 the last, -1 the first; both"
        " orders were asked, each twice, and the mean is taken, so where the orders disagree it is 0 and a liking for a"
        f" place cancels out. rated: the last answer's rating less the first's, 1 to 10 ({criterion.less} to"
        f" {criterion.more}). Means over runs with t intervals; no interval below {MIN_REPLICATES} runs.",
        f"Of {judged['answered_twice']:,} agents that answered twice, {judged['drawn']:,} were judged: at most"
        f" {judged['pairs']} of each run, drawn, the same in all arms. {table.height:,} questions, {unanswered:,} of"
        f" them without a usable answer; {tokens['input'] + tokens['output']:,} tokens."
        + (f" Nothing was there to judge in {', '.join(silent)}." if silent else ""),
    ]
    if judged["model"] in {row["model"] for row in results.rows}:
        words.append(
            "The judge is the model that the agents were decided by: it may prefer what it would have written."
        )
    return words


_UNIT = [*KEYS, "asked"]


def _compared(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row per comparison answered: its keys, `shown`, the wave chosen."""
    return table.filter((pl.col("kind") == "compare") & pl.col("answer").is_not_null())


def _rated(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row per rating answered: its keys, the wave `shown`, `rating`."""
    mine = table.filter((pl.col("kind") == "rate") & pl.col("answer").is_not_null())
    return mine.with_columns(rating=pl.col("answer").cast(pl.Float64))


def _of_runs(compared: pl.DataFrame, rated: pl.DataFrame) -> pl.DataFrame:
    """Return a row per run: ``arm, point, replicate``, means over agents ``compared`` and ``rated``, ``pairs``."""
    sign = pl.when(pl.col("answer") == "last").then(1.0).otherwise(-1.0)
    orders = compared.with_columns(sign=sign).group_by([*KEYS, "shown"], maintain_order=True).agg(pl.col("sign").mean())
    both = orders.group_by(KEYS, maintain_order=True).agg(compared=pl.col("sign").mean(), orders=pl.len())
    pairs = both.filter(pl.col("orders") == 2).drop("orders")
    waves = rated.group_by([*KEYS, "shown"], maintain_order=True).agg(pl.col("rating").mean())
    wide = waves.pivot("shown", index=KEYS, values="rating", aggregate_function="first")
    if {"first", "last"} <= set(wide.columns):
        moved = wide.select(*KEYS, rated=pl.col("last") - pl.col("first"))
    else:
        moved = wide.select(*KEYS, rated=pl.lit(None, pl.Float64))
    every = pairs.join(moved, on=KEYS, how="full", coalesce=True, nulls_equal=True)
    return every.group_by("arm", "point", "replicate", maintain_order=True).agg(
        pl.col("compared").mean(), pl.col("rated").mean(), pairs=pl.len()
    )


def _by_arm(results: Results, runs: pl.DataFrame, level: float) -> pl.DataFrame:
    rows = []
    for (arm, point), part in runs.sort("replicate").group_by("arm", "point", maintain_order=True):
        found = [arm, point, part.height, int(part["pairs"].sum())]
        for name in ("compared", "rated"):
            at = mean_t(part[name].drop_nulls(), level)
            found += [at.estimate, at.low, at.high]
        rows.append(found)
    numbers = [f"{name}{end}" for name in ("compared", "rated") for end in ("", "_low", "_high")]
    schema = {"arm": pl.String, "point": pl.String, "runs": pl.Int64, "pairs": pl.Int64}
    frame = pl.DataFrame(rows, {**schema, **dict.fromkeys(numbers, pl.Float64)}, orient="row")
    place = pl.col("arm").replace_strict(results.arms, list(range(len(results.arms))), return_dtype=pl.Int64)
    frame = frame.sort(place, maintain_order=True)
    return frame if results.folder.sweep else frame.drop("point")


def _beside_baselines(results: Results, runs: pl.DataFrame) -> Section | None:
    """Return each arm less the arm that it is compared with, in the same replicates; None where there is none."""
    values = runs.with_columns(arm=ARM_AT_POINT).unpivot(
        ["compared", "rated"], index=["arm", "replicate"], variable_name="outcome", value_name="value"
    )
    there, base = set(values["arm"]), results.design.experiment.baseline
    contrasts = [
        Contrast(outcome, at_point(arm.name, point), at_point(against, point), family)
        for point in runs["point"].unique(maintain_order=True)
        for outcome in ("compared", "rated")
        for arm in results.design.arms
        if arm.name != (against := arm.against or base)
        and {at_point(arm.name, point), at_point(against, point)} <= there
        for family in ["judged" if arm.role == "arm" else "judged: baselines"]
    ]
    if not contrasts:
        return None
    config = results.design.experiment
    table = effects_table(values, contrasts, method=config.method, level=config.level, seed=config.seed)
    frame = with_points(pl.DataFrame(pl.from_arrow(table)))
    columns = ["point", *EFFECTS.names] if results.folder.sweep else EFFECTS.names
    text = (
        "Each arm less its baseline, as judged, paired by replicate as the comparisons of outcomes are; q is within"
        f" these comparisons alone. No effect is given below {MIN_REPLICATES} replicates.",
    )
    return Section("judged_baselines", "As judged, beside the baselines", text, frame.select(columns), printed=True)


def _agreement(results: Results, compared: pl.DataFrame, rated: pl.DataFrame, level: float) -> Section:
    """Return how often the first text shown was chosen, and how well answers repeat."""
    chosen = pl.col("shown").str.split(",").list.first() == pl.col("answer")
    twice, ratings = (_twice(f, [*KEYS, "shown"], v) for f, v in ((compared, "answer"), (rated, "rating")))
    measures: list[tuple[str, pl.DataFrame, Measure, float]] = [
        (PLACE, compared.with_columns(same=chosen), _share, 0.0),
        ("the same comparison asked twice: Cohen's kappa", twice, lambda f: cohens_kappa(f["1"], f["2"]), -1.0),
        ("the other order: share that chose the same text", _orders(compared), _share, 0.0),
        (
            "the same text rated twice: ICC(2,1)",
            ratings,
            lambda f: intraclass_correlation(f.select("1", "2").to_numpy()),
            -1.0,
        ),
    ]
    if (own := _own_numbers(results, rated)) is not None:
        measures.append((_RANK, own, _rank_correlation, -1.0))
    rows = []
    for name, frame, measure, least in measures:
        replicates = frame.partition_by("replicate", maintain_order=True) if frame.height else []
        at = jackknife(_of_all(measure), replicates, level, (least, 1.0))
        rows.append((name, frame.height, at.estimate, at.low, at.high))
    names = {"agreement": pl.String, "n": pl.Int64, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    text = (
        _on_place(rows[0], level),
        "kappa and ICC(2,1) near 1 say that the judge repeats itself, near 0 that its answers are chance (Cohen 1960;"
        " Shrout and Fleiss 1979). Intervals are the jackknife's over replicates; where all replicates give the same"
        f" they are that point, and below {MIN_REPLICATES} replicates there are none. A judge that repeats itself may"
        " still be wrong: the last line sets its ratings beside the numbers that the same agents gave in the same"
        " interview.",
    )
    frame = pl.DataFrame(rows, names, orient="row")
    return Section("judge_agreement", "How well the judge agrees", text, frame, printed=True)


def _on_place(row: tuple[str, int, float | None, float | None, float | None], level: float) -> str:
    """Return in words whether the judge likes a place."""
    _, n, share, low, high = row
    if share is None:
        return "No comparison was answered."
    said = f"The first text shown was chosen in {100 * share:.0f}% of {n:,} comparisons"
    if low is None or high is None:
        return f"{said}; without a liking for a place it would be 50%. Too few replicates to tell."
    said += f" ({100 * level:g}% interval {100 * low:.0f}% to {100 * high:.0f}%)"
    if low <= 0.5 <= high:
        return f"{said}: no liking for a place is shown. That is no proof that there is none."
    place = "first" if share > 0.5 else "second"
    return f"{said}: the judge has a liking for the {place} place. It cancels out above, and leaves less to see."


def _of_all(measure: Measure) -> Callable[[Sequence[pl.DataFrame]], float]:
    return lambda parts: measure(pl.concat(parts))


def _share(frame: pl.DataFrame) -> float:
    return float(frame["same"].to_numpy().mean())


def _twice(frame: pl.DataFrame, keys: list[str], value: str) -> pl.DataFrame:
    """Return what was answered both times: columns ``1`` and ``2``."""
    wide = frame.with_columns(pl.col("asked").cast(pl.String)).pivot("asked", index=keys, values=value)
    for name in ("1", "2"):
        if name not in wide.columns:
            wide = wide.with_columns(pl.lit(None, frame[value].dtype).alias(name))
    return wide.drop_nulls(["1", "2"])


def _orders(compared: pl.DataFrame) -> pl.DataFrame:
    """Return, for each asking of a pair in both orders, whether the same text was chosen: ``same``."""
    wide = compared.group_by(_UNIT, maintain_order=True).agg(n=pl.len(), same=pl.col("answer").n_unique() == 1)
    return wide.filter(pl.col("n") == 2)


def _own_numbers(results: Results, rated: pl.DataFrame) -> pl.DataFrame | None:
    """Return mean ratings beside the numbers of the same agents in the same interview: ``rating``, ``number``."""
    try:
        opinions = results.table("opinions")
    except RunDirectoryError:
        return None
    waves = [opinions.select(*KEYS, shown=pl.lit(wave), number=pl.col(wave)) for wave in ("first", "last")]
    means = rated.group_by([*KEYS, "shown"], maintain_order=True).agg(pl.col("rating").mean())
    both = means.join(pl.concat(waves), on=[*KEYS, "shown"], nulls_equal=True)
    return both.filter(pl.col("number").is_not_nan() & pl.col("number").is_not_null())


def _rank_correlation(own: pl.DataFrame) -> float:
    """Return Spearman's rho; NaN where one side is all the same."""
    if min(own["rating"].n_unique(), own["number"].n_unique()) < 2:
        return float("nan")
    return float(stats.spearmanr(own["rating"], -own["number"]).statistic)
