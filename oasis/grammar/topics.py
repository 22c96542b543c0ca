"""Which topic a text is about, by its words."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.grammar.phrases import topic_phrases

__all__ = ["guess_topics", "subjects_of"]


def guess_topics(texts: pa.LargeStringArray, count: int = 1) -> npt.NDArray[np.int16]:
    """Return the topics whose words occur most often in each text.

    Parameters
    ----------
    texts : pyarrow.LargeStringArray, length n
        Nulls are about nothing.
    count : int
        How many topics per text.

    Returns
    -------
    ndarray, shape (n, count), int16
        Numbers in `TOPICS`, the most frequent first, a tie to the lower number; -1 for none.
    """
    lower = pc.utf8_lower(texts)
    hits = np.empty((len(texts), len(_patterns())), np.int64)
    for topic, pattern in enumerate(_patterns()):
        hits[:, topic] = pc.fill_null(pc.count_substring_regex(lower, pattern), 0).to_numpy(zero_copy_only=False)
    best = np.argsort(-hits, axis=1, kind="stable")[:, :count]
    found = np.take_along_axis(hits, best, axis=1) > 0
    return np.where(found, best, -1).astype(np.int16)


def subjects_of(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Return what each text speaks of: a phrase of the grammar in it, else its last long word; null for neither.

    Only letters, spaces, hyphens and apostrophes can come out, at most 24 long, so a hostile text has nothing to say.
    """
    lower = pc.utf8_lower(texts)
    phrase = pc.struct_field(pc.extract_regex(lower, _any_phrase()), "w")
    word = pc.struct_field(pc.extract_regex(lower, r"(?s)^.*\b(?P<w>[a-z]{6,20})\b"), "w")
    return pc.coalesce(phrase, word)


@cache
def _patterns() -> tuple[str, ...]:
    return tuple(rf"\b(?:{'|'.join(re.escape(w) for w in words)})" for words in topic_phrases().keywords)


@cache
def _any_phrase() -> str:
    phrases = sorted(
        {p.lower() for p in (*topic_phrases().a.to_pylist(), *topic_phrases().b.to_pylist())},
        key=lambda p: (-len(p), p),
    )
    return rf"\b(?P<w>{'|'.join(re.escape(p) for p in phrases)})\b"
