"""What every store of the world can do, so that the engine can hash, save and export it blindly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Layered", "Store", "digest_table", "grow"]


@runtime_checkable
class Store(Protocol):
    """One named part of the state.

    `to_arrow` is canonical: equal states give equal tables, whatever the history of growth,
    deletion and compaction behind them.
    """

    schema: pa.Schema

    def to_arrow(self) -> pa.Table:
        """Return the state as a table with `schema`."""
        ...

    def load(self, table: pa.Table) -> None:
        """Replace the state by that of `table`."""
        ...


@runtime_checkable
class Layered(Protocol):
    """A store that is saved as several tables, so that the large one, which seldom changes, is seldom written."""

    def layers(self) -> dict[str, pa.Table]:
        """Return the tables by name."""
        ...

    def load_layers(self, layers: Mapping[str, pa.Table]) -> None:
        """Replace the state by that of `layers`."""
        ...


def digest_table(table: pa.Table) -> bytes:
    """Return a BLAKE2b digest of a table's schema and values, independent of chunks and offsets."""
    digest = hashlib.blake2b(str(table.schema).encode(), digest_size=32)
    digest.update(table.num_rows.to_bytes(8, "little"))
    for name in table.column_names:
        _update(digest, table.column(name).combine_chunks())
    return digest.digest()


def _update(digest: hashlib.blake2b, array: pa.Array) -> None:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, array.type)
    if isinstance(array, pa.DictionaryArray):
        array = _codes(digest, array)
    if array.null_count:
        digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
        if array.null_count == len(array):
            return
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        digest.update(_bytes(lengths.to_numpy(zero_copy_only=False).astype(np.int64)))
        _update(digest, array.flatten())
        return
    text = pa.types.is_string(array.type) or pa.types.is_large_string(array.type)
    if array.null_count:
        array = array.fill_null("" if text else pa.scalar(0, pa.int8()).cast(array.type))
    if text:
        array = array.cast(pa.large_string())
        offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
        digest.update(_bytes(offsets - offsets[0] if len(offsets) and offsets[0] else offsets))
        data = array.buffers()[2]
        if data is not None and len(array):
            digest.update(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
    else:
        digest.update(_bytes(array.to_numpy(zero_copy_only=False)))


def _codes(digest: hashlib.blake2b, array: pa.DictionaryArray) -> pa.Array:
    """Hash the distinct labels that occur, sorted, and return the place of each row's label among them.

    That says what the labels themselves would, whatever else the dictionary holds and in whatever order, in a quarter
    of the time.
    """
    indices = array.indices
    used = indices.unique().drop_null()
    labels = array.dictionary.take(used).cast(pa.large_string())
    order = pc.array_sort_indices(labels)
    _update(digest, labels.take(order))
    place = np.zeros(len(array.dictionary) + 1, np.uint8 if len(labels) <= 256 else np.int32)
    place[used.take(order).to_numpy()] = np.arange(len(labels))
    missing = indices.is_null().to_numpy(zero_copy_only=False) if indices.null_count else None
    return pa.array(place[indices.fill_null(0).to_numpy()], mask=missing)


def _bytes(array: npt.NDArray) -> memoryview:  # type: ignore[type-arg]
    """Return the bytes of an array, of which a digest needs no copy."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def grow(array: npt.NDArray, used: int, needed: int) -> npt.NDArray:  # type: ignore[type-arg]
    """Return `array` with room for `needed` rows along axis 0, doubling; the first `used` rows are kept."""
    if needed <= len(array):
        return array
    grown = np.empty((max(needed, 2 * len(array), 16), *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown
