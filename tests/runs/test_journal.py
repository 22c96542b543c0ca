"""The journal of answers: what it cannot hold is said at once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from oasis.errors import RunStoppedError
from oasis.records import LLM_CALLS
from oasis.runs.journal import JOURNAL, Journal, read_journal


class _Full(io.BytesIO):
    """A disk that takes the first bytes of a line only, as a full one does."""

    def write(self, line: bytes) -> int:  # type: ignore[override]
        return super().write(line[:5])


def test_a_line_that_is_cut_short_stops_the_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    journal._file = _Full()
    with pytest.raises(RunStoppedError, match="No space left"):
        journal.write([{"step": 1, "response": "paid for"}])


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    rows = [dict.fromkeys(LLM_CALLS.names) | {"step": step} for step in (1, 2, 3, 4)]
    journal.write(rows)
    journal.close(remove=False)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().replace(b'{"step":2', b'{"stap":2').replace(b'{"step":3', b'"step":3')
    path.write_bytes(lines[:-3])
    assert read_journal(tmp_path) == rows[:1]
    journal = Journal(tmp_path)
    journal.write(rows[1:2])  # the torn line is gone, and does not take the next one with it
    journal.close(remove=False)
    assert read_journal(tmp_path) == rows[:2]
