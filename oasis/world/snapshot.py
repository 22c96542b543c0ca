"""Copies of the whole world, in memory or as Arrow files, from which it can be put back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from oasis.errors import RunDirectoryError
from oasis.world.graph import FollowGraph
from oasis.world.ring import Ring
from oasis.world.world import World

__all__ = ["read_snapshot", "restore", "take_snapshot", "write_snapshot"]

_STEP = b"oasis.step"


def take_snapshot(world: World) -> dict[str, bytes]:
    """Return every store as Arrow IPC bytes: nothing that later changes is shared."""
    return {name: _serialise(table) for name, table in _tables(world).items()}


def restore(world: World, snapshot: Mapping[str, bytes | pa.Buffer]) -> None:
    """Put the world back to `snapshot`; stores must be registered already. Embeddings are made again when asked for.

    Raises
    ------
    RunDirectoryError
        If a store is missing or damaged.
    """
    for name in [*world.stores, "attributes"]:
        try:
            with pa.ipc.open_file(pa.BufferReader(snapshot[name])) as reader:
                table = reader.read_all()
        except KeyError:
            raise RunDirectoryError(f"the snapshot of the world has no {name}.arrow") from None
        except pa.ArrowException as error:
            raise RunDirectoryError(f"the snapshot of the world is damaged: {name}.arrow: {error}") from None
        if name == "attributes":
            world.attributes = table.replace_schema_metadata(None)
            world.step = int((table.schema.metadata or {})[_STEP])
        else:
            world[name].load(table)
    for store in world.stores.values():
        if isinstance(store, Ring | FollowGraph):
            store.resize(len(world.users))
    if world.has_embeddings:
        world.attach_embedder(world.embeddings.embedder)


def write_snapshot(world: World, folder: Path) -> None:
    """Write every store to ``folder/<store>.arrow``; the folder appears complete or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for name, table in _tables(world).items():
        (partial / f"{name}.arrow").write_bytes(_serialise(table))
    partial.rename(folder)


def read_snapshot(folder: Path) -> dict[str, pa.Buffer]:
    """Return what `write_snapshot` wrote, memory-mapped.

    Raises
    ------
    RunDirectoryError
        If there is no snapshot.
    """
    if not folder.is_dir():
        raise RunDirectoryError(f"{folder}: no snapshot here; the run must have been recorded to its end")
    return {path.name.removesuffix(".arrow"): _mapped(path) for path in folder.glob("*.arrow")}


def _mapped(path: Path) -> pa.Buffer:
    if not path.stat().st_size:
        return pa.py_buffer(b"")  # cannot be mapped
    return pa.memory_map(str(path)).read_buffer()


def _tables(world: World) -> dict[str, pa.Table]:
    tables = {name: store.to_arrow() for name, store in world.stores.items()}
    tables["attributes"] = world.attributes.replace_schema_metadata({_STEP: str(world.step)})
    return tables


def _serialise(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
