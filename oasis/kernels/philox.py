"""Philox4x32-10, the counter-based generator of Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".

One block maps a 128-bit counter and a 64-bit key to 128 random bits. Here the counter is
(agent key, item key), 64 bits each, and the first 64 bits of the output are used.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = [
    "bits",
    "bits_numpy",
    "block",
    "gumbels",
    "gumbels_numpy",
    "philox4x32",
    "uniform",
    "uniforms",
    "uniforms_numpy",
]

U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

# Salmon et al. (2011), table 2 and section 3.3 (Philox-4x32 multipliers and Weyl constants).
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF
_ROUNDS = 10
_TWO_NEG_53 = 2.0**-53


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return one block in plain Python: the form in which the Random123 vectors are published."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@kernel(inline=True)
def block(a: np.uint64, b: np.uint64, key: np.uint64) -> np.uint64:
    """Return the first 64 bits of one block, for kernels that draw as they go."""
    mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    m0, m1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    w0, w1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    c0, c1, c2, c3 = a & mask, a >> shift, b & mask, b >> shift
    k0, k1 = key & mask, key >> shift
    for _ in range(10):
        p0, p1 = m0 * c0, m1 * c2
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & mask, (p0 >> shift) ^ c3 ^ k1, p0 & mask
        k0, k1 = (k0 + w0) & mask, (k1 + w1) & mask
    return (c1 << shift) | c0


@kernel(inline=True)
def uniform(a: np.uint64, b: np.uint64, key: np.uint64) -> float:
    """Return a uniform in the open interval (0, 1), on the centres of 2^52 equal cells; for use in other kernels."""
    return (np.float64(block(a, b, key) >> np.uint64(12)) * 2.0 + 1.0) * 2.0**-53


@kernel()
def bits(key: np.uint64, agents: U64, items: U64, out: U64) -> None:
    """Fill `out` with 64 random bits for each (agent key, item key)."""
    for i in range(len(out)):
        out[i] = block(agents[i], items[i], key)


@kernel()
def uniforms(key: np.uint64, agents: U64, items: U64, out: F64) -> None:
    """Fill `out` with uniforms, see `uniform`."""
    for i in range(len(out)):
        out[i] = uniform(agents[i], items[i], key)


@kernel()
def gumbels(key: np.uint64, agents: U64, items: U64, out: F64) -> None:
    """Fill `out` with standard Gumbel draws, -log(-log(u))."""
    for i in range(len(out)):
        out[i] = -math.log(-math.log(uniform(agents[i], items[i], key)))


def bits_numpy(key: int, agents: U64, items: U64) -> U64:
    """Return what `bits` fills in, with NumPy alone."""
    mask, shift = np.uint64(_MASK), np.uint64(32)
    c0, c1, c2, c3 = agents & mask, agents >> shift, items & mask, items >> shift
    k0, k1 = key & _MASK, key >> 32
    for _ in range(_ROUNDS):
        p0, p1 = np.uint64(_M0) * c0, np.uint64(_M1) * c2
        c0, c1 = (p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & mask
        c2, c3 = (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return np.asarray((c1 << shift) | c0, np.uint64)


def uniforms_numpy(key: int, agents: U64, items: U64) -> F64:
    """Return what `uniforms` fills in, with NumPy alone."""
    high = (bits_numpy(key, agents, items) >> np.uint64(12)).astype(np.float64)
    return np.asarray((high * 2.0 + 1.0) * _TWO_NEG_53, np.float64)


def gumbels_numpy(key: int, agents: U64, items: U64) -> F64:
    """Return what `gumbels` fills in, with NumPy alone (log may differ by an ulp)."""
    return np.asarray(-np.log(-np.log(uniforms_numpy(key, agents, items))), np.float64)
