"""Every random number of a run: a pure function of (seed, stream, step, agent key, item key).

So a draw does not depend on the number of workers, on batches, on the order of arrival or on what
other agents do, and two runs share every draw that their difference does not touch (common random
numbers). Keys are stable 64-bit numbers, never row numbers: an extra post or agent shifts no other draw.

Generator: Philox4x32-10 (Salmon et al. 2011), see `oasis.kernels.philox`. The 64-bit Philox key is a
BLAKE2b digest of (seed, stream, step), the 128-bit counter is (agent key, item key).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.kernels import philox
from oasis.kernels.threads import in_parts

__all__ = ["Draws", "Lane", "agent_keys", "derive_keys", "text_key"]

Keys = npt.NDArray[np.uint64]

_ROWS_WORTH_A_THREAD = 20_000


class Lane:
    """Who created something, the third part of its stable key."""

    HISTORY = 0
    AGENT = 1
    OUTSIDE = 2
    COMMENT = 3


@dataclass(frozen=True)
class Draws:
    """All draws of one run.

    Parameters
    ----------
    seed : int
        Any integer; taken modulo 2^64.
    """

    seed: int

    def key(self, stream: str, step: int) -> np.uint64:
        """Return the Philox key of a named stream at a step."""
        material = f"{self.seed % 2**64}\x1f{stream}\x1f{step}".encode()
        return np.uint64(int.from_bytes(hashlib.blake2b(material, digest_size=8).digest(), "little"))

    def uniform(self, stream: str, step: int, agents: Keys, items: Keys | int = 0) -> npt.NDArray[np.float64]:
        """Return uniforms in (0, 1), one per row; `agents` and `items` broadcast."""
        a, b = _pair(agents, items)
        out = np.empty(a.size, np.float64)
        _fill(philox.uniforms, self.key(stream, step), a, b, out)
        return out

    def gumbel(self, stream: str, step: int, agents: Keys, items: Keys | int = 0) -> npt.NDArray[np.float64]:
        """Return standard Gumbel draws, one per row; `agents` and `items` broadcast."""
        a, b = _pair(agents, items)
        out = np.empty(a.size, np.float64)
        _fill(philox.gumbels, self.key(stream, step), a, b, out)
        return out

    def bits(self, stream: str, step: int, agents: Keys, items: Keys | int = 0) -> Keys:
        """Return 64 random bits per row: an order to shuffle or break ties by."""
        a, b = _pair(agents, items)
        out = np.empty(a.size, np.uint64)
        _fill(philox.bits, self.key(stream, step), a, b, out)
        return out

    def integers(
        self, stream: str, step: int, high: npt.ArrayLike, agents: Keys, items: Keys | int = 0
    ) -> npt.NDArray[np.int64]:
        """Return integers in [0, high), one per row (`high` < 2^40, so that the bias is below 2^-12)."""
        u = self.uniform(stream, step, agents, items)
        return np.minimum((u * np.asarray(high)).astype(np.int64), np.asarray(high, np.int64) - 1)

    def next_in_circle(self, stream: str, step: int, agents: Keys) -> npt.NDArray[np.int64]:
        """Return for each row the next one in a circle drawn over all rows, shape of `agents`.

        Of two rows or more none is its own next; a row more is the next of one and changes nobody else's.
        """
        order = np.argsort(self.bits(stream, step, agents), kind="stable")
        following = np.empty(len(order), np.int64)
        following[order] = np.roll(order, -1)
        return following


def _fill(kernel: Callable[..., None], key: np.uint64, a: Keys, b: Keys, out: npt.NDArray[Any]) -> None:
    in_parts(len(out), lambda rows: kernel(key, a[rows], b[rows], out[rows]), _ROWS_WORTH_A_THREAD)


def _pair(agents: Keys, items: Keys | int) -> tuple[Keys, Keys]:
    a, b = np.asarray(agents, np.uint64), np.asarray(items, np.uint64)
    shape = np.broadcast_shapes(a.shape, b.shape)
    # A view made by broadcasting must not reach a kernel: reading its flags warns.
    a, b = (x if x.shape == shape else np.broadcast_to(x, shape).copy() for x in (a, b))
    return np.ascontiguousarray(a.ravel()), np.ascontiguousarray(b.ravel())


def derive_keys(parents: Keys, step: int, lane: int, index: npt.ArrayLike) -> Keys:
    """Return stable keys of things made by `parents` (keys) at a step: (author, step, lane, index in turn)."""
    packed = (np.asarray(index, np.uint64) << np.uint64(2)) | np.uint64(lane)
    a, b = _pair(np.asarray(parents, np.uint64), packed | (np.uint64(step) << np.uint64(32)))
    out = np.empty(a.size, np.uint64)
    philox.bits(np.uint64(_KEYS), a, b, out)
    return out


def agent_keys(origins: npt.ArrayLike) -> Keys:
    """Return stable keys of agents from their origin numbers (row in the source, or sign-up number)."""
    a, b = _pair(np.asarray(origins, np.uint64), 1)
    out = np.empty(a.size, np.uint64)
    philox.bits(np.uint64(_KEYS), a, b, out)
    return out


def text_key(text: str) -> np.uint64:
    """Return a stable key of a string."""
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little"))


_KEYS = 0x6F61736973  # "oasis": the namespace of keys, apart from all draws
