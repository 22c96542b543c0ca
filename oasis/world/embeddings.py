"""Embeddings of texts, each computed once, as int8 with one scale."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.world.store import grow
from oasis.world.text import TextPool

__all__ = ["EMBEDDER", "Embedder", "EmbeddingPool", "embedder_key"]

EMBEDDER = b"oasis.embedder"
"""Key of schema metadata that names the embedder of stored vectors, as `embedder_key` does."""

_AT_ONCE = 1 << 16  # vectors that are widened at a time: all of them would be four times the matrix

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]


class Embedder(Protocol):
    """Turns texts into vectors.

    Attributes
    ----------
    name, version : str
        Key of stored embeddings: vectors of another embedder or version are never mixed.
    dimensions : int
        At most 1,040, so that a float32 product of two int8 vectors is exact (1040 * 127^2 < 2^24).
    """

    name: str
    version: str
    dimensions: int

    def embed(self, texts: pa.LargeStringArray) -> I8:
        """Return int8 vectors, shape (n, dimensions), on one scale: ``cosine * 127^2 ~ dot`` for unit vectors."""
        ...


def embedder_key(embedder: Embedder) -> bytes:
    """Return name, version and dimensions in one: vectors with another key are not to be mixed with this one's."""
    return f"{embedder.name} {embedder.version} {embedder.dimensions}".encode()


class EmbeddingPool:
    """Vectors by text id. Embedding the same id twice never calls the embedder again.

    Derived state: it follows from the texts and the embedder, so it is not hashed. Snapshots hold it to save time.
    """

    def __init__(self, texts: TextPool, embedder: Embedder) -> None:
        self.embedder = embedder
        self.texts_embedded = 0
        self._texts = texts
        self._row_of = np.full(16, -1, np.int32)
        self._vectors = np.empty((0, embedder.dimensions), np.int8)
        self._norms = np.empty(0, np.float64)
        self._rows = 0
        self._embedding = threading.Lock()

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.embedder.dimensions

    def ensure(self, text_ids: npt.NDArray[np.integer]) -> None:
        """Embed those texts that have no vector yet; -1 is ignored."""
        if not len(self._missing(np.asarray(text_ids))):
            return
        with self._embedding:
            missing = self._missing(np.asarray(text_ids))  # another thread may have embedded them meanwhile
            if len(missing):
                self.insert(missing, self.embedder.embed(self._texts.take(missing)))
                self.texts_embedded += len(missing)

    def insert(self, text_ids: npt.NDArray[np.integer], vectors: I8) -> None:
        """Store vectors that were computed before (of a population file); ids must be distinct and new."""
        self._row_of = self._sized(int(text_ids.max(initial=-1)) + 1)
        start, end = self._rows, self._rows + len(text_ids)
        self._vectors = grow(self._vectors, start, end)
        self._norms = grow(self._norms, start, end)
        self._vectors[start:end] = vectors
        for first in range(0, len(vectors), _AT_ONCE):
            wide = vectors[first : first + _AT_ONCE].astype(np.int32)
            squares = np.einsum("ij,ij->i", wide, wide).astype(np.float64)
            self._norms[start + first : start + first + len(wide)] = np.sqrt(squares)
        self._row_of[text_ids] = np.arange(start, end, dtype=np.int32)
        self._rows = end

    def to_arrow(self) -> pa.Table:
        """Return the vectors with their text ids, in the order of their rows; metadata names the embedder."""
        text_of = np.empty(self._rows, np.int32)
        there = np.flatnonzero(self._row_of >= 0)
        text_of[self._row_of[there]] = there
        flat = pa.array(self.matrix.reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, self.dimensions)
        schema = pa.schema([("text", pa.int32()), ("vector", vectors.type)], metadata={EMBEDDER: self._key()})
        return pa.table([pa.array(text_of), vectors], schema=schema)

    def load(self, table: pa.Table) -> bool:
        """Replace all vectors by those of `table`, if the same embedder made them; return whether it did."""
        if (table.schema.metadata or {}).get(EMBEDDER) != self._key():
            return False
        self.__init__(self._texts, self.embedder)  # type: ignore[misc]
        vectors = table.column("vector").combine_chunks().flatten().to_numpy()
        self.insert(table.column("text").to_numpy(), vectors.reshape(-1, self.dimensions))
        return True

    def _key(self) -> bytes:
        return embedder_key(self.embedder)

    @property
    def matrix(self) -> I8:
        """All vectors, in the order of their rows; a view until the next text is embedded."""
        return self._vectors[: self._rows]

    def rows(self, text_ids: npt.NDArray[np.integer]) -> I32:
        """Return the row of each text in `matrix`, -1 for -1, in the shape given. Missing texts are embedded first."""
        ids = np.asarray(text_ids)
        self.ensure(ids)
        return np.where(ids >= 0, self._row_of[ids], np.int32(-1))

    def vectors(self, text_ids: npt.NDArray[np.integer]) -> I8:
        """Return int8 vectors, shape (n, dimensions); zeros for -1. Texts without a vector are embedded first."""
        rows = self.rows(text_ids)
        return np.asarray(_take(self._vectors, rows))

    def norms(self, text_ids: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the Euclidean length of each int8 vector, 0 for -1."""
        rows = self.rows(text_ids)
        return np.asarray(_take(self._norms, rows))

    def _sized(self, needed: int) -> I32:
        used = len(self._row_of)
        if needed <= used:
            return self._row_of
        row_of = grow(self._row_of, used, needed)
        row_of[used:] = -1
        return row_of

    def _missing(self, text_ids: npt.NDArray[np.integer]) -> I32:
        row_of = self._row_of
        known = text_ids < len(row_of)
        unknown = np.r_[text_ids[~known], text_ids[known][row_of[text_ids[known]] < 0]]
        return np.unique(unknown[unknown >= 0]).astype(np.int32)


def _take(source: npt.NDArray, rows: I32) -> npt.NDArray:  # type: ignore[type-arg]
    """Return rows of `source`, zeros for -1."""
    out = np.zeros((len(rows), *source.shape[1:]), source.dtype)
    there = rows >= 0
    out[there] = source[rows[there]]
    return out
