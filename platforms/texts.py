"""Content of actions: normalised, not empty, stored once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import TEXT_ACTIONS, Action, Outcome
from oasis.platforms.round import I32, Bool, Round
from oasis.world.text import normalise
from oasis.world.world import World

__all__ = ["SharedTexts", "is_blank", "judge_texts", "store_texts"]

_TEXT = tuple(sorted(TEXT_ACTIONS))
_STORED = tuple(a for a in _TEXT if a not in (Action.SEARCH_POSTS, Action.SEARCH_USER))


def is_blank(texts: pa.LargeStringArray) -> Bool:
    """Return whether each text is null or nothing but white space."""
    length = pc.utf8_length(pc.utf8_trim_whitespace(texts)).fill_null(0)
    return np.asarray(length.to_numpy(zero_copy_only=False) == 0)


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
    round_.written = (rows[~blank], texts.filter(pa.array(~blank)))
    round_.refuse(rows, blank, Outcome.EMPTY_CONTENT)


def store_texts(round_: Round) -> None:
    """Append the texts of accepted rows to the pool, in row order."""
    if round_.written is None:
        return
    rows, texts = round_.written
    kept = (round_.outcome[rows] == Outcome.ACCEPTED) & np.isin(round_.action[rows], _STORED)
    round_.text[rows[kept]] = round_.world.texts.append(texts.filter(pa.array(kept)))
