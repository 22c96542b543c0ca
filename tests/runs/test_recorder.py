"""What is marked is there, whatever happens to the process, the disk or the block."""

import json
import os
import shutil
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.errors import RunDirectoryError, RunStoppedError
from oasis.records import EVENTS, IMPRESSIONS, STEP_TABLES
from oasis.runs import open_run, recorder
from oasis.runs.blocks import marks_path, read_marks, read_recorded, stream_path
from oasis.runs.summary import summarise
from oasis.testing.runs import MadeUpRun


def all_rows(path, table="events"):
    files, rest = read_recorded(path, table)
    parts = [pq.read_table(f).cast(STEP_TABLES[table]) for f in files]
    return pa.concat_tables([*parts, rest]).unify_dictionaries().combine_chunks()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Ten steps of twelve agents, killed in the third block of four; and what each step recorded."""
    path = tmp_path_factory.mktemp("killed") / "run"
    made = MadeUpRun(path, steps=20)
    written = []
    for step in range(1, 11):
        tables = made.tables(step)
        written.append(tables)
        made.recorder.record_step(step, tables, {"active": 12})
    made.recorder.close()
    return path, written


def test_a_killed_run_reads_as_it_was_recorded(killed):
    path, written = killed
    for name in ("events", "impressions"):
        expected = pa.concat_tables([tables[name] for tables in written])
        assert all_rows(path, name).to_pylist() == expected.to_pylist()
    run = open_run(path)
    assert run.steps_done == 10
    assert run.metrics.collect()["step"].to_list() == list(range(1, 11))
    assert run.llm_calls.collect().height == 1
    assert run.manifest.status == "running"


def test_only_whole_blocks_are_parquet(killed):
    path, _ = killed
    for name in STEP_TABLES:
        assert [f.name for f in sorted((path / name).iterdir())] == ["000001-000004.parquet", "000005-000008.parquet"]
        assert stream_path(path, name, 9).exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_lies_behind_the_last_mark_never_happened(killed, tmp_path_factory, data):
    """Cut the marks anywhere, and let streams end anywhere behind what the last whole mark holds."""
    path, written = killed
    copy = tmp_path_factory.mktemp("cut") / "run"
    shutil.copytree(path, copy)
    marks = marks_path(copy).read_bytes()
    lines = marks.split(b"\n")
    in_block = sum(len(line) + 1 for line in lines[:8])  # marks of blocks that are Parquet already
    cut = data.draw(st.integers(in_block, len(marks)))
    marks_path(copy).write_bytes(marks[:cut])
    left = marks[:cut].count(b"\n")
    kept = read_marks(copy)
    assert [m.step for m in kept] == list(range(1, left + 1))
    for name in STEP_TABLES:
        stream = stream_path(copy, name, 9)
        valid = kept[-1].lengths[name] if left > 8 else 0
        end = data.draw(st.integers(valid, stream.stat().st_size))
        os.truncate(stream, end)
        if data.draw(st.booleans()):
            with open(stream, "ab") as file:
                file.write(b"\xff" * 100)
    for name in ("events", "impressions"):
        expected = pa.concat_tables([tables[name] for tables in written[:left]])
        assert all_rows(copy, name).to_pylist() == expected.to_pylist()
    assert open_run(copy).steps_done == left
    shutil.rmtree(copy)


def test_a_stream_shorter_than_its_mark_is_damage(killed, tmp_path):
    path, _ = killed
    shutil.copytree(path, tmp_path / "run")
    stream = stream_path(tmp_path / "run", "events", 9)
    os.truncate(stream, stream.stat().st_size - 1)
    with pytest.raises(RunDirectoryError, match="events-000009.*bytes"):
        open_run(tmp_path / "run").events.collect()
    stream.unlink()
    with pytest.raises(RunDirectoryError, match="missing"):
        open_run(tmp_path / "run").events.collect()


def test_a_process_that_is_killed_leaves_its_steps(tmp_path):
    code = f"""
import os, signal
from oasis.testing.runs import MadeUpRun
MadeUpRun({str(tmp_path / "run")!r}, steps=20).record(6)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    run = open_run(tmp_path / "run")
    assert (run.state, run.steps_done) == ("killed", 6)
    assert run.events.collect().height == 6 * 12
    # The block that was full may or may not have become Parquet before the kill; it reads the same.
    assert run.events.collect()["step"].unique().sort().to_list() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 9])
def test_block_boundaries(tmp_path, steps):
    made = MadeUpRun(tmp_path / "run", steps=steps)
    path = made.finish(report=False)
    names = sorted(f.name for f in (path / "events").iterdir())
    assert names == [f"{s:06d}-{min(s + 3, steps):06d}.parquet" for s in range(1, steps + 1, 4)]
    assert all_rows(path).num_rows == 12 * steps
    assert not (path / "current").exists()
    assert not (path / "initial").exists()
    assert not list(path.rglob(".*"))


def test_a_run_without_steps_or_rows_opens_everywhere(tmp_path):
    path = MadeUpRun(tmp_path / "none").finish("failed", report=False, message="no step")
    run = open_run(path)
    assert (run.state, run.steps_done) == ("failed", 0)
    for name in STEP_TABLES:
        assert run.table(name).collect().height == 0
    made = MadeUpRun(tmp_path / "empty", steps=2)
    made.recorder.record_step(1, {}, {})
    made.recorder.record_step(2, {"events": EVENTS.empty_table(), "impressions": IMPRESSIONS.empty_table()}, {})
    made.recorder.finish("done", report=False)
    for name, schema in STEP_TABLES.items():
        assert pq.read_table(tmp_path / "empty" / name).schema.names == schema.names
        assert pl.scan_parquet(tmp_path / "empty" / name).collect().height == 0
        assert open_run(tmp_path / "empty").table(name).collect().height == 0


def test_files_hold_the_declared_types(tmp_path):
    path = MadeUpRun(tmp_path / "run").finish(report=False)
    for name, schema in STEP_TABLES.items():
        for file in (path / name).iterdir():
            assert pq.read_schema(file).remove_metadata() == schema
            columns = pq.ParquetFile(file).metadata.row_group(0) if pq.read_metadata(file).num_rows else None
            assert columns is None or columns.column(0).compression == "ZSTD"


def test_the_same_rows_give_the_same_bytes(tmp_path):
    one, two = (MadeUpRun(tmp_path / n).finish(report=False) for n in ("one", "two"))
    files = sorted(f.relative_to(one) for f in one.rglob("*.parquet"))
    assert len(files) == 4 * 2 + 5
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


def test_rows_are_sorted_within_a_step(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=1)
    tables = made.tables(1)
    shuffled = {name: rows.take(pa.array(range(rows.num_rows - 1, -1, -1))) for name, rows in tables.items()}
    made.recorder.record_step(1, shuffled, {})
    for name in ("events", "impressions"):
        assert all_rows(made.path, name).to_pylist() == tables[name].to_pylist()
    made.recorder.close()


def test_dictionaries_may_differ_between_steps(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=4)
    expected = []
    for step, action in enumerate(["like_post", "repost", "follow", "like_post"], 1):
        rows = made.tables(step)["events"].slice(0, 2)
        column = pa.array([action, None], EVENTS.field("action").type)
        rows = rows.set_column(rows.schema.get_field_index("action"), "action", column)
        made.recorder.record_step(step, {"events": rows}, {})
        expected += [action, None]
    assert all_rows(made.path)["action"].to_pylist() == expected
    made.recorder.finish("done", report=False)
    assert open_run(made.path).events.collect()["action"].to_list() == expected


def test_misuse_is_an_error(tmp_path):
    made = MadeUpRun(tmp_path / "run").record(1)
    with pytest.raises(ValueError, match="step 3 cannot be recorded after step 1"):
        made.recorder.record_step(3, {}, {})
    with pytest.raises(ValueError, match="no recorded table"):
        made.recorder.record_step(2, {"evnts": EVENTS.empty_table()}, {})
    with pytest.raises(KeyError, match="did you mean 'coverage'"):
        made.recorder.update(coverag={})
    made.recorder.close()


class _FullDisk:
    """A file that takes `room` more bytes."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self._room:
            self._file.write(bytes(memoryview(data).cast("B")[: self._room]))
            raise OSError(28, "No space left on device")
        self._room -= size
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, monkeypatch):
    made = MadeUpRun(tmp_path / "run", steps=10).record(6)
    before = all_rows(made.path).to_pylist()
    stream = made.recorder._block["impressions"]
    full = _FullDisk(stream._file, 100)
    stream._writer = pa.ipc.new_stream(pa.PythonFile(full, "w"), IMPRESSIONS)
    with pytest.raises(RunStoppedError, match=r"No space left on device; steps 1 to 6 are on disk.*resume"):
        made.record(1)
    with pytest.raises(RunStoppedError, match="No space left"):
        made.record(1)
    assert all_rows(made.path).to_pylist() == before
    assert open_run(made.path).steps_done == 6
    made.recorder.finish("stopped", message="disk full", report=False)
    run = open_run(made.path)
    assert (run.state, run.steps_done, run.manifest.message) == ("stopped", 6, "disk full")
    assert all_rows(made.path).to_pylist() == before


def test_a_block_that_failed_in_the_background_stops_the_run_and_is_made_up_for(tmp_path, monkeypatch):
    import oasis.runs.recorder as module

    def no_room(*arguments):
        raise OSError(28, "No space left on device")

    made = MadeUpRun(tmp_path / "run", steps=20)
    with monkeypatch.context() as patch:
        patch.setattr(module, "to_parquet", no_room)
        made.record(4)
        made.recorder._waiting[-1].exception()  # wait
        with pytest.raises(RunStoppedError, match="No space left"):
            made.record(1)
    assert all_rows(made.path).num_rows == 4 * 12
    made.recorder.finish("stopped", report=False)
    assert all_rows(made.path).num_rows == 4 * 12
    assert [f.name for f in (made.path / "events").iterdir()] == ["000001-000004.parquet"]


def test_calls_of_a_dropped_step_are_kept(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=6).record(2)
    calls = made.recorded[0]["llm_calls"]
    made.recorder.record_dropped(calls)
    made.recorder.record_dropped(calls.slice(0, 0))
    assert open_run(made.path).llm_calls.collect().height == 2
    made.record(2)
    made.recorder.finish("stopped", report=False)
    assert open_run(made.path).llm_calls.collect().height == 2
    assert open_run(made.path).events.collect()["step"].max() == 4


def test_metrics_keep_their_types(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=2)
    made.recorder.record_step(1, {}, {"n": 2**40, "x": 0.1 + 0.2, "nan": float("nan"), "b": True, "digest": "ab"})
    made.recorder.record_step(2, {}, {"n": 1, "x": -0.0, "nan": 1.5, "b": False, "digest": "cd"})
    before = open_run(made.path).metrics.collect()
    made.recorder.finish("done", report=False)
    after = pl.read_parquet(made.path / "metrics.parquet")
    assert before.equals(after)
    assert after.schema == {"step": pl.Int32, "n": pl.Int64, "x": pl.Float64, "nan": pl.Float64} | {
        "b": pl.Boolean,
        "digest": pl.String,
    }
    assert after["x"][0] == 0.1 + 0.2


def test_a_damaged_mark_is_named(killed, tmp_path):
    path, _ = killed
    shutil.copytree(path, tmp_path / "run")
    marks = marks_path(tmp_path / "run")
    marks.write_bytes(marks.read_bytes().replace(b'{"step":3', b'{"stop":3'))
    with pytest.raises(RunDirectoryError, match="line 3"):
        open_run(tmp_path / "run").events.collect()
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "running"


@pytest.mark.parametrize("last", ["write_parquet", "hash_files"])
def test_a_run_killed_while_it_writes_its_end_is_read_as_one_in_progress(tmp_path, monkeypatch, last):
    class Killed(BaseException):
        pass

    def kills(*_):  # the first is of the metrics, after the world's tables
        raise Killed

    made = MadeUpRun(tmp_path / "run", steps=6)
    with monkeypatch.context() as patch:
        patch.setattr(recorder, last, kills)
        with pytest.raises(Killed):
            made.finish()
    run = open_run(made.path)
    assert (run.ended, run.steps_done, run.manifest.status) == (False, 6, "running")
    assert run.posts.collect().height == len(made.world.posts)
    assert run.events.collect().height == run.metrics.collect().height * len(made.world.users)
    assert summarise(run).steps_done == 6


def test_numbers_that_are_none_are_null_in_metrics_whatever_state_the_run_is_in(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=2)
    for step in (1, 2):
        made.recorder.record_step(step, {}, {"mean_stance": float("nan"), "active": step})
    line = marks_path(made.path).read_text("utf-8").splitlines()[0]
    assert "NaN" not in line  # which is no JSON
    wanted = {"step": pl.Int32, "mean_stance": pl.Float64, "active": pl.Int64}
    during = open_run(made.path).metrics.collect()
    made.recorder.finish("stopped", report=False)
    after = open_run(made.path).metrics.collect()
    assert dict(during.schema) == dict(after.schema) == wanted
    assert during.equals(after)
    assert after["mean_stance"].to_list() == [None, None]


def test_a_block_that_becomes_parquet_while_it_is_read_is_read_once(tmp_path, monkeypatch):
    import oasis.runs.blocks as blocks

    made = MadeUpRun(tmp_path / "run", steps=20).record(3)
    read = blocks.read_stream

    def slowly(path, length, schema):
        yield from read(path, length, schema)
        if not done:
            done.append(True)
            made.record(1)  # fills the block
            for work in made.recorder._waiting:
                work.result()

    done: list[bool] = []
    monkeypatch.setattr(blocks, "read_stream", slowly)
    files, rest = blocks.read_recorded(made.path, "events")
    assert done
    assert (files, rest.num_rows) == ([], 3 * 12)
    made.recorder.close()
