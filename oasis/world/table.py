"""Rows with ids: NumPy columns with room to grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.world.store import grow

__all__ = ["Table"]


class Table:
    """An append-only table of numeric columns; the row number is the id.

    Parameters
    ----------
    schema : pyarrow.Schema
        Integer, float and bool fields, and fixed-size lists of them (two-dimensional columns).
        A field's metadata ``{"default": "..."}`` gives the value of columns that `append` is not given.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = Table(pa.schema([pa.field("n", pa.int32(), metadata={"default": "-1"})]))
    >>> table.append(2, n=[4, 5])
    array([0, 1], dtype=int32)
    >>> table["n"]
    array([4, 5], dtype=int32)
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._length = 0
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._defaults: dict[str, float] = {}
        for field in schema:
            width: tuple[int, ...] = ()
            kind = field.type
            if pa.types.is_fixed_size_list(kind):
                width, kind = (kind.list_size,), kind.value_type
            self._columns[field.name] = np.empty((0, *width), kind.to_pandas_dtype())
            default = (field.metadata or {}).get(b"default", b"0").decode()
            self._defaults[field.name] = float(default) if pa.types.is_floating(kind) else int(default)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Return a writable view of the column's rows. It is invalid after the next `append`."""
        return self._columns[column][: self._length]

    def append(self, count: int, **values: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Append `count` rows, values given as arrays or scalars; return their ids."""
        start, end = self._length, self._length + count
        unknown = values.keys() - self._columns.keys()
        if unknown:
            raise KeyError(f"no such column: {sorted(unknown)}")
        for name, column in self._columns.items():
            column = self._columns[name] = grow(column, start, end)
            column[start:end] = values.get(name, self._defaults[name])
        self._length = end
        return np.arange(start, end, dtype=np.int32)

    def to_arrow(self) -> pa.Table:
        """Return the rows as an Arrow table; one-dimensional columns are not copied."""
        return pa.table([self._arrow(f) for f in self.schema], schema=self.schema)

    def _arrow(self, field: pa.Field) -> pa.Array:
        values = self[field.name]
        if values.ndim == 2:
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        return pa.array(values)

    def load(self, table: pa.Table) -> None:
        """Replace all rows by those of `table`."""
        columns: Mapping[str, npt.NDArray[Any]] = {}
        for name in self.schema.names:
            array = table.column(name).combine_chunks()
            flat = array.flatten() if pa.types.is_fixed_size_list(array.type) else array
            shape = (table.num_rows, *self._columns[name].shape[1:])
            columns[name] = flat.to_numpy(zero_copy_only=False).reshape(shape)  # type: ignore[index]
        self._length = 0
        self.append(table.num_rows, **columns)
