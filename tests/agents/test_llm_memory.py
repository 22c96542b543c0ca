"""Memory as columns: the last things done, whatever the batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oasis.agents.memory import ENTRY_COLUMNS, Memory


def entries(values: list[int]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: np.array(values, kind.to_pandas_dtype()) for name, kind in ENTRY_COLUMNS.items()}


batches = st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99)), max_size=12), max_size=6)


@given(batches, st.integers(1, 4))
def test_memory_is_the_last_entries_of_each_agent(pushed: list[list[tuple[int, int]]], width: int) -> None:
    memory, naive = Memory(width), {a: [-1] * width for a in range(8)}
    for batch in pushed:
        memory.push(np.array([a for a, _ in batch], np.int32), entries([v for _, v in batch]))
        for agent, value in batch:
            naive[agent] = [*naive[agent], value][-width:]
    got = memory.get(np.arange(8))
    for column in got.values():
        assert column.tolist() == list(naive.values())
    assert len(memory) == sum(max(v) >= 0 for v in naive.values())


@given(batches)
def test_memory_is_saved_and_loaded_and_does_not_depend_on_batches(pushed: list[list[tuple[int, int]]]) -> None:
    apart, together = Memory(3), Memory(3)
    flat = [row for batch in pushed for row in batch]
    for batch in pushed:
        apart.push(np.array([a for a, _ in batch], np.int32), entries([v for _, v in batch]))
    together.push(np.array([a for a, _ in flat], np.int32), entries([v for _, v in flat]))
    assert apart.to_arrow() == together.to_arrow()
    loaded = Memory(3)
    loaded.load(apart.to_arrow())
    assert loaded.to_arrow() == apart.to_arrow()
    assert loaded.to_arrow().schema == loaded.schema


def test_no_memory() -> None:
    memory = Memory(0)
    memory.push(np.array([1], np.int32), entries([5]))
    assert len(memory) == 0
    assert memory.get(np.array([1]))["step"].shape == (1, 0)
    memory.load(memory.to_arrow())
