"""What a language model answered in the shadow of a run, as a folder: tables, numbers, a figure."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
from matplotlib import rc_context

from oasis.actions import Action, Outcome
from oasis.agents.shadow.answers import Answers
from oasis.agents.shadow.figure import shadow_figure
from oasis.agents.shadow.scoring import surprise
from oasis.agents.shadow.shadow import Shadow
from oasis.errors import OasisError, RunDirectoryError
from oasis.paths import check_absent, check_outside
from oasis.runs.figures import STYLE, save_figure

__all__ = ["asked_table", "check_folder", "occasions_table", "write_shadow"]


def check_folder(out: Path, run: Path) -> None:
    """Refuse a folder that is there already, or in the run.

    Raises
    ------
    RunDirectoryError
    """
    check_absent(out, RunDirectoryError)
    check_outside(out, run, RunDirectoryError)


def write_shadow(found: Shadow, out: Path, run: Path) -> None:
    """Write ``asked.parquet``, ``occasions.parquet``, ``llm_calls.parquet``, ``summary.json`` and ``shadow.png``.

    Raises
    ------
    RunDirectoryError
        If `out` is there already, or in the run.
    OasisError
        If it cannot be written; then nothing is left behind.
    """
    check_folder(out, run)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    summary: dict[str, Any] = {"schema_version": 1, "run": str(run), **found.summary()}
    try:
        part.mkdir(parents=True)
        asked_table(found.answers).write_parquet(part / "asked.parquet")
        occasions_table(found.answers).write_parquet(part / "occasions.parquet")
        pq.write_table(found.records, part / "llm_calls.parquet")
        (part / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
        with rc_context(STYLE):
            save_figure(shadow_figure(found), part / "shadow.png")
        os.rename(part, out)
    except OSError as error:
        raise OasisError(f"{out}: cannot be written: {error.strerror or error}; choose another --out") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def asked_table(answers: Answers) -> pl.DataFrame:
    """Return a row for each activation that was asked about.

    Returns
    -------
    polars.DataFrame
        ``step``, ``agent_id``; ``outcome`` (answered, llm_failed, llm_invalid); ``asked_actions``, ``asked_targets``
        (of the language model, null without an answer) and ``recorded_actions``, ``recorded_targets`` (-1 for none).
    """
    keys = ["step", "agent_id"]
    table = answers.activations().with_columns(
        outcome=pl.col("failed").replace_strict(
            {-1: "answered", **{int(o): o.label for o in (Outcome.LLM_FAILED, Outcome.LLM_INVALID)}},
            return_dtype=pl.String,
        )
    )
    for of in ("asked", "recorded"):
        lists = answers.actions(of).group_by(keys, maintain_order=True).agg(pl.col("action"), pl.col("target_id"))
        labels = pl.col("action").list.eval(pl.element().replace_strict(_LABELS, return_dtype=pl.String))
        lists = lists.select(*keys, labels.alias(f"{of}_actions"), pl.col("target_id").alias(f"{of}_targets"))
        table = table.join(lists, on=keys, how="left", maintain_order="left")
    return table.drop("failed")


def occasions_table(answers: Answers) -> pl.DataFrame:
    """Return a row for each occasion of an agent that the language model answered for.

    Returns
    -------
    polars.DataFrame
        ``step``, ``agent_id``, ``kind`` (post, author, comment, write), ``target_id``; ``options`` and their
        ``probabilities`` by the choice model, examination included; ``asked`` and ``recorded``, the options that were
        taken; ``log_loss`` of ``asked`` and ``entropy``, in nats.
    """
    texts, numbers = pl.List(pl.String()), pl.List(pl.Float64())
    schema = pl.Schema(
        {
            "step": pl.Int32(),
            "agent_id": pl.Int32(),
            "kind": pl.String(),
            "target_id": pl.Int32(),
            "options": texts,
            "probabilities": numbers,
            "asked": pl.String(),
            "recorded": pl.String(),
            "log_loss": pl.Float64(),
            "entropy": pl.Float64(),
        }
    )
    parts = [pl.DataFrame(schema=schema)]
    for kind, found in answers.occasions().items():
        labels = pl.Series([action.label for action in found.actions])
        loss, entropy = surprise(found)
        rows = pl.DataFrame(
            {
                "step": found.step,
                "agent_id": found.agent,
                "target_id": found.target,
                "probabilities": pl.Series(found.chances).arr.to_list(),
                "asked": labels.gather(found.asked),
                "recorded": labels.gather(found.recorded),
                "log_loss": loss,
                "entropy": entropy,
            }
        )
        rows = rows.with_columns(kind=pl.lit(kind), options=pl.lit(labels.implode()).first())
        parts.append(rows.select(schema.keys()).cast(schema))
    return pl.concat(parts).sort("step", "agent_id", maintain_order=True)


_LABELS = {int(action): action.label for action in Action}
