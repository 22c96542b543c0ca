"""Checkpoints: whole or not there, of what changed, kept by a rule."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from oasis.errors import RunDirectoryError
from oasis.runs.checkpoints import Checkpoint, Checkpoints, _superfluous, checkpoint_folders, read_checkpoint

ROWS = 200_000


def tables(changed: int = 0) -> dict[str, pa.Table]:
    rng = np.random.default_rng(1)
    wide = pa.FixedSizeListArray.from_arrays(pa.array(rng.integers(0, 99, ROWS * 24, np.int32)), 24)
    counts = rng.integers(0, 99, ROWS, np.int32)
    counts[:5] += changed
    texts = pa.array([f"text {i}" for i in range(ROWS)], pa.large_string())
    odd = pa.table({"a/b": [1, changed], "": ["x", None]})
    users = pa.table({"wide": wide, "count": counts, "text": texts})
    return {"users": users, "odd/na me": odd, "empty": odd.slice(0, 0)}


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Checkpoint(7, {"step_digest": "ab", "calls": {"n": 1}}, tables())
    folder = Checkpoints(tmp_path, keep=2, sync=False).write(written)
    read = read_checkpoint(folder)
    assert (read.step, read.facts) == (7, written.facts)
    assert read.tables.keys() == written.tables.keys()
    assert all(read.tables[name].combine_chunks().equals(table) for name, table in written.tables.items())


def test_what_did_not_change_is_linked(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2, sync=False)
    first = checkpoints.write(Checkpoint(1, {}, tables()))
    second = checkpoints.write(Checkpoint(2, {}, tables(changed=1)))
    new = [f for f in second.iterdir() if f.stat().st_ino != (first / f.name).stat().st_ino]
    assert sorted(f.name.split(".")[0] for f in new) == ["checkpoint", "odd_na_me-" + _hash("odd/na me"), "users"]
    size = {folder: sum(f.stat().st_size for f in folder.iterdir()) for folder in (first, second)}
    assert sum(f.stat().st_size for f in new) < size[second] / 20 < size[first]
    assert first.exists()
    Checkpoints(tmp_path, keep=1, sync=False).write(Checkpoint(3, {}, tables()))
    assert [f.name for f in checkpoint_folders(tmp_path)] == ["000003"]
    assert read_checkpoint(tmp_path / "checkpoints/000003").tables["users"]["count"][0].as_py() >= 0


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_any_harm_to_any_file_is_noticed(harm: str, tmp_path: Path) -> None:
    small = {name: table.slice(0, 40) for name, table in tables().items()}
    for number, name in enumerate(sorted(p.name for p in _write(tmp_path / "names", small).iterdir())):
        folder = _write(tmp_path / str(number), small)
        content = bytearray((folder / name).read_bytes())
        if harm == "flip":
            content[len(content) // 2] ^= 1
        if harm == "remove":
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content if harm == "flip" else content[: len(content) // 2])
        with pytest.raises(RunDirectoryError, match=re.escape(str(folder))):
            read_checkpoint(folder)


def _write(path: Path, content: dict[str, pa.Table]) -> Path:
    path.mkdir()
    return Checkpoints(path, keep=2, sync=False).write(Checkpoint(1, {"step_digest": "0"}, content))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says which pages are in memory")
def test_a_table_leaves_memory_when_another_is_taken(tmp_path: Path) -> None:
    large = {"one": pa.table({"x": np.arange(1 << 21)}), "two": pa.table({"x": np.arange(10)})}
    folder = _write(tmp_path / "run", large)
    tables = read_checkpoint(folder).tables
    shutil.rmtree(folder)
    assert _in_memory(folder) < 1 << 20  # that it is whole was found out without keeping it
    one = tables["one"]
    assert one["x"].combine_chunks().equals(large["one"]["x"].combine_chunks())
    assert _in_memory(folder) >= 1 << 24
    tables["two"]
    assert _in_memory(folder) < 1 << 20
    assert one["x"].combine_chunks().equals(large["one"]["x"].combine_chunks())  # from the file, as often as wanted


def _in_memory(folder: Path) -> int:
    """Return how many bytes of files in a folder this process has in memory."""
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = str(folder) in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total


def test_the_newest_two_are_kept_and_others_spread_over_the_run() -> None:
    kept: list[int] = []
    for step in range(60, 1500, 60):
        kept.append(step)
        while len(kept) > 5:
            kept.pop(_superfluous(kept))
        assert kept[-2:] == [step - 60, step][-len(kept) :]
    gaps = np.diff([0, *kept[:-1]])
    assert max(gaps) <= 600
