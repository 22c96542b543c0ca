"""The journal of answers: what it cannot hold is said at once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from oasis.errors import RunStoppedError
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
        journal.write({"step": 1, "response": "paid for"})


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write({"step": 1})
    journal.write({"step": 2})
    journal.close(remove=False)
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-3])
    assert read_journal(tmp_path) == [{"step": 1}]
