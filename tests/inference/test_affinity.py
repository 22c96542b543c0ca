"""Questions that begin alike meet at one endpoint, as far as load allows; which one answers changes nothing."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import polars as pl
import pytest

from oasis.errors import NoEndpointError
from oasis.inference import Client, MockTransport, Prompt, Reply, TransportError
from oasis.inference.affinity import SLOTS, Ranking
from oasis.inference.endpoints import SLACK, EndpointPool
from oasis.inference_config import LLMConfig
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.testing.answers import answer_from_schema, odds_of_letters

NAMES = [f"http://gpu{i}:8000/v1" for i in range(4)]


def test_keys_are_spread_and_a_lost_endpoint_moves_only_its_own() -> None:
    all_, three = Ranking(NAMES), Ranking(NAMES[:3])
    moved = 0
    preferred = Counter[int]()
    for key in range(-1, SLOTS - 1):
        order = all_.order(key)
        assert sorted(order) == [0, 1, 2, 3]
        assert order == all_.order(key) == Ranking(NAMES).order(key)
        preferred[order[0]] += 1
        assert [e for e in order if e != 3] == list(three.order(key))
        moved += order[0] == 3
    assert all(0.2 * SLOTS < count < 0.3 * SLOTS for count in preferred.values())
    assert moved == preferred[3]


def pool(count: int = 3, concurrency: int = 1000) -> EndpointPool:
    made = EndpointPool([MockTransport(lambda _: "", name) for name in NAMES[:count]], concurrency, 10.0, lambda: 0.0)
    for endpoint in made.endpoints:
        endpoint.limit = float(concurrency)
    return made


async def test_a_key_keeps_its_endpoint_until_that_has_too_much_to_do() -> None:
    made = pool()
    chosen = []
    for _ in range(100):  # all of one key
        chosen.append(await made.acquire(key=7))
        loads = [e.in_flight for e in made.endpoints]
        assert max(loads) <= math.ceil((1 + SLACK) * sum(loads) / 3)
    assert chosen[0] is made.endpoints[Ranking(NAMES[:3]).order(7)[0]]
    assert chosen[0].in_flight == max(e.in_flight for e in made.endpoints)
    for endpoint in chosen:
        made.release(endpoint)
    assert {id(endpoint) for endpoint in [await _one(made, 7) for _ in range(20)]} == {id(chosen[0])}


async def _one(made: EndpointPool, key: int | None) -> Any:
    endpoint = await made.acquire(key=key)
    made.release(endpoint)
    return endpoint


async def test_without_a_key_the_least_busy_is_taken() -> None:
    made = pool()
    busy = await made.acquire()
    assert [(await made.acquire()) is not busy for _ in range(2)] == [True, True]


async def test_a_dead_endpoint_loses_its_keys_to_others_and_to_them_only() -> None:
    made = pool()
    before = {key: await _one(made, key) for key in range(60)}
    gone = made.endpoints[1]
    gone.dead = True
    after = {key: await _one(made, key) for key in range(60)}
    assert gone not in after.values()
    assert all(after[key] is endpoint for key, endpoint in before.items() if endpoint is not gone)
    assert len({id(after[key]) for key, endpoint in before.items() if endpoint is gone}) == 2
    gone.dead = False
    assert {key: await _one(made, key) for key in range(60)} == before


async def test_a_full_endpoint_is_not_waited_for() -> None:
    made = pool()
    first = await made.acquire(key=7)
    first.limit = 1.0
    assert await made.acquire(key=7) is not first


async def test_a_retry_goes_elsewhere_though_the_key_would_not() -> None:
    made = pool()
    first = await made.acquire(key=7)
    assert await made.acquire(first, 7) is not first


async def test_none_alive() -> None:
    made = pool()
    for endpoint in made.endpoints:
        endpoint.dead = True
    with pytest.raises(NoEndpointError):
        await made.acquire(key=1)


def made(scenario: Scenario, client: Client) -> tuple[str | None, pl.DataFrame]:
    """Return the state after a run and all that was asked in it."""
    tables = list[Any]()
    summary = Simulation(scenario, inference=client).run_sync(lambda result: tables.append(result.tables["llm_calls"]))
    return summary.state_hash, pl.concat(pl.from_arrow(table) for table in tables)


@pytest.mark.parametrize("decoding", ["json", "choice"])
def test_stages_of_a_decision_meet_and_the_run_is_the_same_wherever_they_do(decoding: str) -> None:
    def answer(prompt: Prompt) -> Reply:
        question = prompt.messages[-1][1]
        if prompt.labels:
            odds = tuple(odds_of_letters(question, question[:100]))
            return Reply(odds[0][0], 1, 0, 1, "stop", odds)
        return Reply(answer_from_schema(prompt.schema, question), 1, 0, 1, "stop")

    class Flaky(MockTransport):
        async def send(self, prompt: Prompt, timeout_s: float) -> Reply:
            if len(self.prompts) in (3, 20):
                self.prompts.append(prompt)
                raise TransportError("server", "HTTP 500: once")
            return await super().send(prompt, timeout_s)

    parameters = {"decoding": decoding} if decoding == "choice" else {"max_turns": 3}
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 3},
            "platform": {"kind": "reddit"},
            "population": {"agents": 60, "mean_active": 0.9},
            "policies": [{"kind": "llm", "parameters": parameters}],
            "llm": {"endpoints": ["http://127.0.0.1:1"], "model": "m"},
        }
    )
    states, met = [], []
    for count in (1, 3, 4):
        transports = [MockTransport(answer, NAMES[0]), *(Flaky(answer, name) for name in NAMES[1:count])]
        client = Client(transports, LLMConfig(model="m", concurrency=24))
        state, calls = made(scenario, client)
        states.append(state)
        asked = calls.filter(pl.col("agent_id") >= 0)
        asked = asked.filter(pl.col("endpoint").is_not_null())
        per_agent = asked.group_by("step", "agent_id").agg(questions=pl.len(), endpoints=pl.col("endpoint").n_unique())
        several = per_agent.filter(pl.col("questions") > 1)
        assert several.height > 20
        met.append((several["endpoints"] == 1).mean())
        assert asked["endpoint"].n_unique() == count
    assert len(set(states)) == 1
    assert met[0] == 1.0
    assert min(met) > 0.7, "by chance a third or fewer would meet"
