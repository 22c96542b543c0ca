"""What a run is made of is in its manifest, and each thing that is another now is named."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oasis
from oasis import Scenario, Simulation
from oasis.agents.prompting.templates import Templates
from oasis.digests import sources_digest
from oasis.plugins import origin
from oasis.runs import Manifest
from oasis.runs import provenance as environment
from oasis.simulation.provenance import differences, provenance
from oasis.testing.servers import StubServer

ROOT = Path(oasis.__file__).parent


def scenario(folder: Path, **tables: Any) -> Scenario:
    (folder / "users.csv").write_text("user_id,username,following_agentid_list\n0,ann,[1]\n1,bob,[0]\n")
    base: dict[str, Any] = {
        "simulation": {"steps": 2},
        "population": {"source": "x-csv", "path": "users.csv", "mean_active": 1.0},
        "recsys": {"embedder": "hashed-ngrams"},
        "output": {"report": False, "sync": False},
    }
    return Scenario.from_dict(base | tables)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.chdir(tmp_path)
    with StubServer(pages={"/version": {"version": "0.32.0"}}) as server:
        llm = {"endpoints": [server.url], "model": "stub"}
        Simulation(scenario(tmp_path, policies=[{"kind": "llm"}], llm=llm), "run").run_sync()
    return Manifest.read(tmp_path / "run")


def now(recorded: Manifest) -> dict[str, Any]:
    return provenance(Simulation(Scenario.from_dict(recorded.scenario)).parts)


def test_the_manifest_says_what_a_run_is_made_of(recorded: Manifest, tmp_path: Path) -> None:
    path = str(tmp_path / "users.csv")
    assert recorded.scenario["population"]["path"] == path
    assert list(recorded.inputs) == [path]
    assert recorded.components["policies"] == {"llm": f"oasis-sim {recorded.versions['oasis-sim']}"}
    assert list(recorded.components["recommenders"]) == ["interest"]
    assert recorded.embedder is not None
    assert recorded.embedder.startswith("hashed-ngrams 1/")
    assert recorded.model == "stub"
    (server,) = recorded.servers
    assert (server["reported"], server["version"]) == ({"id": "stub"}, "0.32.0")
    assert differences(recorded, now(recorded)) == []


def test_a_run_without_a_model_has_no_templates_nor_servers(tmp_path: Path) -> None:
    values = scenario(tmp_path).to_dict() | {"population": {"agents": 20}}
    Simulation(Scenario.from_dict(values), tmp_path / "run").run_sync()
    made = Manifest.read(tmp_path / "run")
    assert made.model is made.prompt_templates is None
    assert made.inputs == {}
    assert made.servers == []


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("versions.numpy", "1.0", "numpy was {0}, is 1.0"),
        ("versions.python", "3.99.1", "Python was {0}, is 3.99.1"),
        ("versions.cpu_features", "SSE", "the processor's features were {0}, are SSE"),
        ("versions.tokenizers", None, "tokenizers was {0}, is not installed"),
        ("versions.system", "other", None),
        ("versions.xllamacpp", "0", None),  # this run asked a server
        ("code_revision", "other", None),
        ("code_hash", "ff", "the code of oasis-sim {1} was changed: sha256 {2} -> sha256 ff"),
        ("embedder", None, "the embedder was {0}, is none"),
        ("model", "other", "llm.model was stub, is other"),
        ("prompt_templates", "ff", "the prompt templates were changed: sha256 {2} -> sha256 ff"),
        ("components.policies", {"choice": "oasis-sim 1"}, "policies were llm, are choice"),
        ("components.policies", {"llm": "lab 1"}, "llm (of policies) was from oasis-sim {1}, is from lab 1"),
    ],
)
def test_each_difference_is_named(recorded: Manifest, field: str, value: Any, sentence: str | None) -> None:
    changed = now(recorded)
    table, _, key = field.rpartition(".")
    place = changed[table] if table else changed
    was = place.get(key)
    if value is None and table:
        del place[key]
    else:
        place[key] = value
    version = recorded.versions["oasis-sim"]
    assert differences(recorded, changed) == (
        [] if sentence is None else [sentence.format(was, version, str(was)[:12])]
    )


def test_what_an_older_manifest_does_not_tell_is_not_compared(recorded: Manifest) -> None:
    fields = ("code_hash", "components", "embedder", "model", "prompt_templates", "inputs", "servers")
    old = recorded.model_dump(exclude=set(fields))
    assert differences(Manifest.model_validate(old), now(recorded)) == []


def test_another_model_under_the_same_name(recorded: Manifest) -> None:
    same = {"endpoint": "http://elsewhere/v1", "model": "stub", "reported": {"id": "stub"}}
    assert differences(recorded, now(recorded) | {"servers": [same, {"endpoint": "b", "reported": None}]}) == []
    other = {**same, "reported": {"id": "stub", "root": "other"}}
    (found,) = differences(recorded, now(recorded) | {"servers": [same, other]})
    assert found.startswith("http://elsewhere/v1 reports the model {'id': 'stub', 'root': 'other'}")


def test_a_changed_template(recorded: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Templates().sources()
    assert "rules.j2" in texts
    texts["rules.j2"] += " "
    monkeypatch.setattr(Templates, "sources", lambda self: texts)
    (found,) = differences(recorded, now(recorded))
    assert found.startswith("the prompt templates were changed: sha256 ")


def _touch(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"bob", b"bib"))


@pytest.mark.parametrize(
    ("change", "what"),
    [(_touch, "was changed"), (Path.unlink, "is missing"), (lambda p: p.rename(p.with_suffix(".old")), "is missing")],
)
def test_a_changed_input(
    recorded: Manifest, tmp_path: Path, change: Callable[[Path], None], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Simulation(Scenario.from_dict(recorded.scenario)).parts
    change(tmp_path / "users.csv")
    monkeypatch.chdir("/")
    (found,) = differences(recorded, provenance(parts))
    assert found.startswith(f"population.path: {tmp_path / 'users.csv'} {what}")


def test_all_files_of_a_scenario_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.csv").write_text("step,agent_id,action\n1,0,do_nothing\n")
    (tmp_path / "activity.csv").write_text("user_id,actual_freq_list\n0,[1]\n")
    scripted = [{"kind": "scripted", "select": {"ids": [0]}, "parameters": {"path": "script.csv"}}, {"kind": "choice"}]
    named = scenario(tmp_path, policies=scripted).with_changes(llm={"backend": "local", "model_path": "~/a.gguf"})
    found = named.with_absolute_paths().named_files
    assert found["population.path"] == str(tmp_path / "users.csv")
    assert found["policies.0.parameters.path"] == str(tmp_path / "script.csv")
    assert found["llm.model_path"] == str(Path("~/a.gguf").expanduser())
    parts = Simulation(scenario(tmp_path, policies=scripted)).parts
    assert sorted(provenance(parts)["inputs"]) == [str(tmp_path / "script.csv"), str(tmp_path / "users.csv")]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT, tmp_path / "site" / "oasis", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "site" / "oasis"


def test_the_code_hash_is_that_of_the_installed_sources(copy: Path) -> None:
    left_out = environment._OF_NO_RESULT
    assert sources_digest(copy, left_out) == sources_digest(ROOT, left_out) == environment.code_hash()
    for harmless in (
        "cli/run.py",
        "agents/__pycache__/llm.py",
        "runs/report.py",
        "runs/export/new.py",
        "agents/note.md",
    ):
        (copy / harmless).parent.mkdir(exist_ok=True)
        (copy / harmless).write_text("changed = True\n")
    crlf = copy / "clock.py"
    crlf.write_bytes(crlf.read_bytes().replace(b"\n", b"\r\n"))
    assert sources_digest(copy, left_out) == environment.code_hash()


@pytest.mark.parametrize(
    "name",
    ["agents/coefficients.toml", "agents/prompts/rules.j2", "recsys/scorers.py", "runs/recorder.py", "world/x.py"],
)
def test_the_code_hash_changes_with_what_makes_results(copy: Path, name: str) -> None:
    with (copy / name).open("a") as file:
        file.write("\n")
    assert sources_digest(copy, environment._OF_NO_RESULT) != environment.code_hash()


def _install(folder: Path, version: str, more: str = "") -> None:
    """Put a distribution with a policy into a folder of the search path."""
    shutil.rmtree(folder, ignore_errors=True)
    info = folder / f"oasis_lab-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: oasis-lab\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[oasis.policies]\nlab = oasis_lab:Lab\n")
    (folder / "oasis_lab.py").write_text(
        f"from oasis.agents.choice import Choice\nclass Lab(Choice):\n    pass\n{more}"
    )


def test_a_changed_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    _install(site, "1.0")
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    Simulation(scenario(tmp_path, policies=[{"kind": "lab"}]), "run").run_sync()
    recorded = Manifest.read(tmp_path / "run")
    was = recorded.components["policies"]["lab"]
    assert was.startswith("oasis-lab 1.0, code ")
    assert differences(recorded, now(recorded)) == []
    for version, more in (("1.1", ""), ("1.0", "# as is\n")):
        _install(site, version, more)
        sys.path_importer_cache.clear()
        is_now = origin("policies", "lab")
        assert is_now.startswith(f"oasis-lab {version}, code ")
        assert differences(recorded, now(recorded)) == [f"lab (of policies) was from {was}, is from {is_now}"]
    sys.modules.pop("oasis_lab", None)


def test_servers_that_hang_neither_delay_nor_fail_a_run(tmp_path: Path) -> None:
    pages = dict.fromkeys(("/v1/models", "/version", "/api/version", "/props"), "<hang>")
    with StubServer(pages=pages, hang_s=30) as server:
        llm = {"endpoints": [server.url], "model": "stub"}
        asking = scenario(tmp_path, policies=[{"kind": "llm"}], llm=llm).with_changes(
            population={"path": str(tmp_path / "users.csv")}
        )
        assert Simulation(asking, tmp_path / "run").run_sync().status == "done"
    assert json.loads((tmp_path / "run/manifest.json").read_text())["servers"] == []
