"""`oasis compare`: what differs between runs, by how much, and from where on."""

from __future__ import annotations

import json
from pathlib import Path

import click
import polars as pl

from oasis.errors import RunDirectoryError
from oasis.paths import check_absent
from oasis.runs.comparison import Comparison, compare
from oasis.runs.text_table import one_line, text_table

__all__ = ["compare_runs"]

_LISTED = 5  # pairs whose parting is printed


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@click.option("--baseline", type=click.Path(path_type=Path), metavar="RUN", help="A run of the arm to compare with.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric; may be repeated.")
@click.option("--from-step", type=int, metavar="K", help="First step that is measured.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level of the intervals.")
@click.option(
    "--ignore", "ignored", multiple=True, metavar="KEY", help="A key of the scenario that tells no arms apart."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write figure and differences there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def compare_runs(
    runs: tuple[Path, ...],
    baseline: Path | None,
    metrics: tuple[str, ...],
    from_step: int | None,
    level: float,
    ignored: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare runs: differences of their metrics with intervals, what differs in their scenarios, where they part.

    Runs that differ only in seed and name are replicates of one arm; the first RUN's arm is the baseline. Runs of two
    arms with the same seed are a pair, and differences are taken within pairs. Warm-up is left out, and the past
    that branches share.
    """
    if out is not None:
        check_absent(out, RunDirectoryError)
    found = compare(runs, baseline=baseline, metrics=metrics, level=level, ignored=ignored, from_step=from_step)
    if out is not None:
        from oasis.runs.comparison.figure import write_comparison  # matplotlib takes half a second to load

        write_comparison(found, out)
    click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2) if as_json else _text(found))
    if out is not None:
        click.echo(f"figure and tables are in {out}", err=True)


def _text(found: Comparison) -> str:
    runs = sum(len(arm.runs) for arm in found.arms)
    several = "s" if len(found.pairs) != 1 else ""
    lines = [
        f"{runs} runs, {_count(len(found.arms), 'arm')}, {len(found.pairs)} pair{several} with the same seed; "
        f"steps {found.first_step:,} to {found.last_step:,}, intervals at {100 * found.level:g}%"
    ]
    lines += [f"note: {one_line(note, 2000)}" for note in found.notes]
    lines += ["", text_table(_arms(found), width=100)]
    for arm in found.arms[1:]:
        differs = found.differs.filter(arm=arm.label)
        lines += ["", f"what differs in the scenario of {arm.label}"]
        if differs.height:
            lines.append(text_table(_differs(differs), width=70))
        else:
            lines.append(f"nothing: the scenario and seeds are those of {arm.repeats or found.arms[0].label}")
        for kind in found.estimates.filter(arm=arm.label)["kind"].unique(maintain_order=True):
            lines += ["", *_estimates(found, arm.label, kind)]
        if any(pair.arm == arm.label for pair in found.pairs):
            lines += ["", f"first divergence of {arm.label} from {found.arms[0].label}", *_partings(found, arm.label)]
    if len(found.arms) == 1:
        lines += ["", *_means(found)]
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _arms(found: Comparison) -> pl.DataFrame:
    rows = []
    for number, arm in enumerate(found.arms):
        parent = arm.runs[0].manifest.parent
        what = "baseline" if number == 0 else f"repeats {arm.repeats}" if arm.repeats else ""
        branch = "" if parent is None else f"branch of {parent.name} after step {parent.step}"
        paths = ", ".join(str(run.path) for run in arm.runs)
        seeds = ", ".join(str(seed) for seed in arm.seeds)
        rows.append((arm.label, len(arm.runs), "; ".join(w for w in (what, branch) if w) or None, seeds, paths))
    return pl.DataFrame(rows, ["arm", "runs", "what", "seeds", "directories"], orient="row").drop(
        [] if any(row[2] for row in rows) else ["what"]
    )


def _differs(differs: pl.DataFrame) -> pl.DataFrame:
    whole = differs["first_step"].n_unique() == 1 and differs["first_step"][0] == 1 and differs["last_step"][0] is None
    last = pl.col("last_step").cast(pl.String).fill_null("end")
    steps = [] if whole else [pl.format("{} to {}", "first_step", last).alias("steps")]
    return differs.select(*steps, "key", "change", "baseline", "value")


def _estimates(found: Comparison, arm: str, kind: str) -> list[str]:
    rows = found.estimates.filter(arm=arm, kind=kind)
    told = rows.filter(~((pl.col("baseline").fill_null(0) == 0) & (pl.col("value").fill_null(0) == 0)))
    dull = rows.height - told.height
    baseline = found.arms[0].label
    how = {
        "paired": "paired differences",
        "unpaired": "UNPAIRED differences (Welch: all runs of both arms as if independent)",
    }[kind]
    columns = [
        "measures",
        "metric",
        pl.col("baseline").alias(baseline),
        pl.col("value").alias(arm),
        "difference",
        "low",
        "high",
        pl.col("count").alias("pairs" if kind == "paired" else "runs"),
    ]
    if kind == "paired" and rows["variance_ratio"].is_not_null().any():
        columns.append(pl.col("variance_ratio").alias("unpaired/paired variance"))
    heading = f"{how}, {arm} - {baseline}, mean of steps {found.first_step:,} to {found.last_step:,}"
    lines = [heading]
    lines.append(text_table(told.select(columns)) if told.height else "every metric is zero or unknown in both")
    if told.height and dull:
        lines.append(f"({_count(dull, 'metric')} that are zero or unknown in both are left out; --json has them)")
    return lines


def _partings(found: Comparison, arm: str) -> list[str]:
    pairs = [pair for pair in found.pairs if pair.arm == arm]
    lines = [f"seed {pair.seed}: {one_line(pair.divergence.sentence(arm), 500)}" for pair in pairs[:_LISTED]]
    if len(pairs) > _LISTED:
        steps = [pair.divergence.step for pair in pairs]
        parted = sorted(step for step in steps if step is not None)
        what = f"of all {len(pairs)} pairs {len(parted)} part"
        if parted:
            what += f", the first at step {parted[0]:,}, the last at step {parted[-1]:,}"
        lines.append(f"... {what} (--json lists all)")
    return lines


def _means(found: Comparison) -> list[str]:
    means = found.by_run.group_by("metric", maintain_order=True).agg(
        pl.col("mean").mean(), lowest=pl.col("mean").min(), highest=pl.col("mean").max()
    )
    return ["means over the measured steps, of all runs", text_table(means.filter(pl.col("mean").fill_null(0) != 0))]
