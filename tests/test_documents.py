"""What the documents show works: Python blocks run, scenarios load, commands exist with their options."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import click
import pytest
from pydantic import BaseModel

from oasis.actions import OUTSIDE_ACTIONS
from oasis.cli import main
from oasis.cli.main import COMMANDS
from oasis.experiments import baselines, measures, statistics
from oasis.experiments.design import Design
from oasis.plugins import load
from oasis.scenario import Scenario
from oasis.simulation.intervention_kinds import KINDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
LINKED = {("oasis", name) for name in ("agents", "platforms", "recsys", "experiments")}  # symlinks
PARTS = {"event", "sweep", "arms"}
"""Of a design, shown without the rest."""
COMMAND_PAGE = SimpleNamespace(**runpy.run_path(str(ROOT / "docs/build_commands.py")))


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if _blocks(d, "python")], ids=lambda d: d.name)
def test_python_blocks_run_in_order(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names: dict[str, object] = {"__name__": "document"}
    for number, block in enumerate(_blocks(document, "python"), 1):
        exec(compile(block, f"{document.name}, Python block {number}", "exec"), names)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if _blocks(d, "toml")], ids=lambda d: d.name)
def test_scenarios_in_documents_load(document: Path, tmp_path: Path) -> None:
    for block in _blocks(document, "toml"):
        path = tmp_path / "scenario.toml"
        if "[experiment]" in block:
            path.write_text(block, "utf-8")
            design = Design.load(path)
            assert {o.name for o in design.outcomes} <= load("experiments", design.experiment.kind).outcomes
            continue
        if set(part := tomllib.loads(block)) <= PARTS:
            Design.from_dict({**Design.load(load("experiments", "recsys-ab").design).to_dict(), **part})
            continue
        path.write_text(block if "[simulation]" in block else f"[simulation]\nsteps = 1000\n{block}", "utf-8")
        Scenario.load(path)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if _blocks(d, "sh")], ids=lambda d: d.name)
def test_commands_in_documents_exist(document: Path) -> None:
    for block in _blocks(document, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|", line.split(" #")[0]):
                words = shlex.split(part)
                if words and Path(words[0]).name == "oasis":
                    _parse(main, words[1:])


def _parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    context = command.make_context("oasis", list(words), parent, resilient_parsing=False)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if rest:
            found = command.get_command(context, rest[0])
            assert found is not None, f"no such command: {rest[0]}"
            _parse(found, rest[1:], context)


def test_every_command_and_option_has_help() -> None:
    for path, command in COMMAND_PAGE.commands(main):
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{' '.join(path)} {parameter.opts[0]} has no help"


def test_the_page_of_commands_is_up_to_date() -> None:
    # in a process of its own: click keeps the help option of a command's first use, and tests use some without "-h"
    code = "import runpy; print(runpy.run_path('docs/build_commands.py')['render'](), end='')"
    page = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert COMMAND_PAGE.TARGET.read_text("utf-8") == page, "run: python docs/build_commands.py"


def test_commands_are_all_registered() -> None:
    assert {path[0] for path, _ in COMMAND_PAGE.commands(main)} == set(COMMANDS)


@pytest.mark.parametrize("example", sorted(ROOT.glob("examples/*.toml")), ids=lambda p: p.name)
def test_examples_load(example: Path) -> None:
    scenario = Scenario.load(example)
    assert scenario.simulation.name == example.stem


def test_links_between_documents_lead_somewhere() -> None:
    for document in [*DOCUMENTS, ROOT / "ARCHITECTURE.md"]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
            assert (document.parent / link).exists(), f"{document.relative_to(ROOT)} -> {link}"


def test_readme_begins_with_its_two_commands() -> None:
    run, test = _blocks(ROOT / "README.md", "sh")[:2]
    assert "pip install" in run
    assert "oasis run examples/x_day.toml" in run
    assert "pytest" in test


def test_the_page_of_scenarios_names_every_key_and_intervention() -> None:
    page = (ROOT / "docs/scenarios.md").read_text("utf-8")
    for table, field in Scenario.model_fields.items():
        assert f"[{table}]" in page, table
        for key in _keys(field.annotation):
            assert f"`{key}`" in page, f"{table}.{key}"
    for kind, intervention in KINDS.items():
        if intervention.action in OUTSIDE_ACTIONS:
            assert f"`{kind}`" in page, kind


def _keys(annotation: object) -> list[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return [key for inner in get_args(annotation) for key in _keys(inner)]


def test_the_architecture_names_every_module_with_its_first_line() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for package in ("oasis", "agents", "platforms", "recsys", "experiments"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "__init__.py" or path.relative_to(ROOT).parts[:2] in LINKED:
                continue
            first = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0].rstrip(".")
            row = f"| `{path.stem}` | {first.replace('``', '`')} |"
            assert row in page, f"{path.relative_to(ROOT)}: ARCHITECTURE.md lacks the row: {row}"


def test_the_page_of_measures_names_every_public_function() -> None:
    page = (ROOT / "docs/measures.md").read_text("utf-8")
    for module in (measures, statistics, baselines):
        for name in module.__all__:
            if name not in {"EdgeFit", "Followers"}:
                assert f"`{name}`" in page, name
