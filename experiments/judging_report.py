"""What the report says of a judge model: how it judged the arms, how well it agrees with itself and with numbers."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import stats

from oasis.errors import RunDirectoryError
from oasis.experiments.closed_book_report import accuracy_interval
from oasis.experiments.interfaces import Criterion, Section
from oasis.experiments.judging import JUDGEMENTS, KEYS, read_judged
from oasis.experiments.results import Results
from oasis.experiments.statistics import MIN_REPLICATES, cohens_kappa, intraclass_correlation, paired_t

__all__ = ["judged_sections"]

TITLE = "Judged by a model (secondary)"


def judged_sections(results: Results) -> list[Section]:
    """Return what was judged, by arm, then how well the judge agrees; nothing where no judge was asked."""
    criterion, judged = results.folder.kind.criterion, read_judged(results.folder.path)
    if judged is None or criterion is None:
        return []
    table = pl.read_parquet(results.folder.path / JUDGEMENTS).filter(pl.col("arm").is_in(results.arms))
    compared = _compared(table)
    rated = _rated(table)
    level = results.design.experiment.level
    unanswered = table["answer"].null_count()
    tokens = judged["tokens"]
    words = [
        f"A judge model ({judged['model']}) read what agents had written, at most {judged['pairs']} of each run, drawn;"
        f" it was shown no arm, no step and no name. {table.height:,} questions, {unanswered:,} of them without an"
        f" answer; {tokens['input'] + tokens['output']:,} tokens. The agents' own numbers above come first: a"
        " judge shares the blind spots of language models.",
        "compared: which of an agent's first and last answer is "
        + criterion.more
        + ", +1 the last, -1 the first, mean of"
        " both orders asked twice, so a liking for a place cancels out. rated: the last answer's rating less the"
        f" first's, 1 to 10 ({criterion.less} to {criterion.more}). Means over runs with t intervals; no interval below"
        f" {MIN_REPLICATES} runs.",
    ]
    if judged["model"] in {row["model"] for row in results.rows}:
        words.append(
            "The judge is the model that the agents were decided by: it may prefer what it would have written."
        )
    by_arm = Section("judged", TITLE, words, _by_arm(results, compared, rated, level), printed=True)
    return [by_arm, _agreement(results, compared, rated, criterion, level)]


_UNIT = [*KEYS, "asked"]


def _compared(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row per comparison answered: its keys, `shown`, the wave chosen."""
    return table.filter((pl.col("kind") == "compare") & pl.col("answer").is_not_null())


def _rated(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row per rating answered: its keys, the wave `shown`, `rating`."""
    mine = table.filter((pl.col("kind") == "rate") & pl.col("answer").is_not_null())
    return mine.with_columns(rating=pl.col("answer").cast(pl.Float64))


def _by_arm(results: Results, compared: pl.DataFrame, rated: pl.DataFrame, level: float) -> pl.DataFrame:
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
    runs = every.group_by("arm", "point", "replicate", maintain_order=True).agg(
        pl.col("compared").mean(), pl.col("rated").mean(), pairs=pl.len()
    )
    rows = []
    for (arm, point), part in runs.sort("replicate").group_by("arm", "point", maintain_order=True):
        found = [arm, point, part.height, int(part["pairs"].sum())]
        for name in ("compared", "rated"):
            known = part[name].drop_nulls().to_numpy()
            at = paired_t(known, 0 * known, level)
            found += [float(known.mean()) if len(known) else None, at.low, at.high]
        rows.append(found)
    numbers = [f"{name}{end}" for name in ("compared", "rated") for end in ("", "_low", "_high")]
    schema = {"arm": pl.String, "point": pl.String, "runs": pl.Int64, "pairs": pl.Int64}
    frame = pl.DataFrame(rows, {**schema, **dict.fromkeys(numbers, pl.Float64)}, orient="row")
    place = pl.col("arm").replace_strict(results.arms, list(range(len(results.arms))), return_dtype=pl.Int64)
    frame = frame.sort(place, maintain_order=True)
    return frame if results.folder.sweep else frame.drop("point")


def _agreement(
    results: Results, compared: pl.DataFrame, rated: pl.DataFrame, criterion: Criterion, level: float
) -> Section:
    """Return how often the first text shown was chosen, and how well answers repeat."""
    first_shown = (compared["shown"].str.split(",").list.first() == compared["answer"]).to_numpy()
    rows: list[tuple[str, int, float | None, float | None, float | None]] = []
    if len(first_shown):
        share = float(first_shown.mean())
        rows.append(
            ("first text shown was chosen", len(first_shown), share, *accuracy_interval(share, len(first_shown), level))
        )
    twice = _twice(compared, [*KEYS, "shown"], "answer")
    rows.append(
        (
            "the same comparison asked twice: Cohen's kappa",
            twice.height,
            _value(cohens_kappa(twice["1"], twice["2"])),
            None,
            None,
        )
    )
    orders = _orders(compared)
    rows.append(
        (
            "the other order: share that chose the same text",
            len(orders),
            float(orders.mean()) if len(orders) else None,
            None,
            None,
        )
    )
    ratings = _twice(rated, [*KEYS, "shown"], "rating")
    icc = intraclass_correlation(ratings.select("1", "2").to_numpy())
    rows.append(("the same text rated twice: ICC(2,1)", ratings.height, _value(icc), None, None))
    own = _own_numbers(results, rated)
    if own is not None:
        rows.append((_RANK, own.height, _rank_correlation(own["rating"], -own["number"]), None, None))
    names = {"agreement": pl.String, "n": pl.Int64, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    text = (
        "Near 0.5 the first line says that the judge has no liking for a place; kappa and ICC(2,1) near 1 that it"
        " repeats itself, near 0 that its answers are chance (Cohen 1960; Shrout and Fleiss 1979). The interval (Wilson"
        " 1927) takes comparisons for independent, so it is too narrow. A judge that repeats itself may still be wrong:"
        " the last line sets its ratings beside the numbers that the same agents gave in the same interview.",
    )
    return Section(
        "judge_agreement", "How well the judge agrees", text, pl.DataFrame(rows, names, orient="row"), printed=True
    )


def _twice(frame: pl.DataFrame, keys: list[str], value: str) -> pl.DataFrame:
    """Return what was answered both times: columns ``1`` and ``2``."""
    wide = frame.with_columns(pl.col("asked").cast(pl.String)).pivot("asked", index=keys, values=value)
    for name in ("1", "2"):
        if name not in wide.columns:
            wide = wide.with_columns(pl.lit(None, frame[value].dtype).alias(name))
    return wide.drop_nulls(["1", "2"])


def _orders(compared: pl.DataFrame) -> np.ndarray:
    """Return, for each asking of a pair in both orders, whether the same text was chosen."""
    wide = compared.group_by(_UNIT, maintain_order=True).agg(n=pl.len(), same=pl.col("answer").n_unique() == 1)
    return wide.filter(pl.col("n") == 2)["same"].to_numpy()


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


_RANK = "rating against the agent's own number, the other way round: Spearman's rho"


def _rank_correlation(a: pl.Series, b: pl.Series) -> float | None:
    return float(stats.spearmanr(a, b).statistic) if min(a.n_unique(), b.n_unique()) > 1 else None


def _value(number: float) -> float | None:
    return None if np.isnan(number) else float(number)
