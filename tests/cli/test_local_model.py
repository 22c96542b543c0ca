"""``--llm local`` and ``--model-path``: what they change, and what is wrong with them is said before a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from oasis import Scenario
from oasis.cli.main import main
from oasis.errors import InputError, ScenarioError
from oasis.inference import MockTransport, Prompt, build
from oasis.scenario_model import llm_changes, with_model
from oasis.testing.answers import answer_from_schema, logprob_of

SCENARIO = '[simulation]\nname = "small"\nsteps = 2\n[population]\nagents = 12\nmean_active = 0.5\n'
SCORES = f'{SCENARIO}[[policies]]\nkind = "llm"\nparameters = {{ decoding = "score" }}\n'


def _fails(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO)
    return path


@pytest.mark.parametrize("command", ["run", "estimate"])
def test_a_file_that_is_no_model_is_refused(command: str, small: Path, tmp_path: Path) -> None:
    assert "no such file" in _fails(command, small, "--model-path", tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("not a model")
    assert "not a GGUF file" in _fails(command, small, "--model-path", tmp_path / "text.gguf")
    assert "leave it out" in _fails(command, small, "--model-path", tmp_path / "x.gguf", "--llm", "http://127.0.0.1:1")
    assert not (tmp_path / "runs").exists()


def test_a_missing_extra_is_named(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    (tmp_path / "m.gguf").write_bytes(b"GGUF....")
    said = _fails("run", small, "--model-path", tmp_path / "m.gguf", "--out", tmp_path / "run")
    assert "pip install 'oasis-sim[local]'" in said
    assert not (tmp_path / "run").exists()


def test_a_server_that_cannot_score_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SCORES)
    said = _fails("run", tmp_path / "s.toml", "--llm", "http://127.0.0.1:1", "--model", "m", "--out", tmp_path / "run")
    assert "--llm local" in said
    assert not (tmp_path / "run").exists()


def test_the_packaged_model_scores_and_another_writes_json(tmp_path: Path) -> None:
    scenario = Scenario.from_dict({"simulation": {"steps": 1}})
    packaged = with_model(scenario, "local", None, None)
    assert (packaged.llm.backend, packaged.llm.endpoints) == ("local", [])
    assert [(p.kind, p.parameters) for p in packaged.policies] == [("llm", {"decoding": "score"})]
    (tmp_path / "m.gguf").write_bytes(b"GGUF....")
    own = with_model(scenario, None, None, 0.5, tmp_path / "m.gguf")
    assert own.llm.model_path == str(tmp_path / "m.gguf")
    assert (own.policies[0].share, own.policies[0].parameters) == (0.5, {})


def test_a_server_takes_the_place_of_a_file(tmp_path: Path) -> None:
    local = Scenario.from_dict(
        {"simulation": {"steps": 1}, "llm": {"backend": "local", "model_path": "m.gguf"}, "policies": [{"kind": "llm"}]}
    )
    asked = with_model(local, "http://127.0.0.1:1", "m", None).llm
    assert (asked.backend, asked.model_path, asked.endpoints) == ("server", None, ["http://127.0.0.1:1/v1"])
    with pytest.raises(ScenarioError):
        llm_changes("http://127.0.0.1:1", None, tmp_path / "m.gguf")
    with pytest.raises(InputError):
        llm_changes(None, None, tmp_path / "m.gguf")


def test_a_run_stopped_and_resumed_in_this_process(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model(prompt: Prompt) -> str | float:
        if prompt.continuation is not None:
            return logprob_of(prompt.messages, prompt.continuation)
        return answer_from_schema(prompt.schema, prompt.messages[-1][1])

    monkeypatch.setattr(build, "LocalTransport", lambda *arguments: MockTransport(model))

    def run(*arguments: str | Path) -> tuple[int, dict[str, object]]:
        result = CliRunner().invoke(main, [*map(str, arguments), "--json", "--quiet"])
        return result.exit_code, json.loads(result.stdout.splitlines()[-1])

    code, whole = run("run", small, "--llm", "local", "--out", tmp_path / "whole")
    assert (code, whole["status"]) == (0, "done")
    code, stopped = run("run", small, "--llm", "local", "--set", "budget.max_calls=15", "--out", tmp_path / "run")
    assert (code, stopped["status"]) == (1, "stopped")
    code, resumed = run("resume", tmp_path / "run", "--llm", "local", "--set", "budget.max_calls=100000")
    assert code == 0
    assert resumed["state_hash"] == whole["state_hash"]
