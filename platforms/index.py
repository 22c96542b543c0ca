"""An inverted index of words that grows with the texts; the cost of a query follows the words' newest documents.

Postings (word, document) lie in sorted runs; runs are merged like the digits of a counter, so each posting is moved
O(log n) times. Words are 64-bit hashes. The index is derived from texts: nothing of it is state.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["CANDIDATES_PER_WORD", "WordIndex", "words_of"]

I64 = npt.NDArray[np.int64]

CANDIDATES_PER_WORD = 2_000
"""Newest documents that a word brings in. Bounds a query for a word that every text has."""
_WORD = r"[\p{L}\p{M}\p{N}]+"
_MOST_WORDS = 16
_AT_ONCE = 1 << 17  # documents: bounds memory


def words_of(query: str) -> tuple[str, ...]:
    """Return the distinct lower-case words of a query, sorted, at most 16."""
    return tuple(sorted(set(pl.Series([query]).str.to_lowercase().str.extract_all(_WORD).to_list()[0])))[:_MOST_WORDS]


class WordIndex:
    """Which documents hold which words. Documents are numbered from 0 in the order of `append`."""

    def __init__(self) -> None:
        self._runs: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, texts: pa.LargeStringArray) -> None:
        """Add documents; null is a document without words."""
        for start in range(0, len(texts), _AT_ONCE):
            self._append(texts.slice(start, _AT_ONCE))

    def _append(self, texts: pa.LargeStringArray) -> None:
        start, self._length = self._length, self._length + len(texts)
        words = pl.Series("word", pl.from_arrow(texts), dtype=pl.String).str.to_lowercase().str.extract_all(_WORD)
        frame = pl.DataFrame({"document": np.arange(start, self._length, dtype=np.int32), "word": words})
        frame = frame.explode("word").drop_nulls().with_columns(_hash(pl.col("word")))
        if not frame.height:
            return
        word, document = _sorted(frame["word"].to_numpy(), frame["document"].to_numpy())
        first = np.r_[True, (word[1:] != word[:-1]) | (document[1:] != document[:-1])]
        self._runs.append((word[first], document[first]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (a, b), (c, d) = self._runs[-2:]
            self._runs[-2:] = [_sorted(np.concatenate([a, c]), np.concatenate([b, d]))]

    def match(self, words: tuple[str, ...]) -> tuple[I64, I64]:
        """Return (documents, how many of the words each holds): the newest ones of each word, sorted by document."""
        hashes = pl.Series("word", words, dtype=pl.String).to_frame().select(_hash(pl.col("word")))["word"].to_numpy()
        found = [self._newest(key) for key in hashes]
        documents = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
        held = np.zeros(len(documents), np.int64)
        for key in hashes:
            for word, document in self._runs:
                low, high = np.searchsorted(word, key, "left"), np.searchsorted(word, key, "right")
                postings = document[low:high]
                if len(postings):
                    at = np.minimum(np.searchsorted(postings, documents), len(postings) - 1)
                    held += postings[at] == documents
        return documents, held

    def _newest(self, key: np.uint64) -> I64:
        found: list[I64] = []
        missing = CANDIDATES_PER_WORD
        for word, document in reversed(self._runs):  # later runs hold later documents
            low, high = np.searchsorted(word, key, "left"), np.searchsorted(word, key, "right")
            newest = document[max(low, high - missing) : high]
            found.append(newest.astype(np.int64))
            missing -= len(newest)
            if not missing:
                break
        return np.concatenate([np.empty(0, np.int64), *found])


def _hash(words: pl.Expr) -> pl.Expr:
    return words.hash(0)  # lives and dies with the process, so it need not be the same in another


def _sorted(
    word: npt.NDArray[np.uint64], document: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """Sort postings by (word, document); documents ascend on their way in, so a stable sort by word is enough."""
    order = np.argsort(word, kind="stable")  # timsort: merging two sorted runs takes linear time
    return word[order], document[order]
