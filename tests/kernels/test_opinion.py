"""Kernels of opinion dynamics against plain NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.kernels import opinion as kernel


def drawn(seed, agents, most):
    rng = np.random.default_rng(seed)
    offsets = np.r_[0, np.cumsum(rng.integers(0, most + 1, agents))]
    seen, own, anchor = (
        rng.uniform(-1, 1, n).astype(np.float32).astype(np.float64) for n in (offsets[-1], agents, agents)
    )
    return offsets, seen, own, anchor, rng.uniform(0, 1, 2)


@given(seed=st.integers(0, 10_000), agents=st.integers(0, 30), most=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_friedkin_johnsen(seed, agents, most):
    offsets, seen, own, anchor, (s, w) = drawn(seed, agents, most)
    out = np.empty(agents)
    kernel.friedkin_johnsen(offsets, seen, own, anchor, s, w, out)
    np.testing.assert_array_max_ulp(out, kernel.friedkin_johnsen_numpy(offsets, seen, own, anchor, s, w), 4)
    assert np.array_equal(out[np.diff(offsets) == 0], own[np.diff(offsets) == 0])


@given(seed=st.integers(0, 10_000), agents=st.integers(0, 30), most=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_deffuant(seed, agents, most):
    offsets, seen, own, _, (d, mu) = drawn(seed, agents, most)
    out = np.empty(agents)
    kernel.deffuant(offsets, seen, own, 2 * d, mu, out)
    np.testing.assert_array_max_ulp(out, kernel.deffuant_numpy(offsets, seen, own, 2 * d, mu), 4)
    assert np.abs(out).max(initial=0.0) <= 1.0
