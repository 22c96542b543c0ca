"""A judge that is right is believed, one that likes a place is told, and nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from oasis.cli.main import main
from oasis.experiments.design import Design
from oasis.experiments.folder import ExperimentFolder, Request
from oasis.experiments.phenomena.advice import without_accounts
from oasis.experiments.phenomena.polarization import Polarization
from oasis.experiments.work import make_cell
from oasis.runs.process import WriterLock
from oasis.testing.servers import StubServer

Chooser = Callable[[list[int]], int]
AGENTS, REPLICATES = 8, 5


def advising(body: dict[str, Any], nth: int) -> str | None:
    """Answer the open question with a number that follows from the prompt."""
    asked = json.dumps(body["messages"])
    if "What do you advise" not in asked:
        return None
    number = int.from_bytes(hashlib.blake2b(asked.encode(), digest_size=4).digest(), "little") % 10 + 1
    found = re.search(r"YOU: ([\w.\-]+),", asked)
    assert found is not None
    return json.dumps({"answer": f"I, {found[1].upper()}, and @friend say {number} in 10, as user_2 does."})


def judging(choose: Chooser, rate: Callable[[int], int]) -> Callable[[dict[str, Any], int], str | None]:
    """Return a script that judges by the numbers in the texts."""

    def script(body: dict[str, Any], nth: int) -> str:
        asked = body["messages"][-1]["content"]
        numbers = [int(found) for found in re.findall(r"say (\d+) in 10", asked)]
        return json.dumps({"answer": "AB"[choose(numbers)] if len(numbers) == 2 else rate(numbers[0])})

    return script


RIGHT = judging(lambda numbers: int(numbers[1] < numbers[0]), lambda number: 11 - number)
FIRST = judging(lambda numbers: 0, lambda number: 5)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an experiment whose agents were asked for advice, first and last."""
    values = Design.load(Polarization.design).to_dict()
    values["experiment"] |= {"baseline": "risky-alone"}
    values["arms"] = [{"name": "risky-alone", "set": {"baseline.kind": "no-interaction"}}, {"name": "risky-reading"}]
    values["outcomes"] = [{**o, "arms": "*"} for o in values["outcomes"]]
    small = {"population.agents": AGENTS + 1, "population.mean_active": 1.0, "simulation.steps": 3}
    with StubServer(script=advising) as server:
        request = Request(replicates=REPLICATES, changes=small, endpoint=server.url, model="stub")
        folder = ExperimentFolder.begin(tmp_path_factory.mktemp("asked") / "x", Design.from_dict(values), request)
        for number in range(len(folder.cells)):
            assert make_cell(folder.path, number) is None
    return folder.path


@pytest.fixture
def experiment(asked: Path, tmp_path: Path) -> Path:
    shutil.copytree(asked, tmp_path / "x")
    return tmp_path / "x"


def judge(folder: Path, server: StubServer, *words: str) -> Result:
    return CliRunner().invoke(
        main, ["experiment", "judge", str(folder), "--llm", server.url, "--model", "stub", *words]
    )


def figure(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / "figures" / f"{name}.parquet")


def test_a_judge_that_is_right_finds_what_moved(experiment: Path) -> None:
    with StubServer(script=RIGHT) as server:
        result = judge(experiment, server)
        assert result.exit_code == 0, result.output
        assert "640 questions about 80 pairs of answers; 0 are answered already" in result.output
        said = json.dumps(server.requests)
        assert len(server.requests) == 8 * AGENTS * REPLICATES * 2
        again = judge(experiment, server)
        assert again.exit_code == 0
        assert len(server.requests) == 8 * AGENTS * REPLICATES * 2  # all was answered already
    answers = pl.read_parquet(experiment / "tables" / "answers.parquet")
    written = " ".join(answers["text"])
    assert "USER_3" in written
    assert "@friend" in written
    for hidden in ("risky", "reading", "replicate", "user_", "@friend", '"first', '"last', "step"):
        assert hidden not in said.lower(), hidden
    assert "I, someone, and someone say" in said
    numbers = answers.with_columns(number=pl.col("text").str.extract(r"say (\d+)").cast(pl.Float64))
    wide = numbers.pivot("wave", index=["arm", "replicate", "agent_id"], values="number")
    moved = wide.with_columns(sign=(pl.col("first") - pl.col("last")).sign(), rated=pl.col("first") - pl.col("last"))
    expected = moved.group_by("arm", "replicate").agg(pl.col("sign", "rated").mean())
    for row in figure(experiment, "judged").iter_rows(named=True):
        mine = expected.filter(pl.col("arm") == row["arm"])
        assert (row["runs"], row["pairs"]) == (REPLICATES, REPLICATES * AGENTS)
        assert row["compared"] == pytest.approx(mine["sign"].mean())
        assert row["rated"] == pytest.approx(mine["rated"].mean())
        assert row["compared_low"] < row["compared"] < row["compared_high"]
    expected = expected.sort("replicate")
    alone, reading = (expected.filter(pl.col("arm") == f"risky-{name}") for name in ("alone", "reading"))
    beside = figure(experiment, "judged_baselines").row(0, named=True)
    assert (beside["outcome"], beside["arm"], beside["baseline"]) == ("compared", "risky-reading", "risky-alone")
    assert beside["estimate"] == pytest.approx((reading["sign"] - alone["sign"]).mean())
    assert beside["low"] < beside["estimate"] < beside["high"]
    agreement = dict(figure(experiment, "judge_agreement").select("agreement", "value").rows())
    assert agreement["the same text rated twice: ICC(2,1)"] == 1
    assert agreement["the same comparison asked twice: Cohen's kappa"] == 1
    page = (experiment / "report.html").read_text("utf-8")
    assert page.index("Shift beside its baselines") < page.index("Judged by a model (secondary)")
    assert "The judge is the model that the agents were decided by" in page
    assert "no liking for a place is shown" in page
    assert "at temperature 1" in page
    assert "80 agents that answered twice, 80 were judged" in page
    (experiment / "judgements.parquet").write_bytes(b"PAR1")
    broken = judge(experiment, server)
    assert broken.exit_code == 2
    assert "remove" in broken.output
    assert "to judge anew" in broken.output


def test_a_judge_that_likes_a_place_finds_nothing(experiment: Path) -> None:
    with StubServer(script=FIRST) as server:
        assert judge(experiment, server, "--pairs", "3").exit_code == 0
    judged = figure(experiment, "judged")
    assert judged["pairs"].to_list() == [3 * REPLICATES] * 2
    assert judged["compared"].to_list() == [0.0, 0.0]
    assert judged["rated"].to_list() == [0.0, 0.0]
    agreement = dict(figure(experiment, "judge_agreement").select("agreement", "value").rows())
    assert agreement["first text shown was chosen"] == 1
    page = (experiment / "report.html").read_text("utf-8")
    assert "(95% interval 100% to 100%): the judge has a liking for the first place" in page
    assert "80 agents that answered twice, 30 were judged: at most 3 of each run" in page
    assert agreement["the other order: share that chose the same text"] == 0


def test_what_was_answered_is_not_asked_again(experiment: Path) -> None:
    limit, failing = 50, True

    def script(body: dict[str, Any], nth: int) -> str | None:
        return "<401>" if failing and len(server.requests) > limit else RIGHT(body, nth)

    with StubServer(script=script) as server:
        words = ("--set", "llm.attempts=1", "--set", "llm.concurrency=1")
        result = judge(experiment, server, *words)
        assert result.exit_code == 1
        assert (
            f"{limit} answers are kept in {experiment / 'judging'}: the same command goes on from them" in result.output
        )
        assert not (experiment / "judged.json").exists()
        failing = False
        server.requests.clear()
        assert judge(experiment, server, "--pairs", "2").exit_code == 2  # other questions
        lock = WriterLock.acquire(experiment)
        assert "writes it; wait" in judge(experiment, server).output
        lock.release(remove=True)
        assert not server.requests
        assert judge(experiment, server).exit_code == 0
        assert len(server.requests) == 8 * AGENTS * REPLICATES * 2 - limit
    assert not (experiment / "judging").exists()
    assert pl.read_parquet(experiment / "judgements.parquet")["answer"].null_count() == 0


def test_what_cannot_be_judged_is_refused(experiment: Path, tmp_path: Path) -> None:
    def said(folder: Path, *words: str) -> str:
        result = CliRunner().invoke(main, ["experiment", "judge", str(folder), *words])
        assert result.exit_code == 2
        return result.output

    named = ("--llm", "http://127.0.0.1:9", "--model", "m")
    assert "no judge is named" in said(experiment)
    assert "no experiment" in said(tmp_path, *named)
    assert "allowed are llm.backend" in said(experiment, *named, "--set", "llm.nonsense=1")
    for path in experiment.glob("cells/*/*/tables/answers.parquet"):
        path.unlink()
    assert "no agent answered the open question twice" in said(experiment, *named)
    assert np.all([not (experiment / name).exists() for name in ("judging", "judged.json")])


def test_names_of_accounts_are_replaced_as_whole_words() -> None:
    texts = ["AskDotCom, @who and betty_nguyen's friend: tmz-like. J.Doe!", "Betty said user_31."]
    shown = without_accounts(texts, ["AskDotCom", "Betty_Nguyen", "TMZ", "J.Doe", "user_3"])
    assert shown == ["someone, someone and someone's friend: someone-like. someone!", "Betty said user_31."]
