"""Texts are normalised once, whatever they contain."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.world.text import MAX_CHARACTERS, TextPool, normalise, normalise_one

HOSTILE = ["a\x00b", "\u202egnp.exe", "x\u2028y", "\ufeffbom", "tab\tand\nnewline", "\r\n", "\x85", "é" * 3]


@given(st.lists(st.one_of(st.none(), st.text()), max_size=8))
def test_both_normalisations_agree(texts: list[str | None]) -> None:
    array = pa.array([None if t is None else t.encode("utf-8", "replace").decode() for t in texts], pa.large_string())
    assert normalise(array).to_pylist() == [None if t is None else normalise_one(t) for t in texts]


@pytest.mark.parametrize("text", HOSTILE)
def test_controls_go_and_text_stays(text: str) -> None:
    clean = normalise(pa.array([text], pa.large_string()))[0].as_py()
    assert clean == normalise_one(text)
    assert not set(clean) & set("\x00\r\x85\u202e\u2028\ufeff")
    assert set(clean) >= set(text) & set("abxy\t\né")


def test_long_texts_are_cut() -> None:
    assert len(normalise(pa.array(["é" * 100_000], pa.large_string()))[0].as_py()) == MAX_CHARACTERS
    assert len(normalise_one("é" * 100_000)) == MAX_CHARACTERS


def test_pool_keeps_ids_through_compaction() -> None:
    pool, model = TextPool(), list[str]()
    for number in range(100):
        new = [f"text {number}.{i}" for i in range(number % 4)]
        ids = pool.append([*new, None])
        assert ids.tolist() == [*range(len(model), len(model) + len(new)), -1]
        model += new
    assert pool.take(np.arange(len(model))[::-1]).to_pylist() == model[::-1]
    mixed = np.array([140, -1, 0, 149, 0, -1, 90])  # of several chunks, and repeated
    assert pool.take(mixed).to_pylist() == [None if i < 0 else model[i] for i in mixed]
    assert pool.take(np.array([-1, -1])).to_pylist() == [None, None]
    assert pool.take(np.array([], np.int32)).to_pylist() == []
    assert pool.get(-1) is None
    with pytest.raises(IndexError):
        pool.take(np.array([0, len(model)]))
    loaded = TextPool()
    loaded.load(pool.to_arrow())
    assert loaded.take(np.arange(len(model))).to_pylist() == model


def test_interning_repeats_ids() -> None:
    pool = TextPool()
    assert pool.intern_all(["red", None, "blue", "red"]).tolist() == [0, -1, 1, 0]
    assert pool.intern("blue") == 1
    assert len(pool) == 2
