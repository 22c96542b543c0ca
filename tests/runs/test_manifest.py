"""The manifest's names, and directories that are made whole or not at all."""

import hashlib
import json
import os

import pytest

from oasis.errors import RunDirectoryError, ScenarioError
from oasis.output_config import OutputConfig
from oasis.plugins import parse_parameters
from oasis.runs import Manifest, RunDirectory, open_run
from oasis.runs.process import PROCESS
from oasis.testing.runs import MadeUpRun

SCENARIO = {"simulation": {"name": "n", "seed": 7, "steps": 3}}


def test_names_that_scripts_rely_on(tmp_path):
    path = MadeUpRun(tmp_path / "run").finish()
    manifest = json.loads((path / "manifest.json").read_text())
    assert list(manifest)[:14] == [
        "schema_version",
        "name",
        "status",
        "seed",
        "steps_planned",
        "steps_done",
        "state_hash",
        "coverage",
        "tokens",
        "scenario",
        "versions",
        "code_revision",
        "files",
        "refused_rows",
    ]
    assert list(manifest["coverage"]) == [
        "registered",
        "active",
        "decisions",
        "decided_by",
        "llm_failed",
        "llm_invalid",
    ]
    assert list(manifest["tokens"]) == ["input", "cached", "output"]
    assert manifest["status"] == "done"
    assert manifest["steps_done"] == manifest["steps_planned"] == 6


def test_every_file_is_hashed(tmp_path):
    path = MadeUpRun(tmp_path / "run").finish()
    files = open_run(path).manifest.files
    there = {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()} - {"manifest.json"}
    assert set(files) == there
    assert {"report.html", "figures/overview.png", "figures/activity.parquet", "posts.parquet"} <= there
    for name, digest in files.items():
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest


def test_a_new_directory_says_running_before_the_first_step(tmp_path):
    RunDirectory.create(tmp_path / "a" / "run", SCENARIO, refused_rows=[{"row": 3, "reason": "repeated"}])
    manifest = open_run(tmp_path / "a" / "run").manifest
    assert (manifest.status, manifest.steps_done, manifest.seed, manifest.steps_planned) == ("running", 0, 7, 3)
    assert manifest.refused_rows == [{"row": 3, "reason": "repeated"}]
    assert manifest.versions["python"]
    assert open_run(tmp_path / "a" / "run").process_state == "alive"


def test_an_existing_directory_is_refused_and_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(RunDirectoryError, match="is there already") as caught:
        RunDirectory.create(tmp_path / "run", SCENARIO)
    assert caught.value.exit_code == 2
    assert list((tmp_path / "run").iterdir()) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="is there already"):
        RunDirectory.create(tmp_path / "file", SCENARIO)
    with pytest.raises(RunDirectoryError, match="cannot be made"):
        RunDirectory.create(tmp_path / "file" / "run", SCENARIO)
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_left_when_making_fails(tmp_path):
    class Bad(dict):
        def __getitem__(self, name):
            raise OSError(28, "No space left on device")

    with pytest.raises(RunDirectoryError, match="No space left"):
        RunDirectory.create(tmp_path / "run", SCENARIO, world=Bad(users=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no manifest.json"),
        (b"{", "not valid JSON at line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "damaged"),
        (b'{"name": "n", "seed": 1, "steps_planned": 2, "scenario": {}, "status": "dreaming"}', "status"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=message):
        open_run(tmp_path)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(RunDirectoryError, match="no such run directory"):
        open_run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="is a file"):
        open_run(tmp_path / "file")


def test_later_versions_fields_survive(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", SCENARIO)
    values = json.loads((directory.path / "manifest.json").read_text()) | {"invented_later": [1]}
    (directory.path / "manifest.json").write_text(json.dumps(values))
    again = RunDirectory.open(directory.path)
    again.update(steps_done=2)
    assert Manifest.read(directory.path).model_dump()["invented_later"] == [1]


def test_a_process_number_that_was_given_away_is_told(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", SCENARIO)
    note = json.loads((directory.path / PROCESS).read_text())
    assert directory.process_state == "alive"
    for change, state in (
        ({"started": "1"}, "dead"),
        ({"pid": 2**22 + 1, "started": None}, "dead"),
        ({"host": "elsewhere"}, "unknown"),
        ({"pid": "x"}, "unknown"),
    ):
        (directory.path / PROCESS).write_text(json.dumps(note | change))
        assert directory.process_state == state, change
    os.remove(directory.path / PROCESS)
    assert directory.process_state == "unknown"


def test_output_table_says_what_is_wrong():
    for values, message in (
        ({"impresions": "all"}, "did you mean 'impressions'"),
        ({"impressions": "some"}, "'all', 'sample' or 'none'"),
        ({"sample_share": 0}, "greater than 0"),
        ({"sample_share": float("nan")}, "sample_share"),
        ({"steps_per_block": 0}, "greater than or equal to 1"),
    ):
        with pytest.raises(ScenarioError, match=message):
            parse_parameters(OutputConfig, values, "output")
    config = OutputConfig(impressions="sample", sample_share=0.1)
    assert OutputConfig.model_validate(config.model_dump(mode="json", exclude_none=True)) == config
