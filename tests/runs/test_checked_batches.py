"""Of a damaged stream of calls, only rows as they were written are read."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from oasis.records import LLM_CALLS
from oasis.runs.checked_batches import checked_batches, write_checked
from oasis.testing.runs import MadeUpRun


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Return 2,500 made-up calls."""
    made = MadeUpRun(tmp_path_factory.mktemp("calls") / "run", steps=3).record(3)
    made.finish(report=False)
    steps = [step["llm_calls"] for step in made.recorded if "llm_calls" in step]
    some = pa.concat_tables([calls.select(LLM_CALLS.names).cast(LLM_CALLS) for calls in steps])
    many = pa.concat_tables([some] * (2500 // some.num_rows + 1)).slice(0, 2500).combine_chunks()
    return many.set_column(0, LLM_CALLS.field("step"), pa.array(range(2500), pa.int32()))


def write(table: pa.Table, path: Path) -> bytes:
    """Write a stream as runs do, and return it."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        write_checked(writer, table)
    return path.read_bytes()


def read(content: bytes) -> pa.Table:
    """Return what is whole."""
    batches = []
    try:
        with pa.ipc.open_stream(content) as reader:
            for batch in checked_batches(reader):
                batches.append(batch)
    except (OSError, pa.ArrowException):
        pass
    return pa.Table.from_batches(batches, schema=LLM_CALLS)


def test_all_is_read(calls: pa.Table, tmp_path: Path) -> None:
    content = write(calls, tmp_path / "calls.arrows")
    assert read(content).equals(calls)
    assert read(content[: len(content) * 2 // 3]).equals(calls.slice(0, 1024))


def test_a_changed_bit_is_never_read(calls: pa.Table, tmp_path: Path) -> None:
    content = write(calls, tmp_path / "calls.arrows")
    draw = random.Random(1)
    whole = []
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        found = read(bytes(damaged))
        assert found.equals(calls.filter(pc.is_in(calls["step"], found["step"])))
        whole.append(found.num_rows)
    assert sum(rows == 2500 - 1024 for rows in whole) > 100  # a bit of text costs the batch that it is in, no more


def test_a_stream_without_checksums_is_read(calls: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / "calls.arrows"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, LLM_CALLS) as writer:
        writer.write_table(calls)
    assert read(path.read_bytes()).equals(calls)
