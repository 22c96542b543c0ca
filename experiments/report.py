"""The report of an experiment: one self-contained page, its figures as PNG and their data as Parquet."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from oasis.errors import InputError
from oasis.experiments.closed_book_report import knowledge_section
from oasis.experiments.figures import forest
from oasis.experiments.folder import ExperimentFolder
from oasis.experiments.interfaces import Section
from oasis.experiments.judging_report import judged_sections
from oasis.experiments.results import Results, gather
from oasis.experiments.split import spread_section
from oasis.experiments.statistics import MIN_REPLICATES
from oasis.population.generate import GenerateParameters
from oasis.runs.figures import save_figure
from oasis.runs.manifest import write_atomically

__all__ = ["REPORT", "command_of", "write_experiment_report"]

REPORT = "report.html"
FIGURES = "figures"
COMPARISONS = "comparisons"
_FOLLOWS = ("mean_follows", GenerateParameters.model_fields["mean_follows"].default)


def write_experiment_report(folder: ExperimentFolder) -> tuple[Results, list[Section]]:
    """Write tables, figures and ``report.html`` of the runs that are done; return what is said in it.

    Raises
    ------
    RunDirectoryError
        If none is done, or a file is damaged.
    """
    results = gather(folder)
    results.write()
    sections = list(folder.kind.sections(results, folder.setting))
    if (knowledge := knowledge_section(results)) is not None:
        sections.insert(0, knowledge)
    sections += judged_sections(results)
    if (spread := spread_section(results)) is not None:
        sections.append(spread)
    place = folder.path / FIGURES
    place.mkdir(exist_ok=True)
    figures = {s.name: _saved(s.figure, place / f"{s.name}.png") for s in sections if s.figure is not None}
    if results.effects["estimate"].is_not_null().any():
        figures[COMPARISONS] = _saved(forest(results), place / f"{COMPARISONS}.png")
    for section in sections:
        if section.table is not None:
            section.table.write_parquet(place / f"{section.name}.parquet")
    write_atomically(folder.path / REPORT, _page(results, sections, figures).encode("utf-8", "replace"))
    return results, sections


def command_of(folder: ExperimentFolder) -> str:
    """Return the command that makes an experiment again."""
    r, words = folder.request, ["oasis", "experiment", "run", folder.design.experiment.name]
    words += ["--quick"] if r.quick else []
    words += ["--replicates", str(r.replicates)]
    words += ["--data", r.data] if r.data else []
    words += ["--llm", r.endpoint] if r.endpoint else []
    words += ["--model", r.model] if r.model else []
    words += ["--model-path", r.model_path] if r.model_path else []
    words += ["--llm-share", f"{r.llm_share:g}"] if r.llm_share is not None else []
    implied = folder.design.changes(r.quick, r.data is not None)
    for key, value in r.changes.items():
        if key not in implied or implied[key] != value:
            words += ["--set", f"{key}={json.dumps(value)}"]
    return shlex.join(words)


def _page(results: Results, sections: list[Section], figures: dict[str, str]) -> str:
    folder, design = results.folder, results.design
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figures"] = _number
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text("utf-8"))
    scenario = folder.base_scenario(folder.cells[0])
    return template.render(
        design=design,
        config=design.experiment,
        request=folder.request,
        results=results,
        cost=results.cost,
        scenario=scenario,
        scenario_json=json.dumps(scenario.to_dict(), indent=2, ensure_ascii=False),
        generated=_generated(folder),
        follows=scenario.population.further.get(*_FOLLOWS),
        least=MIN_REPLICATES,
        labels={o.name: o for o in design.outcomes},
        effects=results.effects.to_dicts(),
        equivalences=results.equivalences.to_dicts(),
        levels=_levels(results),
        sections=sections,
        tables={s.name: (_headings(s.table), s.table.rows()) for s in sections if s.table is not None},
        images=figures,
        overview=figures.get(COMPARISONS),
        limits=folder.kind.limits,
        command=command_of(folder),
        code=folder.made_by.get("code_revision") or str(folder.made_by.get("code_hash"))[:16],
        version=folder.made_by.get("versions", {}).get("oasis-sim", "?"),
    )


def _generated(folder: ExperimentFolder) -> bool:
    """Return whether the population is generated: data may bring one, or bring something else."""
    cell = folder.cells[0]
    scenario = folder.base_scenario(cell)
    try:
        scenario = folder.kind.prepare(scenario, cell, folder.setting)
    except InputError:  # the data are there no more
        return folder.request.data is None and scenario.population.source == "generate"
    return scenario.population.source == "generate"


def _levels(results: Results) -> list[dict[str, Any]]:
    declared = [o.name for o in results.design.outcomes]
    order = {name: number for number, name in enumerate(declared)}
    found = results.levels.filter(pl.col("outcome").is_in(declared) & pl.col("arm").is_in(results.arms))
    rows = found.filter(pl.col("n") > 0).to_dicts()
    return sorted(rows, key=lambda row: (row["point"] or "", order[row["outcome"]], results.arms.index(row["arm"])))


def _headings(table: pl.DataFrame) -> list[tuple[str, bool]]:
    """Return names of columns, and whether they hold numbers."""
    return [(name.replace("_", " "), dtype.is_numeric()) for name, dtype in table.schema.items()]


def _saved(figure: Figure, path: Path) -> str:
    save_figure(figure, path)
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _number(value: Any) -> str:
    """Return a number with four figures, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
