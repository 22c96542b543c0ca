"""The report of a run: one self-contained page, decision coverage and cost first, and its figures."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined

from oasis.runs.figure_data import figure_data
from oasis.runs.figures import draw_figures
from oasis.runs.handles import NAME_COLUMNS
from oasis.runs.manifest import Manifest, write_atomically
from oasis.runs.reading import Run, open_run
from oasis.runs.summary import Summary, history, server_lines, summarise

__all__ = ["FIGURES_FOLDER", "REPORT", "render_report", "write_report"]

REPORT = "report.html"
FIGURES_FOLDER = "figures"

_REFUSED_SHOWN = 50
_STATES = {
    "stopped": "was stopped",
    "failed": "failed",
    "killed": "was killed",
    "running": "has not ended",
}


def write_report(directory: Path, top_cascades: int = 10, manifest: Manifest | None = None) -> Path:
    """Write ``figures/`` and ``report.html`` of a run and return the report's path.

    Parameters
    ----------
    manifest : Manifest, optional
        Instead of the one on disk, for a run that is about to end.

    Raises
    ------
    RunDirectoryError
        If a file that it needs is missing or damaged.
    """
    run = open_run(directory) if manifest is None else Run(directory, manifest)
    summary = summarise(run, top_cascades)
    folder = directory / FIGURES_FOLDER
    title = f"{_count(summary.coverage['registered'], 'registered agent')} on {_platform(run)}"
    names = draw_figures(figure_data(run), folder, title, subtitle(summary))
    figures = {name: _data_uri(folder / f"{name}.png") for name in names}
    page = render_report(summary, figures)
    write_atomically(directory / REPORT, page.encode("utf-8", "replace"))
    return directory / REPORT


def render_report(summary: Summary, figures: dict[str, str]) -> str:
    """Return the page. Texts of agents are escaped, its policy forbids scripts, and it loads nothing.

    Parameters
    ----------
    figures : dict
        Data URI of each figure by name; ``overview`` is shown first.
    """
    manifest, coverage = summary.run.manifest, summary.coverage
    decisions = coverage["decisions"]
    output = manifest.scenario.get("output", {})
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text("utf-8"))
    return template.render(
        manifest=manifest,
        summary=summary,
        subtitle=subtitle(summary),
        state_words=_STATES.get(summary.state, summary.state),
        coverage=coverage,
        effects=summary.effects,
        cascades=summary.cascades.filter(pl.col("size") > 1),
        failed=coverage["llm_failed"] + coverage["llm_invalid"],
        share=lambda count: f"{count / decisions:.1%}" if decisions else "–",
        figures=figures,
        history=history(manifest),
        server_lines=server_lines(manifest),
        refused=[
            {key: value for key, value in row.items() if key not in NAME_COLUMNS}
            for row in manifest.refused_rows[:_REFUSED_SHOWN]
        ],
        kept=output.get("impressions", "all"),
        sample_share=output.get("sample_share", 1.0),
        scenario=json.dumps(manifest.scenario, indent=2, ensure_ascii=False),
    )


def subtitle(summary: Summary) -> str:
    """Return a run in a line, without names that a user gave."""
    manifest = summary.run.manifest
    minutes = manifest.step_minutes * summary.steps_done
    time = f"{minutes / 60:g} simulated hours" if minutes >= 120 else f"{minutes:g} simulated minutes"
    done = (pl.col("outcome") == "accepted") & (pl.col("action") != "do_nothing")
    accepted = summary.actions.filter(done)["count"].sum()
    parts = [
        f"{summary.coverage['active']:,} active at least once",
        f"{_count(summary.steps_done, 'step')} ({time})",
        _count(summary.coverage["decisions"], "decision"),
        _count(int(accepted), "accepted action"),
        f"seed {manifest.seed}",
    ]
    if summary.state != "done":
        parts.append(_STATES.get(summary.state, summary.state).upper())
    return " · ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _platform(run: Run) -> str:
    kind: Any = run.manifest.scenario.get("platform", {}).get("kind", "a platform")
    return {"x": "X", "reddit": "Reddit"}.get(kind, str(kind))


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
