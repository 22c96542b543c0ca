"""What prefix affinity between endpoints, and the order of requests, save: hits in simulated prefix caches.

    OASIS_DATA=DIR python benchmarks/prefix_affinity.py [--endpoints 3] [--agents 600] [--concurrency 64]

Runs of the real engine and client. Each endpoint is a simulated server with a prefix cache as vLLM's: blocks of 16
tokens, found by the hash of all tokens up to their end, the least recently used evicted first; its time goes with the
tokens that it must compute. For each way to choose an endpoint (`never`: the one with the fewest in flight) and each
order of requests, the share of prompt tokens that were in a cache, and the busiest server's work over the mean;
`one` is what one server with room for all would find. `microseconds` are those of choosing. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from oasis.agents import llm
from oasis.inference import Client, Prompt, Reply, client, endpoints
from oasis.inference.affinity import prefix_key
from oasis.inference.endpoints import EndpointPool
from oasis.inference.mock import MockTransport
from oasis.inference.tokens import encode_prompts
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, InferenceRequest
from oasis.scenario import Scenario
from oasis.simulation import Simulation
from oasis.testing.answers import answer_from_schema, odds_of_letters

DATA = Path(os.environ.get("OASIS_DATA", "../shared/data"))
BLOCK = 16
TOKENS_PER_S = 400_000.0
"""What a simulated server computes: a mid-sized GPU's prefill, ten times as fast, so that the benchmark is."""
POPULATIONS: dict[str, dict[str, Any]] = {
    "reddit_36": {
        "platform": {"kind": "reddit"},
        "recsys": {"kind": "hot", "size": 5},
        "population": {"source": "reddit-json", "path": str(DATA / "reddit/user_data_36.json"), "mean_active": 1.0},
    },
    "x_111": {
        "platform": {"kind": "x"},
        "recsys": {"kind": "interest", "size": 10},
        "population": {"source": "x-csv", "path": str(DATA / "x/False_Business_0.csv"), "mean_active": 1.0},
    },
    "reddit": {"platform": {"kind": "reddit"}, "recsys": {"kind": "hot", "size": 5}},
    "x": {"platform": {"kind": "x"}, "recsys": {"kind": "interest", "size": 10}},
}
DECODING: dict[str, dict[str, Any]] = {
    "json": {},
    "json, 3 turns": {"max_turns": 3},
    "choice": {"decoding": "choice"},
}


class Cache:
    """A prefix cache of `blocks` blocks."""

    def __init__(self, blocks: int) -> None:
        self._blocks, self._held = blocks, OrderedDict[bytes, None]()
        self.asked = self.found = 0

    def look_up(self, tokens: np.ndarray) -> int:
        """Return how many tokens must be computed, which then are held."""
        chain, blocks = b"", []
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            chain = hashlib.blake2b(chain + tokens[start : start + BLOCK].tobytes(), digest_size=12).digest()
            blocks.append(chain)
        known = next((i for i, block in enumerate(blocks) if block not in self._held), len(blocks))
        for block in reversed(blocks):  # ends are evicted before beginnings
            self._held[block] = None
            self._held.move_to_end(block)
        while len(self._held) > self._blocks:
            self._held.popitem(last=False)
        found = min(known * BLOCK, len(tokens) - 1)
        self.asked += len(tokens)
        self.found += found
        return len(tokens) - found


class Server:
    """A simulated endpoint: one cache, prompts computed one after another."""

    def __init__(self, blocks: int) -> None:
        self.cache, self._free_at, self.busy = Cache(blocks), 0.0, 0.0

    async def answer(self, prompt: Prompt) -> Reply:
        """Answer when it is its turn."""
        (tokens,) = encode_prompts([prompt.messages])
        seconds = self.cache.look_up(tokens) / TOKENS_PER_S
        self.busy += seconds
        self._free_at = max(self._free_at, time.monotonic()) + seconds
        await asyncio.sleep(self._free_at - time.monotonic())
        question = prompt.messages[-1][1]
        if prompt.labels:
            odds = tuple(odds_of_letters(question, question[:200]))
            return Reply(odds[0][0], len(tokens), 0, 1, "stop", odds)
        return Reply(answer_from_schema(prompt.schema, question), len(tokens), 0, 30, "stop")


Order = Callable[[Sequence[InferenceRequest]], Sequence[InferenceRequest]]


@dataclass(frozen=True)
class Way:
    """How requests are sent: what goes to one endpoint, in which order, of how many agents at a time."""

    key: Callable[[InferenceRequest], int | None] = prefix_key
    order: Order = list
    together: bool = False


PARTS = llm.LLM._parts
WAYS = {
    "ours": Way(),
    "never": Way(lambda request: None),
    "by the feed's begin": Way(lambda request: crc32(request.messages[1][1][:200].encode())),
    "by the whole prompt": Way(lambda request: crc32(str(request.messages).encode())),
    "sorted": Way(order=lambda requests: sorted(requests, key=lambda r: r.messages)),
    "first all first questions": Way(together=True),
    "never, first all first questions": Way(lambda request: None, together=True),
}


class Ordering(Client):
    """Asks in another order."""

    order: Order = list

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        answers = {id(done.request): done for done in await super().complete(self.order(requests))}
        return [answers[id(request)] for request in requests]


def run(scenario: Scenario, count: int, blocks: int, concurrency: int, way: Way) -> dict[str, Any]:
    """Return what caches of `count` servers found in a run, its state, and how evenly they worked."""
    servers = [Server(blocks) for _ in range(count)]
    transports = [MockTransport(server.answer, f"http://gpu{i}/v1") for i, server in enumerate(servers)]
    inference = Ordering(transports, LLMConfig(model="mock", concurrency=concurrency))
    inference.order = way.order
    client.prefix_key = way.key  # type: ignore[assignment]
    llm.LLM._parts = (lambda policy, asked: (llm._AT_ONCE, 8)) if way.together else PARTS  # type: ignore[method-assign]
    summary = Simulation(scenario, inference=inference).run_sync()
    asked = sum(server.cache.asked for server in servers)
    busy = [server.busy for server in servers]
    return {
        "hits": round(sum(server.cache.found for server in servers) / asked, 4),
        "most_busy": round(max(busy) / (sum(busy) / count), 3),
        "calls": inference.usage.asked,
        "tokens": asked,
        "state": summary.state_hash,
    }


def measure(name: str, decoding: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return hits of each key on one population."""
    agents = {} if "population" in POPULATIONS[name] else {"population": {"agents": given.agents, "mean_active": 0.9}}
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": given.steps},
            "policies": [{"kind": "llm", "parameters": DECODING[decoding]}],
            "llm": {"model": "mock", "endpoints": ["http://127.0.0.1:1"]},
            **agents,
            **POPULATIONS[name],
        }
    )
    one = run(scenario, 1, 2**40, given.concurrency, Way())
    found: dict[str, Any] = {"calls": one["calls"], "tokens": one["tokens"], "one": one["hits"]}
    states = {one["state"]}
    for blocks in given.blocks:
        made = {name: run(scenario, given.endpoints, blocks, given.concurrency, way) for name, way in WAYS.items()}
        found[f"{blocks} blocks"] = {name: [each["hits"], each["most_busy"]] for name, each in made.items()}
        states |= {each["state"] for each in made.values()}
    found["same_state"] = len(states) == 1
    return found


async def cost(count: int, in_flight: int) -> dict[str, float]:
    """Return microseconds of choosing an endpoint, by the key and without."""
    pool = EndpointPool(
        [MockTransport(lambda _: "", f"http://gpu{i}/v1") for i in range(count)], 10**6, 60.0, time.monotonic
    )
    for endpoint in pool.endpoints:
        endpoint.limit = 10**6
    for i in range(in_flight):
        await pool.acquire(key=i)
    found = {}
    for name, keys in (("without", [None] * 20_000), ("with", list(range(20_000)))):
        best = np.inf
        for _ in range(5):
            start = time.perf_counter()
            for key in keys:
                endpoint = await pool.acquire(None, key)
                endpoint.in_flight -= 1
            best = min(best, (time.perf_counter() - start) / len(keys))
        found[name] = round(1e6 * float(best), 2)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, default=3)
    parser.add_argument("--agents", type=int, default=600, help="of the generated populations")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--blocks", type=int, nargs="*", default=[2**30, 1000], help="of each cache")
    parser.add_argument("--only", nargs="*", default=list(POPULATIONS))
    parser.add_argument("--decoding", nargs="*", default=list(DECODING))
    parser.add_argument("--slack", type=float, default=endpoints.SLACK)
    given = parser.parse_args()
    endpoints.SLACK = given.slack
    results = {name: {d: measure(name, d, given) for d in given.decoding} for name in given.only}
    microseconds = {n: asyncio.run(cost(n, 64)) for n in (1, 3, 16)}
    print(json.dumps({"benchmark": "prefix_affinity", "results": results, "microseconds": microseconds}, indent=2))


if __name__ == "__main__":
    main()
