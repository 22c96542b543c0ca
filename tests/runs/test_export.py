"""Exports: whole, complete, and harmless to open."""

import csv
import json
import sqlite3

import networkx as nx
import polars as pl
import pytest
import sqlite_utils
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from oasis.cli.export import export
from oasis.errors import InputError, OasisError
from oasis.runs import open_run
from oasis.runs.export import export_run
from oasis.runs.export.csv_files import guard_formulas
from oasis.runs.export.graphml import xml_text
from oasis.runs.export.tables import EXPORTED
from oasis.testing.runs import HOSTILE, MadeUpRun


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run(MadeUpRun(tmp_path_factory.mktemp("export") / "run", hostile=True).finish(report=False))


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    return open_run(MadeUpRun(tmp_path_factory.mktemp("named") / "run").finish(report=False))


def test_sqlite_has_all_rows(run, tmp_path):
    database = sqlite_utils.Database(export_run(run, "sqlite", tmp_path / "run.db"))
    for name in EXPORTED:
        assert database.table(name).count == run.table(name).collect().height, name
    assert list(database.query("PRAGMA foreign_key_check")) == []
    assert list(database.query("PRAGMA integrity_check")) == [{"integrity_check": "ok"}]
    assert database.table("posts").pks == ["post_id"]
    assert ["step", "agent_id"] in [i.columns for i in database.table("events").indexes]
    posts = run.posts.collect()
    assert [r["likes"] for r in database.table("posts").rows] == posts["likes"].to_list()
    (call,) = database.table("llm_calls").rows
    assert call["prompt_hash"] == "f" * 16
    assert json.loads(call["options"]) == [1, 2**64 - 1]
    assert json.loads(call["logprobs"]) == [-0.5, -1.5]
    settings = {r["key"]: r["value"] for r in database.table("run").rows}
    assert (settings["status"], settings["state_hash"]) == ("done", run.manifest.state_hash)
    assert json.loads(settings["coverage"])["registered"] == 12
    database.close()


def test_texts_survive_sqlite(run, tmp_path):
    out = export_run(run, "sqlite", tmp_path / "run.db", handles=True)
    connection = sqlite3.connect(out)
    (texts,) = zip(*connection.execute("SELECT content FROM posts ORDER BY post_id"), strict=True)
    connection.close()
    assert list(texts) == run.posts.collect()["content"].to_list()
    assert HOSTILE[0] in texts


def test_graphml_loads_in_networkx(run, tmp_path):
    graph = nx.read_graphml(export_run(run, "graphml", tmp_path / "run.graphml", handles=True))
    users, follows = run.users.collect(), run.follows.collect()
    assert set(graph) == {str(i) for i in users["agent_id"]}
    assert set(graph.edges(data="step")) == {(str(a), str(b), s) for a, b, s in follows.iter_rows()}
    for row in users.to_dicts():
        node = graph.nodes[str(row["agent_id"])]
        assert node["bio"] == row["bio"]
        assert node["followers"] == row["followers"]
        assert node["banned"] is False
        assert node.get("stance") == pytest.approx(row["stance"])
    assert graph.is_directed()


@given(st.text())
def test_any_text_is_legal_xml(text):
    import xml.etree.ElementTree as tree

    text = text.encode("utf-8", "replace").decode()
    element = tree.fromstring("<a>" + pl.select(xml_text(pl.lit(text))).item() + "</a>")
    legal = "".join(c for c in text if c in "\t\n\r" or 0x20 <= ord(c) <= 0xFFFD or ord(c) >= 0x10000)
    assert (element.text or "") == legal


def test_csv_holds_all_rows_and_no_formula(run, tmp_path):
    out = export_run(run, "csv", tmp_path / "csv", handles=True)
    texts = set()
    for name in EXPORTED:
        with open(out / f"{name}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table = run.table(name).collect()
        assert len(rows) == table.height, name
        strings = [c for c in table.columns if table.schema[c] == pl.String]
        for row in rows:
            for column in strings:
                texts.add(row[column])
                assert not row[column].lstrip(" \t\r\n").startswith(("=", "+", "-", "@")), row[column]
    assert '\'=HYPERLINK("http://example.org","click")' in texts
    assert "'-1+1" in texts
    assert "'=1+1" in texts
    assert HOSTILE[0] in texts


@given(
    st.sampled_from(["", " ", "\t", "\n", "'", " '", "\u00a0", "\ufeff"]),
    st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20"),
)
def test_formulas_behind_white_space_are_guarded(before, sign):
    frame = pl.LazyFrame({"x": [f"{before}{sign}1", "plain", None], "n": [-1, 2, 3]})
    guarded = guard_formulas(frame).collect()
    assert guarded["x"].to_list() == [f"'{before}{sign}1", "plain", None]
    assert guarded["n"].to_list() == [-1, 2, 3]


@pytest.mark.parametrize("to", ["sqlite", "graphml", "csv"])
def test_names_are_written_only_when_asked_for(named, tmp_path, to):
    for handles in (False, True):
        out = export_run(named, to, tmp_path / f"{to}{handles}", handles=handles)
        content = b"".join(f.read_bytes() for f in ([out] if out.is_file() else sorted(out.iterdir())))
        assert (b"Real Name 3" in content) == handles
        assert (b"user_3" in content) == handles  # a username, and a mention in a text
        assert b"Text number 3 by @" in content


def test_names_in_the_arguments_of_sign_ups_are_left_out():
    from oasis.runs.handles import without_names

    content = r'{"bio": "b", "name": "A \"B\" C", "username":"abc"}'
    frame = pl.DataFrame({"action": ["sign_up", "create_post"], "agent_id": [-1, 3], "content": [content, content]})
    emptied, kept = frame.select(without_names())["content"]
    assert json.loads(emptied) == {"bio": "b", "name": None, "username": None}
    assert kept == content


def test_what_is_there_stays(run, tmp_path):
    out = tmp_path / "there"
    out.write_text("mine")
    for to in ("sqlite", "graphml", "csv"):
        with pytest.raises(InputError, match="is there already"):
            export_run(run, to, out)
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="did you mean 'sqlite'"):
        export_run(run, "sqlit", tmp_path / "x")
    with pytest.raises(InputError, match="cannot be made"):
        export_run(run, "csv", out / "below")


def test_nothing_is_left_when_writing_fails(run, tmp_path, monkeypatch):
    import oasis.runs.export.export as module

    def half(run, out, handles):
        out.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(module.FORMATS, "sqlite", half)
    with pytest.raises(OasisError, match="No space left"):
        export_run(run, "sqlite", tmp_path / "run.db")
    assert list(tmp_path.iterdir()) == []


def test_the_command(run, tmp_path):
    done = CliRunner().invoke(export, [str(run.path), "--to", "csv", "--out", str(tmp_path / "csv")])
    assert done.exit_code == 0
    assert done.output.strip() == str(tmp_path / "csv")
    assert CliRunner().invoke(export, [str(run.path), "--to", "xls", "--out", "x"]).exit_code == 2
    wrong = CliRunner().invoke(export, [str(tmp_path / "none"), "--to", "csv", "--out", str(tmp_path / "x")])
    assert wrong.exception.exit_code == 2
