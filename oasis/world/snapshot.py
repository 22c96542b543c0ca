"""The whole world as tables, from which it can be put back."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from oasis.errors import RunDirectoryError
from oasis.world.graph import FollowGraph
from oasis.world.ring import Ring
from oasis.world.store import Layered
from oasis.world.world import World

__all__ = ["ATTRIBUTES", "EMBEDDINGS", "copied", "restore", "store_tables"]

ATTRIBUTES, EMBEDDINGS = "attributes", "embeddings"
"""Names of tables that are of no store."""


def store_tables(world: World) -> dict[str, pa.Table]:
    """Return every store, by name (``follows@base`` for a layer of one), and the population's attributes.

    The tables share memory with the stores: they are valid until the world changes.
    """
    tables = {ATTRIBUTES: world.attributes}
    for name, store in world.stores.items():
        if isinstance(store, Layered):
            tables |= {f"{name}@{layer}": table for layer, table in store.layers().items()}
        else:
            tables[name] = store.to_arrow()
    return tables


def copied(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """Return tables that share memory with nothing."""
    copies = {}
    for name, table in tables.items():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        copies[name] = pa.ipc.open_stream(sink.getvalue()).read_all()
    return copies


def restore(world: World, tables: Mapping[str, pa.Table], step: int, may_differ: tuple[str, ...] = ()) -> None:
    """Put the world back to `tables`; stores must be registered already.

    Texts without a vector in `tables` are embedded again when they are asked for.

    Parameters
    ----------
    step : int
        Steps that were done.
    may_differ : tuple of str
        Stores whose names begin so stay as they are where `tables` does not hold them in the same columns.

    Raises
    ------
    RunDirectoryError
        If the tables of another store are missing or have other columns.
    """
    for name, store in world.stores.items():
        if isinstance(store, Layered):
            prefix = f"{name}@"
            layers = {key.removeprefix(prefix): table for key, table in tables.items() if key.startswith(prefix)}
            fits = bool(layers)
            if fits:
                store.load_layers(layers)
        else:
            fits = name in tables and tables[name].schema.equals(store.schema)
            if fits:
                store.load(tables[name])
        if not fits and not name.startswith(may_differ or ("\0",)):
            what = "other columns than this version's" if name in tables else "no rows"
            raise RunDirectoryError(f"the saved world has {what} for {name}")
    world.attributes = tables[ATTRIBUTES]
    world.step = step
    for store in world.stores.values():
        if isinstance(store, Ring | FollowGraph):
            store.resize(len(world.users))
    if world.has_embeddings and not (EMBEDDINGS in tables and world.embeddings.load(tables[EMBEDDINGS])):
        world.attach_embedder(world.embeddings.embedder)
