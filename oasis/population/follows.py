"""The follow graph of a generated population, with the properties that were asked for.

Axes: ``n`` agents, ``c`` chosen follows, ``e`` edges. Rows and codes are those of `oasis.kernels.follow_rows`.

An agent chooses follows of two kinds: those that are returned and those that are not. A share of both goes to
followees of followees. A little more is drawn than is asked for; what happens to repeat or to return another is
dropped; of what is left, so much is kept that size, reciprocity and assortativity are right. Where too little is left,
all is drawn again with more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oasis.kernels import follow_draws, follow_rows
from oasis.kernels import population as kernels
from oasis.kernels.threads import in_parts
from oasis.population.popularity import Expected, FollowParameters, expect, within_for
from oasis.randomness import Draws, Keys

__all__ = ["draw_follows"]

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_SURPLUS = 1.03  # drawn beyond what is asked; of a large graph, repeats are below 1%
_ROUNDS = 6  # at most; large graphs need one
_TINY = 1e-9


@dataclass
class _Rows:
    """A graph under way."""

    start: I64
    length: I32
    codes: I32

    @classmethod
    def empty(cls, n: int) -> _Rows:
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int32), np.empty(0, np.int32))

    def joined(self, chosen: I32, offsets: I64, returned: I32) -> _Rows:
        """Return these rows and what was chosen, tidied."""
        n = len(self.length)
        size = self.length.astype(np.int64)
        follow_rows.received(chosen, offsets, returned, size)
        ends = np.cumsum(size)
        start, codes = ends - size, np.empty(ends[-1], np.int32)
        follow_rows.scatter(self.start, self.length, self.codes, chosen, offsets, returned, start.copy(), codes)
        rows = _Rows(start, size.astype(np.int32), codes)
        in_parts(n, lambda p: follow_rows.tidy(p.start, p.stop, rows.start, rows.length, rows.codes))
        return rows


@dataclass
class _Law:
    """By what follows are drawn: agents in order of their groups, with cumulated weights of both kinds."""

    keys: Keys
    group: I16
    order: I32
    upper: F64
    table: I32
    bounds: F64

    @classmethod
    def build(cls, keys: Keys, group: I16, groups: int, expected: Expected) -> _Law:
        n = len(keys)
        order = np.argsort(group, kind="stable").astype(np.int32)
        upper, table = np.empty((2, n)), np.empty((2, n), np.int32)
        for kind, weight in enumerate(expected.weights):
            np.cumsum(weight[order], out=upper[kind])
            kernels.guide(upper[kind], table[kind])
        begins = np.searchsorted(group[order], np.arange(groups + 1))
        bounds = np.concatenate([np.zeros((2, 1)), upper], axis=1)[:, begins]
        return cls(keys, group, order, upper, table, bounds)

    @property
    def shares(self) -> F64:
        """Each group's share of the weights, shape (2, g)."""
        total = np.maximum(self.upper[:, -1:], _TINY)
        return np.asarray(np.diff(self.bounds, axis=1) / total)


def draw_follows(draws: Draws, keys: Keys, group: I16, parameters: FollowParameters) -> tuple[I32, I32]:
    """Return distinct edges (follower, followee) without self-follows, sorted."""
    n = len(keys)
    if n < 2 or parameters.mean_follows == 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    groups = int(group.max()) + 1
    expected = expect(draws, keys, parameters)
    law = _Law.build(keys, group, groups, expected)
    sent = np.bincount(group, weights=expected.one_way, minlength=groups).astype(np.float64)
    sent /= max(float(sent.sum()), _TINY)
    within = within_for(parameters.assortativity, parameters.reciprocity, law.shares[0], sent, law.shares[1])
    surplus = np.full(2, _SURPLUS)
    edges = float(np.cumsum(expected.followers)[-1])
    for last in range(_ROUNDS - 1, -1, -1):
        rows = _drawn(draws, law, expected, parameters.triadic_closure, within, surplus)
        wanted, found, dropped = _balance(rows, law, edges, parameters)
        if last == 0 or np.all(wanted <= 1.005 * found):
            break
        surplus *= np.clip(wanted.sum(axis=1) / np.maximum(found.sum(axis=1), 1.0), 1.0, 1.5) * 1.01
        lacking = wanted[:, 0].sum() / wanted.sum() - found[:, 0].sum() / max(found.sum(), 1.0)
        within = float(np.clip(within + 1.5 * lacking, 0.0, 1.0))
    share = np.minimum(wanted / np.maximum(found, 1.0), 1.0)
    kept = np.empty(n, np.int32)
    key = draws.key("population.kept", 0)
    in_parts(
        n,
        lambda p: follow_rows.keep(
            p.start, p.stop, key, keys, group, rows.start, rows.length, rows.codes, dropped, share, kept
        ),
    )
    follower = np.repeat(np.arange(n, dtype=np.int32), kept)
    followee = np.empty(len(follower), np.int32)
    ends = np.cumsum(kept, dtype=np.int64)
    follow_rows.pack(rows.start, kept, rows.codes, ends - kept, followee)
    return follower, followee


def _drawn(draws: Draws, law: _Law, expected: Expected, closure: float, within: float, surplus: F64) -> _Rows:
    keys, n = law.keys, len(law.keys)
    wanted = np.stack([expected.mutual / 2.0, expected.one_way]) * surplus[:, None]
    count = _whole(draws, "population.round", keys, wanted * (1.0 - closure))
    offsets = np.r_[0, np.cumsum(count.sum(axis=0), dtype=np.int64)]
    chosen = np.empty(offsets[-1], np.int32)
    key = draws.key("population.followee", 0)
    laws = (keys, law.group, law.order, law.upper, law.table, law.bounds)
    in_parts(n, lambda p: follow_draws.choose(p.start, p.stop, key, *laws, within, count, offsets, chosen))
    rows = _Rows.empty(n).joined(chosen, offsets, count[0])
    if closure == 0:
        return rows
    closing = _whole(draws, "population.closing", keys, wanted * closure)
    offsets = np.r_[0, np.cumsum(closing.sum(axis=0), dtype=np.int64)]
    chosen = np.empty(offsets[-1], np.int32)
    alike = within + (1.0 - within) * law.shares
    accept = _acceptance(rows, expected, closing.sum(axis=0).astype(np.float64))
    key = draws.key("population.closed", 0)
    graph = (rows.start, rows.length, rows.codes)
    in_parts(
        n,
        lambda p: follow_draws.close(p.start, p.stop, key, *laws, alike, *graph, accept, closing, offsets, chosen),
    )
    return rows.joined(chosen, offsets, closing[0])


def _whole(draws: Draws, stream: str, keys: Keys, wanted: F64) -> I32:
    """Return whole numbers, shape (2, n), with the expectations wanted."""
    u = np.stack([draws.uniform(stream, 0, keys, kind) for kind in range(2)])
    return np.asarray(np.floor(wanted + u), np.int32)


def _acceptance(rows: _Rows, expected: Expected, closing: F64) -> F32:
    """Return the chance, by kind, to accept each agent as the followee of a followee.

    A walk of two steps favours whom the popular follow. It is thinned so that nobody gets more of these follows than of
    all others.
    """
    once, twice = np.zeros(len(closing)), np.zeros(len(closing))
    follow_rows.walk(rows.start, rows.length, rows.codes, closing, once)
    follow_rows.walk(rows.start, rows.length, rows.codes, once, twice)
    followers = expected.followers
    due = followers * (np.cumsum(twice)[-1] / np.cumsum(followers)[-1])
    fair = np.minimum(1.0, due / np.maximum(twice, _TINY))
    kinds = np.stack(expected.weights) / followers
    return np.asarray(fair * kinds / np.maximum(kinds.max(axis=1, keepdims=True), _TINY), np.float32)


def _balance(
    rows: _Rows, law: _Law, edges: float, parameters: FollowParameters
) -> tuple[F64, F64, npt.NDArray[np.uint8]]:
    """Return how many edges are wanted and there, by kind and whether they cross groups, and which are not counted."""
    n, groups = len(law.keys), law.bounds.shape[1] - 1
    dropped = np.empty(len(rows.codes), np.uint8)
    parts: list[I64] = []

    def count(part: slice) -> None:
        found = np.zeros((2, 2), np.int64)
        graph = (rows.start, rows.length, rows.codes)
        follow_rows.compare(part.start, part.stop, *graph, law.group, dropped, found)
        parts.append(found)  # sums of whole numbers: their order does not matter

    in_parts(n, count)
    found = np.sum(parts, axis=0).astype(np.float64)
    sent = np.bincount(law.group, weights=rows.length, minlength=groups)
    got = np.zeros(n)
    follow_rows.walk(rows.start, rows.length, rows.codes, rows.length.astype(np.float64), got)  # 1 to each followee
    taken = np.bincount(law.group, weights=got, minlength=groups)
    chance = float(np.cumsum(sent * taken)[-1]) / max(sent.sum() * taken.sum(), 1.0)
    kinds = edges * np.array([parameters.reciprocity, 1.0 - parameters.reciprocity])
    inside = found[:, 0] / np.maximum(found.sum(axis=1), 1.0)
    aim = parameters.assortativity * (1.0 - chance) + chance
    inside = np.clip(inside + aim - float(kinds @ inside) / edges, 0.0, 1.0) if groups > 1 else inside
    return np.stack([kinds * inside, kinds * (1.0 - inside)], axis=1), found, dropped
