"""The closed-book check: a model that knows the event is told from one that answers by place; nobody is asked twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oasis.errors import InputError, NoEndpointError, RunDirectoryError, ScenarioError
from oasis.experiments.closed_book import CLOSED_BOOK, ask_closed_book, models_of, read_closed_book
from oasis.experiments.closed_book_report import accuracy_interval, knowledge_section
from oasis.experiments.design import Design
from oasis.experiments.execution import run_experiment
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.interfaces import Section
from oasis.experiments.report import write_experiment_report
from oasis.experiments.results import Results
from oasis.testing.servers import StubServer

KEY = "sk-Zq9/x+7=Kd&2wPv"
COLOURS = ["red", "green", "blue", "white"]
EVENT: dict[str, Any] = {
    "description": "A shop was said to be bought by a farm.",
    "happened": False,
    "accounts": 104,
    "questions": [
        {"ask": f"Which colour had sign {i}?", "options": COLOURS, "answer": COLOURS[i % 4]} for i in range(8)
    ],
}
RIGHT = {q["ask"]: q["answer"] for q in EVENT["questions"]}
RIGHT |= {"Did this happen": "no", "How many accounts": "100 to 999"}


def options_of(body: dict[str, Any]) -> list[str]:
    found: list[str] = body["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"]
    return found


def answering(choose: Callable[[str, list[str]], str]) -> Callable[[dict[str, Any], int], str | None]:
    """Return a script that answers questions of knowledge, and leaves all others to the stub."""

    def script(body: dict[str, Any], nth: int) -> str | None:
        asked = body["messages"][-1]["content"]
        if not asked.startswith("The event: "):
            return None
        return json.dumps({"answer": choose(asked, options_of(body))})

    return script


def knowing(asked: str, options: list[str]) -> str:
    return next(answer for ask, answer in RIGHT.items() if ask in asked)


def first(asked: str, options: list[str]) -> str:
    return options[0]


def begin(path: Path, url: str | None, event: dict[str, Any] | None = EVENT, **changes: Any) -> ExperimentFolder:
    values: dict[str, Any] = {
        "experiment": {"name": "e", "kind": "recsys-ab", "title": "T", "question": "Q?", "baseline": "a"},
        "scenario": {
            "simulation": {"steps": 1},
            "population": {"agents": 8, "mean_active": 0.5},
            "policies": [{"kind": "choice" if url is None else "llm"}],
            "llm": {"endpoints": [url or "http://127.0.0.1:9"], "model": "stub", "timeout_s": 5},
            "output": {"sync": False},
        },
        "arms": [{"name": "a"}, {"name": "b", "set": {"recsys.kind": "random"}}],
        "outcomes": [{"name": "reach", "label": "R", "family": "f"}],
        **changes,
    }
    if event is not None:
        values["event"] = event
    return ExperimentFolder.begin(path, Design.from_dict(values), Request(replicates=1))


def section_of(folder: ExperimentFolder) -> Section:
    section = knowledge_section(Results(folder, [{"model": "stub"}]))
    assert section is not None
    return section


def check(path: Path, choose: Callable[[str, list[str]], str]) -> tuple[str, dict[str, Any]]:
    """Return what is said of a model that chooses so, and the table's row of all questions."""
    with StubServer(script=answering(choose)) as server:
        folder = begin(path, server.url)
        ask_closed_book(folder)
    section = section_of(folder)
    assert section.table is not None
    assert section.table.height == 11
    return section.text[0], section.table.row(-1, named=True)


def test_a_model_that_knows_is_told(tmp_path: Path) -> None:
    said, row = check(tmp_path / "x", knowing)
    assert said.startswith("stub knows the event: 100% right over 10 questions")
    assert (row["right"], row["asked"], row["answered"]) == (1.0, 2 + 4 + 8 * 4, 38)
    assert row["low"] == pytest.approx(1 / (1 + 3.8415 / 10), abs=1e-4)  # Wilson at 1: n / (n + z^2)


def test_a_model_that_answers_by_place_is_at_chance(tmp_path: Path) -> None:
    said, row = check(tmp_path / "x", first)
    assert "not told apart from guessing" in said
    assert row["chance"] == pytest.approx((0.5 + 0.2 + 8 * 0.25) / 10)
    # of five sizes only four orders are asked, and the right one is never first in the fifth
    assert row["right"] == pytest.approx((0.5 + 0.25 + 8 * 0.25) / 10)


def test_a_model_that_is_always_wrong_is_below_chance(tmp_path: Path) -> None:
    def wrong(asked: str, options: list[str]) -> str:
        return next(option for option in options if option != knowing(asked, options))

    said, row = check(tmp_path / "x", wrong)
    assert row["right"] == 0
    # ten questions at a chance of 0.27 cannot put 0 below it
    assert "not told apart" in said
    assert accuracy_interval(0.0, 40, 0.95)[1] < 0.27


def test_it_is_asked_at_temperature_0_without_texts_in_rotated_orders(tmp_path: Path) -> None:
    with StubServer(script=answering(knowing)) as server:
        folder = begin(tmp_path / "x", server.url)
        ask_closed_book(folder)
        bodies = list(server.requests)
    assert {body["temperature"] for body in bodies} == {0}
    mine = [b for b in bodies if "sign 2?" in b["messages"][-1]["content"]]
    orders = {tuple(options_of(body)) for body in mine}
    assert {order[0] for order in orders} == set(COLOURS)
    for body in mine:
        text = body["messages"][-1]["content"]
        assert text.startswith("The event: A shop was said to be bought by a farm.\n\nWhich colour had sign 2?")
        assert [line[2:] for line in text.splitlines() if line.startswith("- ")] == options_of(body)


def test_nothing_is_asked_twice_and_no_key_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSED_BOOK_KEY", KEY)

    with StubServer(script=answering(knowing), api_key=KEY) as server:
        values = {"llm": {"endpoints": [server.url], "model": "stub", "api_key_env": "CLOSED_BOOK_KEY", "attempts": 1}}
        scenario = {"simulation": {"steps": 1}, "population": {"agents": 8}, "policies": [{"kind": "llm"}], **values}
        folder = begin(tmp_path / "x", server.url, scenario=scenario)
        ask_closed_book(folder)
        count = len(server.requests)
        assert count == 38
        ask_closed_book(ExperimentFolder.open(folder.path))
        assert len(server.requests) == count
        (folder.path / CLOSED_BOOK).unlink()
        plain = server.script
        server.script = lambda body, nth: (
            f"the key is {KEY}" if "sign 1?" in str(body["messages"]) else plain(body, nth) if plain else None
        )
        ask_closed_book(folder)
    text = (folder.path / CLOSED_BOOK).read_text("utf-8")
    assert KEY not in text
    assert "CLOSED_BOOK_KEY" not in text
    (entry,) = read_closed_book(folder.path)
    lost = [row for row in entry["answers"] if row["answer"] is None]
    assert {row["question"] for row in lost} == {"Which colour had sign 1?"}
    assert {row["status"] for row in lost} == {"invalid"}
    assert "4 of 38 calls got no usable answer" in section_of(folder).text[0]


def test_every_model_of_a_sweep_is_asked_and_no_other(tmp_path: Path) -> None:
    sweep = {"llm.model": ["stub", "other"], "recsys.size": [5, 10]}
    folder = begin(tmp_path / "x", "http://127.0.0.1:9", sweep=sweep)
    assert [config.model for config in models_of(folder)] == ["stub", "other"]
    nobody = begin(tmp_path / "y", None)
    assert models_of(nobody) == []
    ask_closed_book(nobody)
    assert not (nobody.path / CLOSED_BOOK).exists()
    assert knowledge_section(Results(nobody, [{"model": None}])) is None


def test_an_endpoint_that_is_not_there_ends_it_before_any_run(tmp_path: Path) -> None:
    folder = begin(tmp_path / "x", "http://127.0.0.1:9")
    with pytest.raises(NoEndpointError):
        run_experiment(folder, 1)
    assert not (folder.path / "cells").exists()
    (folder.path / CLOSED_BOOK).write_text("[")
    with pytest.raises(RunDirectoryError, match="remove it to ask again"):
        ask_closed_book(folder)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"happened": None, "accounts": None, "questions": []}, "nothing to ask"),
    ({"questions": [{"ask": "Q?", "options": ["a", "b"], "answer": "c"}]}, "none of the options"),
    ({"questions": [{"ask": "Q?", "options": ["a", "A"], "answer": "a"}]}, "two options are the same"),
    ({"happend": True}, "did you mean"),
    ({"questions": [{"ask": "Q?", "options": ["a", "b"], "answr": "a"}]}, "answer"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_wrong_event_says_where(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=words):
        begin(tmp_path / "x", None, {**EVENT, **change})


def test_an_experiment_asks_before_its_runs_and_reports_it(tmp_path: Path) -> None:
    with StubServer(script=answering(knowing)) as server:
        folder = begin(tmp_path / "x", server.url)
        assert run_experiment(folder, 1) == []
        asked = [text.find("The event: ") >= 0 for _, text in server.arrived]
    assert all(asked[:38])
    assert not any(asked[38:])
    assert len(asked) > 38
    write_experiment_report(folder)
    page = (folder.path / "report.html").read_text("utf-8")
    assert page.index("stub knows the event") < page.index("Means by arm")


def test_data_beside_a_model_without_an_event_are_said_to_be_unchecked(tmp_path: Path) -> None:
    folder = begin(tmp_path / "x", "http://127.0.0.1:9", None)
    assert knowledge_section(Results(folder, [{"model": "stub"}])) is None
    folder.request = folder.request.model_copy(update={"data": str(tmp_path)})
    assert "Not checked" in section_of(folder).text[0]


def test_no_model_named_is_bad_input(tmp_path: Path) -> None:
    scenario = {"simulation": {"steps": 1}, "population": {"agents": 8}, "policies": [{"kind": "llm"}]}
    with pytest.raises(InputError, match="arm 'a': policy 'llm' asks a language model, and none is named"):
        begin(tmp_path / "x", None, scenario=scenario)
    assert not (tmp_path / "x").exists()
