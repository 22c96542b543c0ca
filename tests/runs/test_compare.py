"""Runs compared: differences and intervals as pandas and scipy have them, pairs by seed, and where runs part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from click.testing import CliRunner, Result

from oasis import Scenario, Simulation, branch
from oasis.cli import main
from oasis.errors import InputError
from oasis.records import EVENTS
from oasis.runs.comparison import compare
from oasis.runs.comparison.estimates import paired, welch
from oasis.runs.manifest import Manifest, Parent, Past
from oasis.runs.step_differences import step_differences
from oasis.testing.runs import MadeUpRun

STEPS, WARM_UP, SWAP = 8, 2, 5
QUESTION = {"step": 6, "kind": "interview", "agents": [1, 2, 3], "question": "Well?", "question_id": "mood"}
SWAPPED = {"step": SWAP, "kind": "swap_recommender", "recommender": "chronological"}


def _scenario(seed: int, *interventions: dict[str, Any], **simulation: Any) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": STEPS, "warmup_steps": WARM_UP, "seed": seed, **simulation},
            "population": {"agents": 70, "mean_active": 0.3},
            "recsys": {"embedder": "hashed-ngrams"},
            "interventions": [QUESTION | {"scale": [1, 7]}, *interventions],
            "output": {"report": False, "sync": False, "steps_per_block": 3},
        }
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a-1, a-2, a-3 (as it is) and b-1, b-2, b-3 (another recommender from step 5 on)."""
    folder = tmp_path_factory.mktemp("compare")
    for seed in (1, 2, 3):
        Simulation(_scenario(seed), folder / f"a-{seed}").run_sync()
        Simulation(_scenario(seed, SWAPPED), folder / f"b-{seed}").run_sync()
    return folder


def _all(folder: Path) -> list[Path]:
    return [folder / f"{arm}-{seed}" for arm in "ab" for seed in (1, 2, 3)]


def _cli(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["compare", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def _series(path: Path, metric: str) -> np.ndarray:
    return np.asarray(pl.read_parquet(path / "metrics.parquet")[metric].to_numpy(), np.float64)


def test_differences_and_intervals_are_those_of_scipy(runs: Path) -> None:
    found = compare(_all(runs), level=0.9)
    a, b = ([_series(runs / f"{arm}-{seed}", "exposure_gini") for seed in (1, 2, 3)] for arm in "ab")
    ours = found.estimates.row(by_predicate=pl.col("metric") == "exposure_gini", named=True)
    means = [np.array([x[WARM_UP:].mean() for x in arm]) for arm in (a, b)]
    test = scipy.stats.ttest_rel(means[1], means[0])
    assert ours["difference"] == pytest.approx((means[1] - means[0]).mean())
    assert (ours["low"], ours["high"]) == pytest.approx(tuple(test.confidence_interval(0.9)))
    assert ours["variance_ratio"] == pytest.approx(
        (means[0].var(ddof=1) + means[1].var(ddof=1)) / (means[1] - means[0]).var(ddof=1)
    )
    by_step = found.by_step.filter(metric="exposure_gini")
    assert by_step["difference"].to_numpy() == pytest.approx(np.mean(b, axis=0) - np.mean(a, axis=0))
    last = scipy.stats.ttest_rel([x[-1] for x in b], [x[-1] for x in a]).confidence_interval(0.9)
    assert by_step.select("low", "high").row(-1) == pytest.approx(tuple(last))
    assert by_step["measured"].to_list() == [False] * WARM_UP + [True] * (STEPS - WARM_UP)
    assert (found.first_step, found.last_step) == (WARM_UP + 1, STEPS)


def test_arms_pairs_and_what_differs(runs: Path) -> None:
    found = compare(_all(runs)[::-1])
    assert [(arm.label, arm.seeds) for arm in found.arms] == [("A", [1, 2, 3]), ("B", [1, 2, 3])]
    assert [run.path.name for run in found.arms[0].runs] == ["b-1", "b-2", "b-3"]
    assert [(pair.seed, pair.baseline.name, pair.run.name) for pair in found.pairs] == [
        (seed, f"b-{seed}", f"a-{seed}") for seed in (1, 2, 3)
    ]
    (row,) = found.differs.rows(named=True)
    assert (row["key"], row["change"]) == (f"interventions[swap_recommender at step {SWAP}]", "removed")
    assert json.loads(row["baseline"])["recommender"] == "chronological"


def test_another_baseline_turns_every_sign(runs: Path) -> None:
    one, other = compare(_all(runs)), compare(_all(runs), baseline=runs / "b-2")
    assert other.arms[0].runs[1].path == runs / "b-2"
    for name in ("estimates", "by_step"):
        a, b = getattr(one, name), getattr(other, name)
        for here, there in (("difference", "difference"), ("low", "high"), ("baseline", "value")):
            turned = b[there] if here == "baseline" else -b[there]
            assert a[here].to_list() == pytest.approx(turned.to_list()), (name, here)


def test_runs_part_where_the_recommender_is_swapped(runs: Path) -> None:
    for pair in compare(_all(runs)).pairs:
        assert pair.divergence.step == SWAP
        first = pair.divergence.differences[0]
        assert (first.table, first.field, first.agent_id, first.baseline) == ("outside", "row", -1, None)
        tables = [difference.table for difference in pair.divergence.differences]
        assert "impressions" in tables
        shown = pair.divergence.differences[tables.index("impressions")]
        rows = [
            pl.scan_parquet(path / "impressions/*.parquet")
            .filter(
                pl.col("step") == SWAP,
                pl.col("agent_id") == shown.agent_id,
                pl.col("turn") == shown.turn,
                pl.col("position") == shown.position,
            )
            .collect()[shown.field]
            .to_list()
            for path in (pair.baseline, pair.run)
        ]
        assert rows == [[shown.baseline], [shown.value]]


def test_a_run_and_the_same_again_differ_in_nothing(runs: Path, tmp_path: Path) -> None:
    Simulation(_scenario(1, name="another name"), tmp_path / "again").run_sync()
    found = compare([runs / "a-1", tmp_path / "again"])
    assert [arm.repeats for arm in found.arms] == [None, "A"]
    assert found.pairs[0].divergence.step is None
    assert set(found.by_step["difference"].drop_nulls()) == {0.0}
    assert not found.differs.height
    text = _cli(runs / "a-1", tmp_path / "again").stdout
    assert f"no divergence in {STEPS} steps" in text
    assert "nothing: the scenario and seeds are those of A" in text


def test_one_pair_has_no_interval(runs: Path) -> None:
    found = compare([runs / "a-1", runs / "b-1"])
    assert found.estimates["low"].null_count() == found.estimates["high"].null_count() == found.estimates.height
    assert found.estimates["difference"].null_count() < found.estimates.height
    assert any("no interval" in note for note in found.notes)


def test_runs_without_partner_count_only_as_unpaired(runs: Path) -> None:
    found = compare([runs / name for name in ("a-1", "a-2", "b-2", "b-3")], metrics=["impressions", "exposure_gini"])
    assert [(label, run.path.name) for label, run in found.unpaired] == [("A", "a-1"), ("B", "b-3")]
    gini = found.estimates.filter(metric="exposure_gini")
    assert dict(gini.select("kind", "count").iter_rows()) == {"paired": 1, "unpaired": 2}
    a, b = (
        [_series(runs / n, "exposure_gini")[WARM_UP:].mean() for n in names]
        for names in (("a-1", "a-2"), ("b-2", "b-3"))
    )
    expected = scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert gini.filter(kind="unpaired").select("low", "high").row(0) == pytest.approx(tuple(expected))
    assert "UNPAIRED" in _cli(*(runs / name for name in ("a-1", "a-2", "b-2", "b-3"))).stdout


def test_replicates_alone_are_said_to_be_one_arm(runs: Path) -> None:
    found = compare([runs / "a-1", runs / "a-2"])
    assert len(found.arms) == 1
    assert not found.estimates.height
    assert not found.by_step.height
    assert "replicates of one arm" in _cli(runs / "a-1", runs / "a-2").stdout


def test_common_steps_of_runs_of_different_length(runs: Path, tmp_path: Path) -> None:
    Simulation(_scenario(1, steps=5), tmp_path / "short").run_sync()
    found = compare([runs / "a-1", tmp_path / "short"])
    assert (found.first_step, found.last_step) == (WARM_UP + 1, 5)
    assert found.differs["key"].to_list() == ["simulation.steps"]
    assert found.pairs[0].divergence.step is None
    assert any("compared are steps up to 5" in note for note in found.notes)


def test_a_branch_is_paired_with_its_parent_and_told_apart_by_its_later_scenario(runs: Path, tmp_path: Path) -> None:
    made = tmp_path / "branch"
    shutil.copytree(runs / "b-1", made)
    manifest = Manifest.read(made)
    past = _scenario(1).to_dict()
    manifest.past = [Past(last_step=4, scenario=past)]
    manifest.parent = Parent(run_id=None, name="run", path="gone", step=4, step_digest="")
    manifest.write(made)
    found = compare([runs / "a-1", made, runs / "b-1"])
    assert [arm.repeats for arm in found.arms] == [None, None, None]
    branched = found.differs.filter(arm="B")
    assert branched.select("first_step", "last_step").rows() == [(5, None)]
    assert found.pairs[0].divergence.step == SWAP
    assert "branch of run after step 4" in _cli(runs / "a-1", made).stdout
    manifest.past[0].scenario = manifest.scenario
    manifest.write(made)
    assert compare([runs / "b-1", made]).arms[1].repeats == "A"  # a branch that changed nothing


def test_the_past_that_branches_share_is_not_measured(runs: Path, tmp_path: Path) -> None:
    branch(runs / "a-1", 5, tmp_path / "hot", ["recsys.kind=hot"]).run_sync()
    branch(runs / "a-1", 6, tmp_path / "more", ["recsys.size=3"]).run_sync()
    found = compare([runs / "a-1", tmp_path / "hot", tmp_path / "more"], metrics=["impressions"])
    assert (found.first_step, found.last_step) == (6, STEPS)
    assert found.by_step["measured"].to_list()[:STEPS] == [False] * 5 + [True] * (STEPS - 5)
    assert "past that branches share" in "".join(found.notes)
    assert compare([runs / "a-1", tmp_path / "hot"], from_step=4).first_step == 4
    assert compare([runs / "a-2", tmp_path / "hot"]).first_step == WARM_UP + 1  # it has another past
    assert "nothing is left" in _cli(runs / "a-1", tmp_path / "hot", "--from-step", str(STEPS + 1), code=2).output


def test_files_count_by_content_and_servers_not_at_all(runs: Path, tmp_path: Path) -> None:
    paths = {}
    for name, place, digest in (("here", "/x/pop", "aa"), ("moved", "/y/pop", "aa"), ("edited", "/x/pop", "bb")):
        paths[name] = Path(shutil.copytree(runs / "a-1", tmp_path / name))
        manifest = Manifest.read(paths[name])
        manifest.inputs = {f"{place}/users.parquet": digest}
        population = {"source": "parquet", "path": place}
        manifest.scenario = manifest.scenario | {
            "population": population,
            "llm": manifest.scenario["llm"] | {"endpoints": [f"http://{name}"]},
        }
        manifest.write(paths[name])
    assert compare([paths["here"], paths["moved"]]).arms[1].repeats == "A"
    found = compare([paths["here"], paths["edited"]])
    assert found.arms[1].repeats is None
    assert ("file /x/pop/users.parquet", "changed") in found.differs.select("key", "change").rows()


def test_a_run_in_progress_is_compared_as_far_as_it_is(tmp_path: Path) -> None:
    ended = MadeUpRun(tmp_path / "ended", seed=2).finish(report=False)
    going = MadeUpRun(tmp_path / "going").record(3)
    found = compare([ended, going.path], metrics=["gini"])
    going.recorder.close()
    assert found.last_step == 3
    assert any("going is not done (running): 3 of 6 steps" in note for note in found.notes)
    begun = MadeUpRun(tmp_path / "begun")
    begun.recorder.close()
    with pytest.raises(InputError, match="begun: has done no step"):
        compare([ended, begun.path])


def test_interviews_are_a_metric(runs: Path) -> None:
    found = compare(_all(runs), metrics=["interview_mood"])
    answers = pl.concat(
        pl.scan_parquet(runs / f"{arm}-{seed}/interviews/*.parquet").select("value", arm=pl.lit(arm), seed=seed)
        for arm in "ab" for seed in (1, 2, 3)
    ).group_by("arm").agg(pl.col("value").mean()).collect()  # fmt: skip
    means = dict(answers.iter_rows())
    assert found.estimates["difference"][0] == pytest.approx(means["b"] - means["a"])
    assert found.by_step.drop_nulls("difference")["step"].to_list() == [6]


@pytest.mark.parametrize("axis", ["paired", "welch"])
def test_nulls_are_left_out_of_both(axis: str) -> None:
    a, b = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, np.nan]]), np.array([[2.0, 1.0], [np.nan, 6.0], [9.0, np.nan]])
    found = (paired if axis == "paired" else welch)(a, b, 0.95)
    if axis == "paired":
        assert found.difference.tolist() == [3.0, 1.0]
        assert found.count.tolist() == [2, 1]
        assert found.low[0] == pytest.approx(scipy.stats.ttest_rel([2, 9], [1, 4]).confidence_interval().low)
    else:
        assert found.difference.tolist() == pytest.approx([5.5 - 7 / 3, 3.5 - 5])
        assert found.low[0] == pytest.approx(
            scipy.stats.ttest_ind([2, 9], [1, 2, 4], equal_var=False).confidence_interval().low
        )
    assert np.isnan(found.low[1])


def test_one_more_action_shifts_no_other() -> None:
    names = [name for name in EVENTS.names if name != "step"]
    schema = {name: pl.DataFrame(EVENTS.empty_table()).schema[name] for name in names}
    rows = [(seq, seq, 0, "choice", "repost", "post", 3, None, "accepted", 10 + seq, 0.5, None) for seq in range(3)]
    more = [(0, 7, 0, "choice", "create_post", None, None, None, "accepted", 10, 0.5, "hi @someone")]
    more += [(row[0] + 1, *row[1:9], row[9] + 1, *row[10:]) for row in rows]
    empty = {"impressions": pl.DataFrame(schema=["agent_id", "turn", "position"]),
             "interviews": pl.DataFrame(schema=["agent_id", "question_id"])}  # fmt: skip
    a, b = ({"events": pl.DataFrame(r, schema, orient="row"), **empty} for r in (rows, more))
    (found,) = step_differences(a, b)
    assert (found.agent_id, found.field, found.baseline) == (7, "row", None)
    assert "hi @…" in str(found.value)


def test_json_and_files(runs: Path, tmp_path: Path) -> None:
    printed = json.loads(_cli(*_all(runs), "--json", "--metric", "impressions", "--out", tmp_path / "out").stdout)
    assert [arm["baseline"] for arm in printed["arms"]] == [True, False]
    assert {row["metric"] for row in printed["estimates"]} == {"impressions"}
    assert printed["divergence"][0]["first_step"] == SWAP
    assert (tmp_path / "out/differences.png").stat().st_size > 5_000
    by_step = pl.read_parquet(tmp_path / "out/by_step.parquet")
    assert by_step["difference"].to_list() == [row["difference"] for row in printed["by_step"]]
    _cli(*_all(runs), "--out", tmp_path / "out", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a-1"], "at least two runs, got 1"),
        (["a-1", "./a-1"], "given twice"),
        (["a-1", "b-1", "--metric", "impresions"], "did you mean 'impressions'"),
        (["a-1", "nowhere"], "no such run directory"),
        (["a-1", "."], "it has no manifest.json"),
        (["a-1", "b-1", "--baseline", "a-2"], "none of the runs compared"),
        (["a-1", "b-1", "--level", "95"], "between 0 and 1"),
        (["a-1", "b-1", "--ignore", "interventoins"], "did you mean 'interventions'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    runs: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert message in _cli(*arguments, code=2).output


def test_a_key_can_be_told_to_make_no_arm(runs: Path) -> None:
    found = compare([runs / "a-1", runs / "b-2"], ignored=["interventions"])
    assert len(found.arms) == 1
