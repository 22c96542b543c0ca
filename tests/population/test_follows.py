"""The follow graph: drawn in blocks, the same whatever their size, in time that grows with its edges."""

from __future__ import annotations

import time

import numpy as np
import pytest

from oasis.population import follows, load_population
from oasis.population.generate import GenerateParameters
from oasis.randomness import Draws, agent_keys


def _graph(agents: int, **parameters: float) -> tuple[np.ndarray, np.ndarray]:
    topic = (np.arange(agents) % 5).astype(np.int16)
    keys = agent_keys(np.arange(agents))
    return follows.draw_follows(Draws(1), keys, topic, GenerateParameters(agents=agents, **parameters))  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [1, 50, 777])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _graph(400)
    monkeypatch.setattr(follows, "_BLOCK", block)
    np.testing.assert_array_equal(whole, _graph(400))


def test_edges_are_distinct_sorted_and_of_others() -> None:
    follower, followee = _graph(2000, mean_follows=300)
    pair = follower.astype(np.int64) * 2000 + followee
    assert np.all(np.diff(pair) > 0)
    assert np.all(follower != followee)
    assert follower.min() >= 0
    assert max(follower.max(), followee.max()) < 2000


def test_an_extra_agent_moves_few_follows() -> None:
    # Its weight shifts the cumulated popularity by a little, so most draws fall on whom they fell on before.
    before, after = (set(zip(*(e.tolist() for e in _graph(n)), strict=True)) for n in (3000, 3001))
    assert len(before & after) > 0.5 * len(before)


def test_time_grows_with_the_number_of_agents() -> None:
    def seconds(agents: int) -> float:
        start = time.process_time()
        load_population("generate", agents=agents)
        return time.process_time() - start

    seconds(100)
    small = min(seconds(2_000) for _ in range(3))
    assert min(seconds(40_000) for _ in range(2)) < 60 * small  # 20 times as many; quadratic would be 400
