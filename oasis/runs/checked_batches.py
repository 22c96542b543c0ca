"""Batches of rows that know whether they are whole: answers that were paid for are read from damaged streams."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pyarrow as pa

__all__ = ["checked_batches", "write_checked"]

_CHECKSUM = b"crc32"
_ROWS = 1024  # lost together where one of them is damaged


def write_checked(writer: pa.RecordBatchStreamWriter, table: pa.Table) -> None:
    """Write rows to a stream, each batch with a CRC-32 of its content in its metadata."""
    for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS):
        writer.write_batch(batch, custom_metadata={_CHECKSUM: _checksum(batch)})


def checked_batches(reader: pa.RecordBatchStreamReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a stream, without those that are not what was written.

    Raises
    ------
    OSError, pyarrow.ArrowException
        Where the stream cannot be read further.
    """
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return
        checksum = metadata and metadata.get(_CHECKSUM)
        try:
            whole = checksum is None or checksum == _checksum(batch)
        except (pa.ArrowException, ValueError):  # an index beyond its dictionary, text that is not UTF-8
            whole = False
        if whole:
            yield batch


def _checksum(batch: pa.RecordBatch) -> bytes:
    """Return the CRC-32 of the values, also of those that are in dictionaries."""
    plain = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return b"%d" % zlib.crc32(pa.RecordBatch.from_arrays(plain, names=batch.schema.names).serialize())
