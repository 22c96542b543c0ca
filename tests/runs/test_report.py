"""The report: self-contained, loud when it must be, and deaf to what is in the texts."""

import re
import struct
from html.parser import HTMLParser

import polars as pl
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation
from oasis.cli import main
from oasis.inference import Client, MockTransport, Reply
from oasis.inference_config import LLMConfig
from oasis.runs import open_run
from oasis.runs.figure_data import activity, exposure, figure_data, followers, reception
from oasis.runs.report import write_report
from oasis.runs.summary import summarise
from oasis.testing.runs import HOSTILE, MadeUpRun


class Page(HTMLParser):
    """Collects elements and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    made = MadeUpRun(tmp_path_factory.mktemp("report") / "run", steps=8, hostile=True)
    made.directory.update(
        name=HOSTILE[0],
        refused_rows=[{"row": 4, "reason": HOSTILE[1], "username": "a_real_handle"}],
        message=HOSTILE[0],
    )
    return made.finish("stopped" if False else "done", top_cascades=100)


def test_hostile_text_is_text(hostile):
    html = (hostile / "report.html").read_text("utf-8")
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "embed", "form", "link", "base"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert all(a.get("src", "data:").startswith("data:image/png;base64,") or tag != "img" for a in [attributes])
    text = "".join(page.text)
    assert "<script>alert('run me')</script>" in text  # shown as it is, not swallowed
    assert "{{ 7 * 7 }}" in text
    assert "a_real_handle" not in html
    assert "user_" not in html


def test_nothing_is_loaded_and_scripts_are_forbidden(hostile):
    html = (hostile / "report.html").read_text("utf-8")
    page = Page(html)
    (policy,) = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?https?:", html)


def test_coverage_comes_first(hostile):
    headings = re.findall(r"<h2>(.*?)</h2>", (hostile / "report.html").read_text("utf-8"))
    assert headings[:2] == ["Decision coverage", "Cost"]


def test_what_came_of_decisions_is_told(tmp_path):
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 4},
            "recsys": {"embedder": "hashed-ngrams"},
            "population": {"agents": 60, "mean_active": 0.5},
            "interventions": [{"step": 2, "kind": "post", "author": 0, "content": "From outside."}],
        }
    )
    Simulation(scenario, tmp_path / "run").run_sync()
    run = open_run(tmp_path / "run")
    effects = summarise(run).effects
    mine = run.events.filter(pl.col("agent_id") >= 0).with_columns(pl.col("action", "outcome").cast(pl.String))
    events = mine.collect().to_dicts()
    idle = {"do_nothing", "search_posts", "search_user", "trend", "refresh", "listen_from_group"}
    changing = {(e["step"], e["agent_id"]) for e in events if e["outcome"] == "accepted" and e["action"] not in idle}
    decisions = {(e["step"], e["agent_id"]) for e in events}
    assert (effects.changed, effects.decisions) == (len(changing), len(decisions))
    assert 0 < effects.changed < effects.decisions
    assert effects.mean_active == len(decisions) / 4
    assert (effects.feeds, effects.empty_feeds) == (len(decisions), run.metrics.collect()["empty_feeds"].sum())
    posts = run.posts.filter(pl.col("step") > 0).collect()
    assert effects.new_posts == len(posts) - 1
    for row in effects.mix.iter_rows(named=True):
        asked = [e for e in events if e["action"] == row["action"]]
        assert (row["asked"], row["accepted"]) == (len(asked), sum(e["outcome"] == "accepted" for e in asked))
        assert row["share"] == pytest.approx(len(asked) / len(events))
    assert effects.mix["asked"].sum() == len(events)
    page = "".join(Page((tmp_path / "run" / "report.html").read_text("utf-8")).text)
    assert f"{len(changing) / len(decisions):.1%}of decisions changed the platform" in page
    assert f"{effects.mean_active:.4g} in a step" in page


def test_what_a_decision_and_all_of_them_cost_is_told(tmp_path):
    model = MockTransport(lambda prompt: Reply('{"actions":[{"action":"do_nothing"}]}', 1000, 400, 12, "stop"))
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 3},
            "population": {"agents": 20, "mean_active": 0.5},
            "policies": [{"kind": "llm", "share": 0.5}, {"kind": "choice"}],
            "budget": {"price_in": 2.0, "price_cached": 1.0, "price_out": 10.0},
        }
    )
    client = Client([model], LLMConfig(model="mock"))
    Simulation(scenario, tmp_path / "run", inference=client).run_sync()
    summary = summarise(open_run(tmp_path / "run"))
    assert summary.per_decision == {"calls": 1.0, "input": 1000.0, "cached": 400.0, "output": 12.0}
    assert summary.cost == pytest.approx(len(model.prompts) * (600 * 2 + 400 * 1 + 12 * 10) / 1e6)
    html = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Per decision by a language model: 1.00 calls, 1,000 tokens in" in html
    assert f"all tokens cost {summary.cost:.4g}." in html
    said = CliRunner().invoke(main, ["inspect", str(tmp_path / "run")]).output
    assert "each        1.00 calls, 1,000 tokens in (400 cached), 12.0 out" in said
    assert f"cost        {summary.cost:.4g}" in said


@pytest.mark.parametrize(("status", "words"), [("stopped", "This run was stopped"), ("failed", "This run failed")])
def test_an_early_end_is_at_the_top(tmp_path, status, words):
    path = MadeUpRun(tmp_path / "run").record(2).finish(status, message="9 of 10 decisions <failed>")
    html = (path / "report.html").read_text("utf-8")
    banner = html[html.index('<div class="banner"') :]
    assert words in banner[:200]
    assert "9 of 10 decisions &lt;failed&gt;" in banner
    assert html.index('<div class="banner"') < html.index("<h2>")


def test_a_platform_without_reposts_shows_how_posts_are_received(tmp_path):
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 2},
            "platform": {"kind": "reddit"},
            "population": {"agents": 30, "mean_active": 0.5},
        }
    )
    Simulation(scenario, tmp_path / "run").run_sync()
    page = "".join(Page((tmp_path / "run" / "report.html").read_text("utf-8")).text)
    assert "Nothing was reposted." in page
    assert "2 steps" in page
    assert pl.read_parquet(tmp_path / "run" / "figures" / "reception.parquet").height


def test_a_finished_run_has_no_banner(tmp_path):
    path = MadeUpRun(tmp_path / "run").finish()
    assert '<div class="banner"' not in (path / "report.html").read_text("utf-8")


def test_a_run_of_nothing_has_a_report(tmp_path):
    path = MadeUpRun(tmp_path / "run").finish("failed", message="no step")
    assert "of\n6 steps" in (path / "report.html").read_text("utf-8")


def test_a_killed_run_can_be_reported(tmp_path):
    made = MadeUpRun(tmp_path / "run").record(3)
    write_report(made.path)
    assert "has not ended" in (made.path / "report.html").read_text("utf-8")
    made.recorder.close()


def test_figures_are_pictures_with_their_data(hostile):
    names = {"overview", *figure_data(open_run(hostile))}
    assert {f.stem for f in (hostile / "figures").glob("*.png")} == names
    for name in names:
        head = (hostile / "figures" / f"{name}.png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:])
        assert width > 800
        assert height > 400
    assert pl.read_parquet(hostile / "figures" / "activity.parquet").equals(activity(open_run(hostile)))


def test_figure_data_by_hand(tmp_path):
    run = open_run(MadeUpRun(tmp_path / "run", steps=8).finish(report=False))
    table = activity(run)
    counted = run.events.filter((pl.col("outcome") == "accepted") & (pl.col("action") != "do_nothing"))
    hours = 8 * 3 / 60
    assert table["per_hour"].sum() * hours / 8 == pytest.approx(counted.select(pl.len()).collect().item())
    shares = exposure(run)
    assert (shares["posts"][0], shares["impressions"][0]) == (0, 0)
    assert (shares["posts"][-1], shares["impressions"][-1]) == (1, 1)
    assert 0 < shares["gini"][0] < 1
    received = reception(run).filter(pl.col("what") == "likes")
    likes = run.posts.filter(pl.col("kind") != "repost").collect()["likes"]
    assert [tuple(row) for row in received.select("count", "share").iter_rows()] == [
        (n, (likes >= n).mean()) for n in sorted(set(likes))
    ]
    assert followers(run).to_dicts() == [{"followers": 1, "share": 1.0}]


def test_warm_up_is_left_out_of_what_figures_show(tmp_path):
    run = open_run(MadeUpRun(tmp_path / "run", steps=8).finish(report=False))
    whole = activity(run)
    run.manifest.scenario["simulation"]["warmup_steps"] = 5
    later = activity(run)
    assert later["hours"].min() == pytest.approx(5.5 * 3 / 60)
    assert later.equals(whole.filter(pl.col("hours") > 5 * 3 / 60, pl.col("action").is_in(later["action"])))
    run.manifest.scenario["simulation"]["warmup_steps"] = 8  # it never got beyond it
    assert activity(run).equals(whole)


def test_a_report_that_cannot_be_drawn_takes_nothing_from_the_run(tmp_path, monkeypatch):
    import oasis.runs.report as module

    def fails(*arguments):
        raise ValueError("no such font")

    monkeypatch.setattr(module, "write_report", fails)
    path = MadeUpRun(tmp_path / "run", steps=4).finish()
    manifest = open_run(path).manifest
    assert (manifest.status, manifest.steps_done) == ("done", 4)
    assert manifest.message == "the report could not be written: ValueError: no such font"
