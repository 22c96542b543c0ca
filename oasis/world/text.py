"""All texts of a run: Arrow strings, append-only, normalised once on their way in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.kernels import characters
from oasis.kernels.characters import DROPPED

__all__ = ["MAX_CHARACTERS", "TextPool", "normalise", "normalise_one", "text_bytes"]

MAX_CHARACTERS = 10_000
"""Longer texts are cut: Reddit's limit for a comment, far above X's 280."""

_RE2_PATTERN = (
    r"[\x00-\x08\x0B-\x1F\x7F\x{80}-\x{9F}\x{061C}\x{200E}\x{200F}"
    r"\x{2028}-\x{202E}\x{2066}-\x{2069}\x{FEFF}\x{FFFC}]"
)
_COMPILED = re.compile(f"[{DROPPED}]")


def normalise(texts: pa.LargeStringArray, max_characters: int = MAX_CHARACTERS) -> pa.LargeStringArray:
    """Return texts without control and bidirectional characters, cut to `max_characters`; nulls stay null.

    Carriage returns, NUL, C0 and C1 controls (tab and newline stay), bidirectional controls, U+2028, U+2029,
    U+FEFF and U+FFFC are removed; lone surrogates have become "?" when the text became Arrow.
    """
    texts = texts.cast(pa.large_string())
    offsets, data = text_bytes(texts)
    if characters.any_dropped(data):
        texts = pc.replace_substring_regex(texts, _RE2_PATTERN, "")
    if int(np.diff(offsets).max(initial=0)) > max_characters:  # bytes, of which a character has one or more
        texts = pc.utf8_slice_codeunits(texts, 0, max_characters)
    return texts


def text_bytes(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Return where each text begins and ends in the bytes of all of them, and these bytes, without a copy.

    Returns
    -------
    offsets : ndarray, shape (len(texts) + 1,)
        Into `data`, from 0. What a null covers means nothing.
    data : ndarray, uint8
    """
    _, places, values = texts.buffers()
    if not len(texts) or values is None:
        return np.zeros(len(texts) + 1, np.int64), np.empty(0, np.uint8)
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(values, np.uint8)[offsets[0] : offsets[-1]]
    return (offsets - offsets[0] if offsets[0] else offsets), data


def normalise_one(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Return one text by the rule of `normalise`."""
    if text.isprintable() and "\ufffc" not in text:  # all other characters to drop, and lone surrogates, are not
        return text[:max_characters]
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return _COMPILED.sub("", clean)[:max_characters]


class TextPool:
    """Append-only texts with int32 ids; -1 is "no text".

    Chunks are immutable Arrow arrays; `take` gathers from them without touching Python strings.
    """

    schema = pa.schema([("text", pa.large_string())])

    def __init__(self) -> None:
        self._chunks: list[pa.LargeStringArray] = []
        self._length = 0
        self._interned: dict[str, int] = {}

    def __len__(self) -> int:
        return self._length

    def append(self, texts: pa.LargeStringArray | Sequence[str | None]) -> npt.NDArray[np.int32]:
        """Normalise and append texts; return their ids, -1 for nulls."""
        if not isinstance(texts, pa.Array | pa.ChunkedArray):
            texts = [None if t is None else t.encode("utf-8", "replace").decode("utf-8") for t in texts]
            texts = pa.array(texts, pa.large_string())
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        present = texts.is_valid().to_numpy(zero_copy_only=False)
        ids = np.full(len(texts), -1, np.int32)
        ids[present] = np.arange(self._length, self._length + int(present.sum()), dtype=np.int32)
        kept = normalise(texts.drop_null())
        if len(kept):
            self._chunks.append(kept)
            self._length += len(kept)
            self._compact()
        return ids

    def intern(self, text: str) -> int:
        """Return the id of a short repeated string (a label, a topic, a group), appending it the first time."""
        if text not in self._interned:
            self._interned[text] = int(self.append([text])[0])
        return self._interned[text]

    def intern_all(self, texts: Sequence[str | None] | pa.Array) -> npt.NDArray[np.int32]:
        """Return ids of many short repeated strings; -1 for None."""
        encoded = pc.dictionary_encode(pa.array(texts, pa.large_string()))
        codes = [self.intern(t) for t in encoded.dictionary.to_pylist()] + [-1]
        return np.asarray(codes, np.int32)[encoded.indices.fill_null(len(codes) - 1).to_numpy()]

    def take(self, ids: npt.NDArray[np.integer]) -> pa.LargeStringArray:
        """Return the texts of `ids`; null for -1."""
        at = np.asarray(ids, np.int64)
        missing = at < 0
        starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])
        # chunk by chunk: Arrow would join them all first, for however few texts
        chunk = np.searchsorted(starts, at, side="right") - 1
        used = np.unique(chunk[~missing])
        if not len(used):
            return pa.nulls(len(at), pa.large_string())
        if len(used) == 1:
            return self._chunks[used[0]].take(pa.array(at - starts[used[0]], mask=missing))
        rows = [np.flatnonzero((chunk == number) & ~missing) for number in used]
        parts = [self._chunks[c].take(pa.array(at[r] - starts[c])) for c, r in zip(used, rows, strict=True)]
        place = np.zeros(len(at), np.int64)
        place[np.concatenate(rows)] = np.arange(len(at) - np.count_nonzero(missing))
        return pa.concat_arrays(parts).take(pa.array(place, mask=missing))

    def get(self, text_id: int) -> str | None:
        """Return one text, None for -1."""
        result: str | None = self.take(np.array([text_id]))[0].as_py()
        return result

    def to_arrow(self) -> pa.Table:
        """Return all texts in id order."""
        return pa.table([pa.chunked_array(self._chunks, pa.large_string())], schema=self.schema)

    def load(self, table: pa.Table) -> None:
        """Replace all texts by those of `table`."""
        self._chunks = [c for c in table.column("text").chunks if len(c)]
        self._length = table.num_rows
        self._interned = {}

    def _compact(self) -> None:
        # Chunks are merged like the digits of a counter, so each text is copied O(log n) times.
        while len(self._chunks) > 1 and len(self._chunks[-2]) < 2 * len(self._chunks[-1]):
            self._chunks[-2:] = [pa.concat_arrays(self._chunks[-2:])]
