"""Draws are Philox4x32-10, keyed, and independent of how they are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oasis.kernels import philox
from oasis.randomness import Draws, Lane, agent_keys, derive_keys, text_key

ONES = 0xFFFFFFFF

# Random123's kat_vectors: philox4x32-10 counter, key, output.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert philox.philox4x32(counter, key) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_kernel_gives_the_first_half_of_a_block(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    agents = np.array([counter[0] | counter[1] << 32], np.uint64)
    items = np.array([counter[2] | counter[3] << 32], np.uint64)
    out = np.empty(1, np.uint64)
    philox.bits(np.uint64(key[0] | key[1] << 32), agents, items, out)
    assert out[0] == expected[0] | expected[1] << 32


@given(
    st.integers(0, 2**64 - 1), st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=20)
)
def test_kernels_equal_numpy(key: int, counters: list[tuple[int, int]]) -> None:
    agents = np.array([a for a, _ in counters], np.uint64)
    items = np.array([b for _, b in counters], np.uint64)
    bits, uniforms, gumbels = np.empty(len(agents), np.uint64), np.empty(len(agents)), np.empty(len(agents))
    philox.bits(np.uint64(key), agents, items, bits)
    philox.uniforms(np.uint64(key), agents, items, uniforms)
    philox.gumbels(np.uint64(key), agents, items, gumbels)
    np.testing.assert_array_equal(bits, philox.bits_numpy(key, agents, items))
    np.testing.assert_array_equal(uniforms, philox.uniforms_numpy(key, agents, items))
    np.testing.assert_allclose(gumbels, philox.gumbels_numpy(key, agents, items), rtol=4 * np.finfo(float).eps)
    assert np.all((uniforms > 0) & (uniforms < 1))
    assert np.all(np.isfinite(gumbels))


def test_a_draw_does_not_depend_on_what_else_is_drawn() -> None:
    draws, keys = Draws(7), agent_keys(np.arange(1000))
    together = draws.uniform("activation", 3, keys)
    np.testing.assert_array_equal(together[500:510], draws.uniform("activation", 3, keys[500:510]))
    np.testing.assert_array_equal(together[::-1], draws.uniform("activation", 3, keys[::-1]))


def test_seed_stream_step_agent_and_item_all_matter() -> None:
    keys = agent_keys(np.arange(2))
    base = Draws(1).uniform("a", 1, keys[:1])[0]
    others = [
        Draws(2).uniform("a", 1, keys[:1])[0],
        Draws(1).uniform("b", 1, keys[:1])[0],
        Draws(1).uniform("a", 2, keys[:1])[0],
        Draws(1).uniform("a", 1, keys[1:])[0],
        Draws(1).uniform("a", 1, keys[:1], 1)[0],
    ]
    assert len({base, *others}) == 6


def test_uniforms_and_gumbels_have_their_distributions() -> None:
    keys = agent_keys(np.arange(20_000))
    assert stats.kstest(Draws(3).uniform("u", 1, keys), "uniform").pvalue > 1e-3
    assert stats.kstest(Draws(3).gumbel("g", 1, keys), "gumbel_r").pvalue > 1e-3


def test_integers_stay_below_their_bound() -> None:
    high = np.array([1, 2, 3, 1000] * 500)
    got = Draws(1).integers("i", 1, high, agent_keys(np.arange(2000)))
    assert np.all((got >= 0) & (got < high))
    assert set(got[high == 3]) == {0, 1, 2}


def test_derived_keys_are_distinct() -> None:
    parents = agent_keys(np.arange(100))
    keys = [
        derive_keys(parents, step, lane, i) for step in (0, 1) for lane in (Lane.AGENT, Lane.COMMENT) for i in (0, 1)
    ]
    assert len(np.unique(np.concatenate([parents, *keys]))) == 900


def test_text_keys_survive_lone_surrogates() -> None:
    assert text_key("a") != text_key("b")
    assert text_key("\ud800") == text_key("?")
