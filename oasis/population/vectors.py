"""Embeddings of bios and of earlier posts, stored with a population so that runs need not make them.

A file has a row for each agent or post: ``vector``, as many bytes as there are dimensions, each an int8. Schema
metadata names the embedder (as those of checkpoints do) and has a digest of the texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import PopulationError
from oasis.kernels.threads import available, each
from oasis.world.embeddings import EMBEDDER, Embedder, EmbeddingPool, embedder_key
from oasis.world.store import digest_table
from oasis.world.text import normalise

__all__ = ["BIO_VECTORS", "POST_VECTORS", "StoredVectors", "stored_vectors", "write_vectors"]

BIO_VECTORS, POST_VECTORS = "bio_embeddings.parquet", "post_embeddings.parquet"
_TEXTS = b"oasis.texts"
_BLOCK = 32_768  # texts embedded, and rows read, at a time


@dataclass(frozen=True)
class StoredVectors:
    """Vectors in a file, read when they are needed.

    Attributes
    ----------
    path : Path
    embedder : bytes
        As `oasis.world.embeddings.embedder_key`.
    texts : bytes
        Digest of the texts that were embedded.
    rows : int
        Number of these texts.
    """

    path: Path
    embedder: bytes
    texts: bytes
    rows: int

    def install(self, pool: EmbeddingPool, text_ids: npt.NDArray[np.int32], texts: pa.LargeStringArray) -> list[str]:
        """Insert the vectors of the first `rows` texts (ids -1 for none), if the pool's embedder made them of these.

        Return what a user should know: why they are not used.
        """
        wanted = embedder_key(pool.embedder)
        if self.embedder != wanted:
            return [
                f"{self.path}: embeddings by {_named(self.embedder)} are not used, as the run's embedder is "
                f"{_named(wanted)}; texts are embedded when they are needed"
            ]
        if self.texts != _digest(texts[: self.rows]):
            return [f"{self.path}: embeddings of other texts are not used; write the population anew to embed these"]
        begin = 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_BLOCK):
                column = batch.column(0)
                start, size = column.offset * pool.dimensions, len(column) * pool.dimensions
                flat = np.frombuffer(column.buffers()[1], np.int8, size, start)
                ids = text_ids[begin : begin + len(column)]
                pool.insert(ids[ids >= 0], flat.reshape(len(column), -1)[ids >= 0])
                begin += len(column)
        return []


def write_vectors(path: Path, texts: pa.LargeStringArray, embedder: Embedder) -> None:
    """Embed texts (in the form that a world keeps them in) and write a row for each; zeros for null."""
    metadata = {EMBEDDER: embedder_key(embedder), _TEXTS: _digest(texts)}
    schema = pa.schema([("vector", pa.binary(embedder.dimensions))], metadata=metadata)
    embedder.embed(texts[:1])  # loads what it needs once, before threads ask for it
    at_once = _BLOCK * available()
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for begin in range(0, len(texts), at_once):
            some = normalise(texts[begin : begin + at_once])
            for vectors in each([some[at : at + _BLOCK] for at in range(0, len(some), _BLOCK)], embedder.embed):
                flat = pa.py_buffer(np.ascontiguousarray(vectors))
                rows = pa.FixedSizeBinaryArray.from_buffers(schema.field(0).type, len(vectors), [None, flat])
                writer.write_table(pa.table([rows], schema=schema))


def stored_vectors(path: Path, expected: int, of: str) -> StoredVectors | None:
    """Return the vectors of a file, None where there is none.

    Raises
    ------
    PopulationError
        If it is no such file, or has not one row for each of the `expected` texts `of` agents or posts.
    """
    if not path.exists():
        return None
    remedy = "remove it, or write the population anew"
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PopulationError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}; {remedy}") from None
    metadata = schema.metadata or {}
    key = metadata.get(EMBEDDER, b"")
    if _TEXTS not in metadata or schema.names != ["vector"] or str(schema.field(0).type) != _type_of(key):
        raise PopulationError(f"{path}: has no vectors of a named embedder; {remedy}")
    if rows != expected:
        raise PopulationError(f"{path}: has {rows} rows for {expected} {of}; {remedy}")
    return StoredVectors(path, key, metadata[_TEXTS], rows)


def _type_of(key: bytes) -> str:
    return f"fixed_size_binary[{key.rpartition(b' ')[2].decode(errors='replace')}]"


def _named(key: bytes) -> str:
    name, _, rest = key.decode(errors="replace").partition(" ")
    return f"{name!r} ({rest} dimensions)"


def _digest(texts: pa.LargeStringArray) -> bytes:
    return digest_table(pa.table({"text": texts})).hex().encode()
