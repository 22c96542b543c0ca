"""Templates of one's own: for a group of agents, checked before anything is asked, part of the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.agents.prompting.templates import Templates
from oasis.errors import ScenarioError
from oasis.inference import Client, MockTransport, Prompt
from oasis.inference_config import LLMConfig

NOTHING = '{"actions":[{"action":"do_nothing"}]}'


def run(tmp_path: Path, *parameters: dict[str, Any], out: str | None = None) -> list[Prompt]:
    """Return the prompts of a step in which groups of agents have parameters of their own."""
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 1},
            "population": {"agents": 20, "mean_active": 0.99},
            "policies": [{"kind": "llm", "share": 1 / len(parameters), "parameters": p} for p in parameters],
        }
    )
    transport = MockTransport(lambda prompt: NOTHING)
    client = Client([transport], LLMConfig(model="m"))
    Simulation(scenario, None if out is None else tmp_path / out, inference=client).run_sync()
    return transport.prompts


def folder(tmp_path: Path, **files: str) -> str:
    path = tmp_path / "prompts"
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.j2").write_text(text, "utf-8")
    return str(path)


def test_a_group_has_templates_of_its_own(tmp_path: Path) -> None:
    mine = folder(tmp_path, agent="I am {{ name }}.", rules="Answer {{ example }} on {{ platform }}.")
    prompts = run(tmp_path, {"templates_path": mine}, {})
    own = [p for p in prompts if p.messages[0][1].startswith("Answer {")]
    assert 0 < len(own) < len(prompts)
    assert all("I am user_" in p.messages[1][1] or "I am " in p.messages[1][1] for p in own)
    assert all("YOU: " in p.messages[1][1] for p in prompts if p not in own)


def test_what_a_template_sets_for_one_agent_is_forgotten_for_the_next(tmp_path: Path) -> None:
    text = (
        "{% set ns = namespace(n=0) %}{% for line in memory %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{% set alone = followers == 0 %}{% macro who() %}{{ name }}{% endmacro %}[{{ who() }} {{ ns.n }} {{ alone }}]"
    )
    templates = Templates(folder(tmp_path, agent=text))
    values = {"following": 3, "bio": None, "persona": "A beekeeper."}
    for _ in range(2):
        for name, followers, memory in (("a", 0, ["x", "y"]), ("b", 5, []), ("c", 0, ["z"])):
            told = templates.render("agent.j2", name=name, followers=followers, memory=memory, **values)
            assert told == f"[{name} {len(memory)} {followers == 0}]"


def test_the_manifest_tells_templates_apart_in_whatever_entry_they_are(tmp_path: Path) -> None:
    mine = {"templates_path": folder(tmp_path, agent="I am {{ name }}.")}
    hashes = set()
    for number, groups in enumerate(([{}, {}], [mine, {}], [{}, mine])):
        run(tmp_path, *groups, out=f"run{number}")
        hashes.add(open_run(tmp_path / f"run{number}").manifest.prompt_templates)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"agnet": "x"}, r"agnet\.j2: no prompt is made of it.*did you mean 'agent\.j2'"),
        ({"agent": "a\n{% if %}"}, r"agent\.j2, line 2: "),
        ({"agent": "{{ nmae }}"}, r"agent\.j2: nothing is filled in for 'nmae'.*did you mean 'name'.*allowed: bio"),
    ],
)
def test_templates_that_cannot_be_used_are_refused_at_once(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        run(tmp_path, {"templates_path": folder(tmp_path, **files)})


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no such folder; it holds any of agent\.j2"):
        run(tmp_path, {"templates_path": str(tmp_path / "none")})


def test_what_is_not_filled_in_is_not_taken_from_the_agent_before(tmp_path: Path) -> None:
    templates = Templates(folder(tmp_path, agent="{{ name }} {{ bio }}"))
    assert templates.render("agent.j2", name="a", bio="bees") == "a bees"
    with pytest.raises(jinja2.UndefinedError, match="bio"):
        templates.render("agent.j2", name="b")
