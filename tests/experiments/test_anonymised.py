"""Arms in which the event is anonymised: names are hidden from models alone; whether that hides the event is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from oasis.cli.main import main
from oasis.errors import ScenarioError
from oasis.experiments.closed_book import CLOSED_BOOK, ask_closed_book
from oasis.experiments.closed_book_report import knowledge_section
from oasis.experiments.design import Design
from oasis.experiments.execution import run_experiment
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.interfaces import Section
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import Results, gather
from oasis.runs import open_run
from oasis.testing.answers import answer_from_schema
from oasis.testing.servers import StubServer

NAMES = {"Amazon": "Norvex", "Whole Foods": "Green Barn"}
NEWS = "Amazon buys #WholeFoods"
FIRMS = ["Amazon", "Whole Foods", "Kmart", "none"]
EVENT: dict[str, Any] = {
    "description": "It was said that AMAZON would buy Whole Foods.",
    "names": NAMES,
    "questions": [{"ask": f"Who signed paper {i}?", "options": FIRMS, "answer": FIRMS[i % 4]} for i in range(10)],
}
Choose = Callable[[int, list[str], str], str]


def values(url: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "experiment": {"name": "e", "kind": "recsys-ab", "title": "T", "question": "Q?", "baseline": "named"},
        "event": EVENT,
        "scenario": {
            "simulation": {"steps": 2},
            "population": {"agents": 12, "mean_active": 0.6, "mean_follows": 4},
            "policies": [{"kind": "choice" if url is None else "llm"}],
            "llm": {"endpoints": [url or "http://127.0.0.1:9"], "model": "stub", "timeout_s": 10},
            "interventions": [{"step": 1, "kind": "post", "author": i, "content": f"{NEWS} {i}"} for i in range(12)],
            "output": {"sync": False, "prompts": "all"},
        },
        "arms": [{"name": "named"}, {"name": "hidden", "anonymised": True}],
        "outcomes": [{"name": "reach", "label": "R", "family": "f"}],
        **changes,
    }


def begin(path: Path, url: str | None, **changes: Any) -> ExperimentFolder:
    return ExperimentFolder.begin(path, Design.from_dict(values(url, **changes)), Request(replicates=1))


def names_in(text: str) -> bool:
    return re.search("amazon|whole ?_?foods", text, re.IGNORECASE) is not None


def answering(choose: Choose | None = None) -> Callable[[dict[str, Any], int], str | None]:
    """Return a script that answers questions of knowledge by `choose`, others by what holds no names."""

    def script(body: dict[str, Any], nth: int) -> str | None:
        asked = body["messages"][-1]["content"]
        schema = body["response_format"]["json_schema"]["schema"]
        number = re.search(r"^The event: .*\n\nWho signed paper (\d+)\?", asked)
        if number is None:
            return answer_from_schema(schema, json.dumps(schema))
        options = schema["properties"]["answer"]["enum"]
        return json.dumps({"answer": options[0] if choose is None else choose(int(number[1]), options, asked)})

    return script


def remembers(i: int, options: list[str], asked: str) -> str:
    """Know it whatever the names."""
    right = FIRMS[i % 4]
    return right if right in options else NAMES[right]


def remembers_names(i: int, options: list[str], asked: str) -> str:
    """Know it by the names alone."""
    return remembers(i, options, asked) if names_in(asked) else options[0]


def half_by_names(i: int, options: list[str], asked: str) -> str:
    """Know half of them without names, all with them."""
    return remembers(i, options, asked) if names_in(asked) or i < 5 else options[0]


def place(i: int, options: list[str], asked: str) -> str:
    return options[0]


def plausible(i: int, options: list[str], asked: str) -> str:
    """Guess most, a little better without the names."""
    return remembers(i, options, asked) if i < (3 if names_in(asked) else 7) else options[0]


def section(folder: ExperimentFolder) -> Section:
    found = knowledge_section(Results(folder, [{"model": "stub"}]))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("choose", "first", "second", "right"),
    [
        (remembers, "stub knows the event", "still knows the event, and as well as with the real ones", 1.0),
        (remembers_names, "stub knows the event", "anonymisation hides the event from it", 0.25),
        (half_by_names, "stub knows the event", "still knows the event, though less well", 0.625),
        (plausible, "not told apart from guessing", "hides nothing from it; ask what cannot be guessed", 0.775),
        (place, "not told apart from guessing", "no knowledge here by which to see", 0.25),
    ],
)
def test_whether_other_names_hide_the_event_is_said_plainly(
    tmp_path: Path, choose: Choose, first: str, second: str, right: float
) -> None:
    with StubServer(script=answering(choose)) as server:
        folder = begin(tmp_path / "x", server.url)
        ask_closed_book(folder)
        asked = [body["messages"][-1]["content"] for body in server.requests]
        ask_closed_book(ExperimentFolder.open(folder.path))
        assert len(server.requests) == len(asked) == 80
    hidden = [text for text in asked if not names_in(text)]
    assert len(hidden) == 40
    assert all(text.startswith("The event: It was said that NORVEX would buy Green Barn.\n\nWho") for text in hidden)
    assert {line for text in hidden for line in text.splitlines() if line.startswith("- ")} == {
        "- Norvex", "- Green Barn", "- Kmart", "- none",
    }  # fmt: skip
    found = section(folder)
    assert first in found.text[0]
    assert "80 calls" in found.text[0]
    assert second in found.text[1]
    assert found.table is not None
    row = found.table.row(-1, named=True)
    assert row["right_anonymised"] == pytest.approx(right)
    assert row["low_anonymised"] < right < row["high_anonymised"] + 1e-9
    assert found.table["right_anonymised"].null_count() == 0
    assert ("does not hide the event" in " ".join(found.text[1].split())) == (choose in (remembers, half_by_names))
    written = json.loads((folder.path / CLOSED_BOOK).read_text("utf-8"))
    assert written["anonymised"] == "It was said that NORVEX would buy Green Barn."


def test_few_questions_leave_it_open(tmp_path: Path) -> None:
    event = {**EVENT, "questions": EVENT["questions"][:4]}
    with StubServer(script=answering(remembers_names)) as server:
        folder = begin(tmp_path / "x", server.url, event=event)
        ask_closed_book(folder)
    assert "is open; ask more questions" in section(folder).text[1]
    assert "too few questions to compare" in section(folder).text[1]


def test_names_that_are_in_nothing_that_is_asked_are_not_asked_about(tmp_path: Path) -> None:
    with StubServer(script=answering(remembers)) as server:
        folder = begin(tmp_path / "x", server.url, event={**EVENT, "names": {"Bezos": "Hale"}})
        ask_closed_book(folder)
        assert len(server.requests) == 40
    found = section(folder)
    assert "None of the names to be replaced" in found.text[1]
    assert found.table is not None
    assert "right_anonymised" not in found.table.columns


def test_the_anonymised_arm_is_the_other_one_but_for_what_models_see(tmp_path: Path) -> None:
    with StubServer(script=answering()) as server:
        folder = begin(tmp_path / "x", server.url)
        assert run_experiment(folder, 1) == []
    runs = {cell.arm: open_run(folder.place(cell) / "run") for cell in folder.cells}
    hashes = {arm: run.manifest.state_hash for arm, run in runs.items()}
    assert hashes["named"] == hashes["hidden"]
    prompts = {arm: " ".join(run.llm_calls.collect()["prompt"].drop_nulls()) for arm, run in runs.items()}
    assert names_in(prompts["named"])
    assert "#GreenBarn" in prompts["hidden"]
    assert not names_in(prompts["hidden"])
    posts = runs["hidden"].posts.collect()["content"].drop_nulls().to_list()
    assert f"{NEWS} 3" in posts
    assert "rename" not in runs["named"].manifest.scenario["policies"][0].get("parameters", {})
    assert runs["hidden"].manifest.scenario["policies"][0]["parameters"] == {"rename": NAMES}
    write_experiment_report(folder)
    page = (folder.path / "report.html").read_text("utf-8")
    assert "names shown to language models" in page
    assert "right anonymised" in page


def test_a_model_named_from_outside_is_shown_the_other_names(tmp_path: Path) -> None:
    for number, request in enumerate(({}, {"llm_share": 0.5})):
        asked = {"replicates": 1, "endpoint": "http://127.0.0.1:9", "model": "stub", **request}
        path = tmp_path / str(number)
        folder = ExperimentFolder.begin(path, Design.from_dict(values(None)), Request.model_validate(asked))
        made = {cell.arm: folder.scenario(cell).policies for cell in folder.cells}
        assert [p.parameters.get("rename") for p in made["named"] if p.kind == "llm"] == [None]
        assert [p.parameters.get("rename") for p in made["hidden"] if p.kind == "llm"] == [NAMES]


def test_without_a_language_model_the_arm_is_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    design = tmp_path / "e.toml"
    design.write_text(_toml(values(None)), "utf-8")
    out = tmp_path / "out"
    words = ["experiment", "run", str(design), "--out", str(out), "--replicates", "1", "--jobs", "1", "--quiet"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert [cell.arm for cell in ExperimentFolder.open(out).cells] == ["named"]
    page = (out / "report.html").read_text("utf-8")
    assert "Left out: hidden (it is anonymised, and there is no language model that could know the names)." in page
    assert len(gather(ExperimentFolder.open(out)).rows) == 1
    design_ = Design.from_dict(values(None))
    assert design_.left_out("choice", named=True) == design_.left_out("llm") == {}
    assert design_.left_out("choice", changes={"policies.0.kind": "llm"}) == {}
    assert list(design_.left_out("choice")) == ["hidden"]
    with pytest.raises(ScenarioError, match="'hidden', which others are compared with, is left out"):
        Design.from_dict({**values(None), "arms": [{"name": "named", "against": "hidden"}, values(None)["arms"][1]]}
        ).decided_by("choice")  # fmt: skip


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"event": {**EVENT, "names": {}}}, "'hidden' is anonymised, and there is nothing to replace"),
    ({"event": None}, "'hidden' is anonymised, and there is nothing to replace"),
    (
        {"event": {**EVENT, "names": {"Amazon": "Kmart"}}},
        r"event: .*'Kmart' is in the event's description or questions",
    ),
    ({"event": {**EVENT, "names": {"Amazon": "A", "Apple": "a"}}}, r"event\.names: .*both become"),
    ({"arms": [{"name": "named"}, {"name": "hidden", "anonymized": True}]}, "did you mean 'anonymised'"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_wrong_designs_say_where(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError, match=f"(?s){words}"):
        Design.from_dict({k: v for k, v in values(None, **change).items() if v is not None})


def test_what_cannot_be_anonymised_is_told_before_anything_is_written(tmp_path: Path) -> None:
    url, scenario = "http://127.0.0.1:9", values("http://127.0.0.1:9")["scenario"]
    taken = [{"step": 2, "kind": "post", "author": 1, "content": "norvex!"}]
    own = [{"kind": "llm", "parameters": {"rename": {"Bezos": "Hale"}}}]
    for change, words in (
        ({"interventions": taken}, "arm 'hidden': .*'Norvex' is in a text"),
        ({"policies": own}, "event.names alone"),
    ):
        with pytest.raises(ScenarioError, match=words):
            begin(tmp_path / "x", url, scenario={**scenario, **change})
    assert not (tmp_path / "x").exists()


def _toml(design: dict[str, Any]) -> str:
    """Return a design as TOML, of what these have: tables of values, of tables, and lists of tables."""
    scenario = design["scenario"]
    tables = {"experiment": design["experiment"], "event": design["event"]}
    tables |= {f"scenario.{key}": table for key, table in scenario.items()}
    tables |= {"arms": design["arms"], "outcomes": design["outcomes"]}
    lines = []
    for name, table in tables.items():
        for each in table if isinstance(table, list) else [table]:
            lines.append(f"[[{name}]]" if isinstance(table, list) else f"[{name}]")
            lines += [f"{json.dumps(key)} = {_inline(value)}" for key, value in each.items()]
    return "\n".join(lines)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(map(_inline, value)) + "]" if isinstance(value, list) else json.dumps(value)
