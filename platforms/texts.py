"""Content of actions: normalised, not empty, stored once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import TEXT_ACTIONS, Action, Outcome
from oasis.platforms.round import I32, Bool, Round
from oasis.world.text import normalise, text_bytes
from oasis.world.world import World

__all__ = ["SharedTexts", "is_blank", "judge_texts", "store_texts"]

_SPACE, _DELETE = 0x20, 0x7F  # what is between them is ASCII and no white space
_TEXT = tuple(sorted(TEXT_ACTIONS))
_STORED = np.zeros(max(Action) + 1, np.bool_)
_STORED[[a for a in _TEXT if a not in (Action.SEARCH_POSTS, Action.SEARCH_USER)]] = True


def is_blank(texts: pa.LargeStringArray) -> Bool:
    """Return whether each text is null or nothing but white space."""
    offsets, data = text_bytes(texts)
    plain = offsets[1:] > offsets[:-1]
    plain[plain] = (data[offsets[:-1][plain]] > _SPACE) & (data[offsets[:-1][plain]] < _DELETE)
    if texts.null_count:
        plain &= texts.is_valid().to_numpy(zero_copy_only=False)
    blank = ~plain
    doubtful = np.flatnonzero(blank)  # does not begin with a letter, digit or mark of ASCII
    if len(doubtful):
        length = pc.utf8_length(pc.utf8_trim_whitespace(texts.take(pa.array(doubtful)))).fill_null(0)
        blank[doubtful] = length.to_numpy(zero_copy_only=False) == 0
    return blank


class SharedTexts:
    """Ids of short texts that many rows of a column share (labels, topics, groups): looked up there, else appended.

    What is found follows from the columns alone, so a run that was stopped and resumed gives the same ids.

    Parameters
    ----------
    column : ndarray, int32
        Text ids in use.
    """

    def __init__(self, world: World, column: I32) -> None:
        self._pool = world.texts
        used = np.unique(column[column >= 0])
        texts = self._pool.take(used).to_pylist()
        self._ids: dict[str, int] = dict(zip(reversed(texts), reversed(used.tolist()), strict=True))

    def id(self, text: str) -> int:
        """Return the id of a text that is normalised and not blank."""
        if text not in self._ids:
            self._ids[text] = int(self._pool.append([text])[0])
        return self._ids[text]


def judge_texts(round_: Round) -> None:
    """Refuse actions that need words and have none; `text_id` (an earlier text) goes before `content`."""
    rows = round_.pending(*_TEXT)
    if not len(rows):
        return
    reused = round_.text_id[rows] >= 0
    if reused.any():
        earlier = rows[reused]
        pool = round_.world.texts
        earlier = round_.refuse(earlier, round_.text_id[earlier] >= len(pool), Outcome.BAD_ARGUMENT)
        earlier = round_.refuse(earlier, is_blank(pool.take(round_.text_id[earlier])), Outcome.EMPTY_CONTENT)
        round_.text[earlier] = round_.text_id[earlier]
        rows = rows[~reused]
    texts = normalise(round_.content.take(pa.array(rows)))
    blank = is_blank(texts)
    if blank.any():
        texts = texts.filter(pa.array(~blank))
    round_.written = (round_.refuse(rows, blank, Outcome.EMPTY_CONTENT), texts)


def store_texts(round_: Round) -> None:
    """Append the texts of accepted rows to the pool, in row order."""
    if round_.written is None:
        return
    rows, texts = round_.written
    kept = (round_.outcome[rows] == Outcome.ACCEPTED) & _STORED[round_.action[rows]]
    if not kept.all():
        rows, texts = rows[kept], texts.filter(pa.array(kept))
    round_.text[rows] = round_.world.texts.append(texts)
