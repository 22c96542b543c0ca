"""The recipes for programs that are no dependency run where these are installed."""

import importlib.util
import re
from pathlib import Path

import pytest

from oasis.testing.runs import MadeUpRun

DOCUMENT = Path(__file__).parents[2] / "docs" / "analysis.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_recipes_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, block in enumerate(blocks("python"), 1):
        exec(compile(block, f"analysis.md, Python block {number}", "exec"), names)
    assert "real_scale" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["duckdb", "pandas"])
def test_recipes_of_other_programs_run(tmp_path, module):
    (block,) = [b for b in blocks("py") if f"import {module}" in b]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    exec(block, {"path": MadeUpRun(tmp_path / "run").finish(report=False)})


def test_every_recorded_column_is_documented():
    from oasis.records import STEP_TABLES
    from oasis.runs import Manifest, open_run

    text = (DOCUMENT.parent / "run-directory.md").read_text("utf-8")
    for name, schema in STEP_TABLES.items():
        for column in schema.names:
            assert f"`{column}`" in text, (name, column)
    for name in Manifest.model_fields:
        assert f"`{name}`" in text, name
    assert open_run.__doc__


def test_every_world_column_is_documented(tmp_path):
    from oasis.runs import open_run

    text = (DOCUMENT.parent / "run-directory.md").read_text("utf-8")
    run = open_run(MadeUpRun(tmp_path / "run").finish(report=False))
    for name in ("users", "posts", "comments", "follows"):
        for column in run.table(name).collect_schema():
            assert f"`{column}`" in text or column in ("age", "country"), (name, column)
