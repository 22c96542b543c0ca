"""``oasis population``: data to stdout, the rest to stderr, 2 for bad input, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from oasis.cli.main import main

CSV = 'user_id,username,following_agentid_list,previous_tweets\n7,a,"[1, 0]",["hi"]\n8,a,[],[]\n'


def _run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["population", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_generate_and_describe(tmp_path: Path) -> None:
    code, out, _ = _run(
        "generate",
        "--agents",
        60,
        "--seed",
        3,
        "--set",
        "history=2",
        "--no-embeddings",
        "--out",
        tmp_path / "p",
        "--json",
    )
    assert code == 0
    facts = json.loads(out)
    assert facts["agents"] == 60
    assert facts["history_posts"] == 120
    assert json.loads(_run("describe", tmp_path / "p", "--json")[1]) == facts
    code, out, _ = _run("describe", tmp_path / "p")
    assert code == 0
    assert "reciprocity" in out


@pytest.mark.parametrize("how", [[], ["--path"]])
def test_import(tmp_path: Path, how: list[str]) -> None:
    (tmp_path / "x.csv").write_text(CSV, "utf-8")
    further = ("--source", "x-csv", "--embedder", "hashed-ngrams", "--out", tmp_path / "p", "--json")
    code, out, err = _run("import", *how, tmp_path / "x.csv", *further)
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["agents"], facts["follows"], facts["history_posts"]) == (2, 1, 1)
    assert facts["refused_by_reason"] == {"self-follow": 1}
    assert json.loads(_run("describe", tmp_path / "p", "--json")[1]) == facts  # refused rows are kept
    assert {p.name for p in (tmp_path / "p").iterdir()} == {
        "users.parquet",
        "follows.parquet",
        "posts.parquet",
        "refused.json",
        "bio_embeddings.parquet",
        "post_embeddings.parquet",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--agents", "5", "--out", "there"], "is there already"),
        (["import", "x.csv", "--source", "x-csv", "--out", "there"], "is there already"),
        (["generate", "--agents", "5", "--out", "new", "--set", "assortativty=1"], "did you mean 'assortativity'"),
        (["generate", "--agents", "5", "--out", "new", "--set", "assortativity"], "KEY=VALUE"),
        (["generate", "--agents", "5", "--out", "new", "--set", "seed=3"], "give --seed"),
        (["generate", "--agents", "5", "--out", "new", "--mean-active", "nan"], "mean_active"),
        (["generate", "--agents", "0", "--out", "new"], "--agents"),
        (["generate", "--agents", "5", "--out", "new", "--embedder", "wordlama"], "did you mean 'wordllama'"),
        (["generate", "--agents", "5", "--out", "x.csv/new"], "cannot be written"),
        (["import", "none.csv", "--source", "x-csv", "--out", "new"], "no such file"),
        (["import", "x.csv", "--source", "csv", "--out", "new"], "csv"),
        (["import", "--source", "x-csv", "--out", "new"], "name one file"),
        (["import", "bad.csv", "--source", "x-csv", "--out", "new"], "line 2"),
        (["describe", "none"], "no such folder"),
    ],
)
def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "x.csv").write_text(CSV, "utf-8")
    (tmp_path / "bad.csv").write_text("username,following_agentid_list\na,[9]\n", "utf-8")
    before = sorted(tmp_path.iterdir())
    code, out, err = _run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert sorted(tmp_path.iterdir()) == before
