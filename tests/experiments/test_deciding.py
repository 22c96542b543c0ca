"""A language model named from outside decides for whom the design says, and for all where it says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from oasis.cli.main import main
from oasis.experiments.deciding import llm_agents, said_llm_agents, says_who_asks
from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.runs import open_run
from oasis.scenario import Scenario
from oasis.scenario_model import with_model
from oasis.testing.servers import StubServer

SMALL: dict[str, Any] = {"simulation": {"steps": 1}, "population": {"agents": 10}}
MIXED = [{"kind": "llm", "share": 0.3}, {"kind": "choice"}]
TOML = """
[experiment]
name = "mix"
kind = "recsys-ab"
title = "T"
question = "Q?"
baseline = "plain"

[scenario.simulation]
steps = 2
[scenario.population]
agents = 30
mean_active = 0.5
[scenario.output]
sync = false

[[arms]]
name = "plain"
[[arms]]
name = "other"
deciders = "DECIDERS"
set = {{ "recsys.kind" = "random" }}
[[arms]]
name = "mixed"
{policies}

[[outcomes]]
name = "reach"
label = "R"
"""


def toml(path: Path, mixed: bool = True, deciders: str = "any") -> Path:
    policies = 'set = { policies = [{ kind = "llm", share = 0.3 }, { kind = "choice" }] }' if mixed else ""
    path.write_text(TOML.format(policies=policies).replace("DECIDERS", deciders), "utf-8")
    return path


def experiment(design: Path, out: Path, *further: str) -> Result:
    words = ["experiment", "run", str(design), "--out", str(out), "--replicates", "1", "--jobs", "1", "--quiet"]
    return CliRunner().invoke(main, [*words, *further])


def decided(out: Path) -> dict[str, set[str]]:
    folder = ExperimentFolder.open(out)
    return {cell.arm: set(open_run(folder.place(cell) / "run").manifest.coverage.decided_by) for cell in folder.cells}


def test_arms_stay_as_declared_where_one_says_who_asks(tmp_path: Path) -> None:
    design, out = toml(tmp_path / "e.toml", deciders="choice"), tmp_path / "out"
    with StubServer() as server:
        done = experiment(design, out, "--llm", server.url, "--model", "stub")
        assert done.exit_code == 0, done.output
        assert server.requests
        assert decided(out) == {"plain": {"choice"}, "other": {"choice"}, "mixed": {"llm", "choice"}}
        asked = {cell.arm: ExperimentFolder.open(out).scenario(cell).llm for cell in ExperimentFolder.open(out).cells}
        assert {(*llm.endpoints, llm.model) for llm in asked.values()} == {(server.url, "stub")}
    said = "a drawn 30% in mixed; none in plain, other"
    assert f"llm agents  {said}" in done.stderr
    assert f"llm agents: {said}" in done.stdout
    assert f"A language model decides for: {said}." in (out / "report.html").read_text("utf-8")
    again = CliRunner().invoke(main, ["experiment", "report", str(out), "--json"])
    assert json.loads(again.stdout)["llm_agents"] == said
    refused = experiment(design, tmp_path / "share", "--llm", server.url, "--llm-share", "0.5")
    assert refused.exit_code == 2
    assert "the design says itself which agents are llm" in refused.stderr
    assert not (tmp_path / "share").exists()


def test_a_model_decides_for_all_where_no_arm_says_who_asks(tmp_path: Path) -> None:
    design, out = toml(tmp_path / "e.toml", mixed=False), tmp_path / "out"
    with StubServer() as server:
        done = experiment(design, out, "--llm", server.url, "--model", "stub")
    assert done.exit_code == 0, done.output
    assert decided(out) == dict.fromkeys(("plain", "other", "mixed"), {"llm"})
    assert "llm agents: all agents in plain, other, mixed" in done.stdout
    nobody = ExperimentFolder.begin(tmp_path / "nobody", Design.load(design), Request(replicates=1))
    assert nobody.llm_agents is None


def design_of(arms: list[dict[str, Any]], **further: Any) -> Design:
    config = {"name": "small", "kind": "recsys-ab", "title": "T", "question": "Q?", "baseline": "a"}
    outcomes = [{"name": "reach", "label": "R"}]
    return Design.from_dict({"experiment": config, "scenario": SMALL, "arms": arms, "outcomes": outcomes, **further})


def test_where_a_design_says_who_asks(tmp_path: Path) -> None:
    plain, own = {"name": "a"}, {"name": "b", "set": {"policies": MIXED}}
    assert not says_who_asks(design_of([plain]), {})
    assert says_who_asks(design_of([plain, own]), {})
    assert says_who_asks(design_of([plain]), {"policies": MIXED})
    assert not says_who_asks(design_of([plain, {**own, "deciders": "llm"}]), {})
    assert says_who_asks(design_of([plain], scenario={**SMALL, "policies": MIXED}), {})
    swept = design_of([plain], sweep={"policies": [[{"kind": "choice"}], MIXED]})
    assert says_who_asks(swept, {})
    assert not says_who_asks(swept, {"policies": [{"kind": "choice"}]}, ["policies"])
    request = Request(replicates=1, endpoint="http://127.0.0.1:9", model="m")
    folder = ExperimentFolder.begin(tmp_path / "x", swept, request)
    kinds = [[policy.kind for policy in folder.scenario(cell).policies] for cell in folder.cells]
    assert kinds == [["choice"], ["llm", "choice"]]
    assert folder.llm_agents == "none or a drawn 30% in a"


def test_who_asks_in_words() -> None:
    def words(policies: list[dict[str, Any]]) -> str | None:
        return llm_agents(Scenario.from_dict({**SMALL, "policies": policies}))

    assert words([{"kind": "choice"}]) is None
    assert words([{"kind": "llm"}]) == "all agents"
    assert words([{"kind": "choice", "share": 0.5}, {"kind": "llm"}]) == "the rest"
    assert words([{"kind": "llm", "select": {"ids": [1]}}, *MIXED]) == "selected agents and a drawn 30%"
    assert said_llm_agents({"a": [None], "b": [None]}) is None


def test_a_scenario_that_names_llm_agents_keeps_its_other_policies() -> None:
    made = with_model(Scenario.from_dict({**SMALL, "policies": MIXED}), "http://127.0.0.1:9", "m", None)
    assert [(policy.kind, policy.share) for policy in made.policies] == [("llm", 0.3), ("choice", None)]
    assert (made.llm.endpoints, made.llm.model) == (["http://127.0.0.1:9/v1"], "m")
