"""Embedders without a network: WordLlama (the default) and hashed n-grams (no meaning; for tests and stubs).

Vectors are int8 on one fixed scale, whatever other texts are embedded with them.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.errors import PluginError
from oasis.kernels import tokens

__all__ = ["SCALE", "HashedNgramEmbedder", "WordLlamaEmbedder", "quantise", "unit"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

SCALE = 127
_CHUNK = 4096  # texts tokenised at a time: bounds memory


def unit(vectors: F64) -> F64:
    """Return rows divided by their length, which is summed in a fixed order; zero rows stay zero."""
    if not vectors.size:
        return vectors
    lengths = np.sqrt(np.add.accumulate(vectors * vectors, axis=1)[:, -1:])
    return vectors / np.where(lengths > 0, lengths, 1.0)


def quantise(vectors: F64, scale: int = SCALE) -> I8:
    """Return unit vectors times `scale`, rounded half to even and clipped to [-127, 127]."""
    return np.clip(np.rint(vectors * scale), -127, 127).astype(np.int8)


class WordLlamaEmbedder:
    """WordLlama `l2_supercat`, 256 dimensions: mean of token vectors, weights inside the package (MIT).

    The mean's direction is that of the sum, and a sum of half-precision numbers is exact in float64: no padding,
    order or batch can change it.

    Raises
    ------
    PluginError
        If the package or (on first use) its weights are missing. There is no fall-back.
    """

    name = "wordllama"
    dimensions = 256

    def __init__(self) -> None:
        try:
            self.version = f"{version('wordllama')}/l2_supercat-256/int8x{SCALE}"
        except ImportError as error:
            raise self._missing(error) from None

    def embed(self, texts: pa.LargeStringArray) -> I8:
        """Return int8 vectors, shape (n, 256); zeros for empty texts and nulls."""
        return quantise(self.unit_vectors(texts))

    def unit_vectors(self, texts: pa.LargeStringArray) -> F64:
        """Return float64 vectors of length 1 (0 for empty texts and nulls), shape (n, 256): what `embed` rounds."""
        table, tokenizer = self._model()
        out = np.zeros((len(texts), self.dimensions))
        for start in range(0, len(texts), _CHUNK):
            chunk = texts.slice(start, _CHUNK).fill_null("").to_pylist()
            encoded = [e.ids for e in tokenizer.encode_batch_fast(chunk, add_special_tokens=False)]
            offsets = np.zeros(len(chunk) + 1, np.int64)
            np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
            flat = np.fromiter((i for ids in encoded for i in ids), np.int32, int(offsets[-1]))
            tokens.pool_tokens(table, flat, offsets, out[start : start + len(chunk)])
        return unit(out)

    def _model(self) -> tuple[F32, Any]:
        try:
            return _wordllama(self.dimensions)
        except (ImportError, FileNotFoundError) as error:
            raise self._missing(error) from None

    def _missing(self, error: Exception) -> PluginError:
        return PluginError(
            f"embedder {self.name!r} is not usable ({error}); install it with: pip install wordllama, or name another "
            "embedder in [recsys]"
        )


@cache
def _wordllama(dimensions: int) -> tuple[F32, Any]:
    """Return vectors of tokens and the tokenizer, loaded once: threads keep what tokenizers cache in them for good,
    11 MB for each that was ever used."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        import wordllama
    finally:  # importing it configures the root logger
        root.handlers[:], root.level = handlers, level
    # with any other cache_dir it looks elsewhere for a tokenizer that it has here
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, dim=dimensions, disable_download=True)
    model.tokenizer.no_padding()
    return np.asarray(model.embedding, np.float32), model.tokenizer


class HashedNgramEmbedder:
    """Signed counts of hashed character n-grams (3 to 5, lower case): spelling, no meaning.

    Only when asked for by name: for tests, and where similar means "written alike".
    """

    name = "hashed-ngrams"
    dimensions = 256
    shortest, longest = 3, 5
    version = f"1/fnv1a-3-5/int8x{SCALE}"

    def embed(self, texts: pa.LargeStringArray) -> I8:
        """Return int8 vectors, shape (n, 256); zeros for empty texts and nulls."""
        return quantise(self.unit_vectors(texts))

    def unit_vectors(self, texts: pa.LargeStringArray) -> F64:
        """Return float64 vectors of length 1 (0 for empty texts and nulls), shape (n, 256): what `embed` rounds."""
        nothing, space = (pa.scalar(text, pa.large_string()) for text in ("", " "))
        lowered = pc.utf8_lower(texts.cast(pa.large_string()).fill_null(""))
        empty = pc.equal(pc.utf8_length(lowered), 0)
        padded = pc.if_else(empty, nothing, pc.binary_join_element_wise(nothing, lowered, nothing, space))
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(pc.utf8_length(padded).to_numpy(zero_copy_only=False), out=offsets[1:])
        points = np.frombuffer("".join(padded.to_pylist()).encode("utf-32-le"), np.uint32)
        counts = np.zeros((len(texts), self.dimensions), np.int64)
        tokens.hash_ngrams(points, offsets, self.shortest, self.longest, counts)
        return unit(counts.astype(np.float64))
