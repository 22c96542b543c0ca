"""Which endpoint has the beginning of a prompt in its cache: an order of endpoints for each key, the same every time.

Rendezvous hashing (Thaler and Ravishankar 1998): each key ranks all endpoints by a hash of both, so one that dies or
comes back moves only the keys that prefer it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from oasis.interfaces import InferenceRequest

__all__ = ["Ranking", "prefix_key"]

SLOTS = 1024
"""Keys are told apart modulo this, so that ranks are looked up, not computed: with 3 endpoints each is preferred by a
third of them within 5%."""


class Ranking:
    """The ranks of endpoints by key.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._orders: list[tuple[int, ...] | None] = [None] * SLOTS

    def order(self, key: int) -> tuple[int, ...]:
        """Return the positions of all endpoints, the preferred one first."""
        slot = key % SLOTS
        order = self._orders[slot]
        if order is None:
            hashes = [hashlib.blake2b(f"{slot}|{name}".encode(), digest_size=8).digest() for name in self._names]
            order = self._orders[slot] = tuple(sorted(range(len(hashes)), key=hashes.__getitem__))
        return order


def prefix_key(request: InferenceRequest) -> int:
    """Return what questions that share a long beginning have in common: who is asked.

    Stages of a choice and turns of a conversation begin with all that was said before. What all agents share is soon in
    every cache, whoever goes where; what some share besides is too little to count (docs/decisions/prefix-cache.md).
    """
    return request.agent_id
