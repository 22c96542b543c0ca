"""``oasis fit``: a model of decisions, fitted to those of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import polars as pl

from oasis.errors import InputError
from oasis.runs.manifest import write_atomically
from oasis.runs.text_table import text_table

if TYPE_CHECKING:
    from oasis.agents.choice.fitting import Fit

__all__ = ["fit"]


@click.command()
@click.argument("policy", type=click.Choice(["choice"]))
@click.option("--from", "run", type=click.Path(path_type=Path), required=True, help="Run whose decisions are fitted.")
@click.option("--decided-by", metavar="NAME", help="Policy of the run, where it has several.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws who is held out.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the fitted policy, instead of standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print coefficients and scores as JSON.")
def fit(policy: str, run: Path, decided_by: str | None, seed: int, out: Path | None, as_json: bool) -> None:
    """Fit POLICY to the decisions recorded in a run, by a language model or any policy.

    Prints an entry of [[policies]] for a scenario; coefficients with standard errors, and how well they foretell the
    decisions of agents and steps that were held out, go to standard error.
    """
    from oasis.agents.choice.fitting import fit_choices

    if out is not None and out.exists():
        raise InputError(f"{out}: exists already; choose another file")
    found = fit_choices(run, decided_by, seed)
    if out is not None:
        write_atomically(out, found.to_toml().encode())
    if as_json:
        click.echo(json.dumps(_values(found)))
        return
    click.echo(_said(found), err=True)
    click.echo(f"written to {out}" if out is not None else found.to_toml(), nl=out is not None)


def _said(found: Fit) -> str:
    persistence, comments = found.reading
    doubtful = found.coefficients.filter(~pl.col("known") & pl.col("error").is_not_null())
    unknown = [f"{row['action']}.{row['feature']}" for row in doubtful.iter_rows(named=True)]
    count = found.counts
    parts = [
        f"{count['activations']:,} activations of {found.policy!r}, {count['undecided']:,} without an answer;"
        f" {count['elsewhere']:,} actions on what was not in the feed are left out",
        f"reading: first = 1, persistence = {persistence:g}, comments = {comments:g} (the most likely of those tried)",
        text_table(found.coefficients),
        "log loss per occasion; steps held out from " + str(count["held_from_step"]),
        text_table(found.scores),
        f"calibration error of what was held out: {found.calibration_error:.4f}",
        text_table(found.shares),
    ]
    if unknown:
        parts.append(f"not identified, the data say less than the prior: {', '.join(unknown)}")
    return "\n".join(parts)


def _values(found: Fit) -> dict[str, object]:
    return {
        "policy": found.policy,
        "reading": {"first": 1.0, "persistence": found.reading[0], "comments": found.reading[1]},
        "counts": found.counts,
        "coefficients": found.coefficients.fill_nan(None).to_dicts(),
        "scores": found.scores.to_dicts(),
        "calibration_error": found.calibration_error,
        "calibration": found.calibration.to_dicts(),
        "shares": found.shares.to_dicts(),
        "toml": found.to_toml(),
    }
