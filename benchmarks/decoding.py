"""How a small real model decides by JSON and by choice: agreement, tokens and time on the same prompts.

    OASIS_DATA=DIR python benchmarks/decoding.py [--llm URL --model NAME] [--personas 36] [--temperature 0]

One step of Reddit personas, each decided for by JSON, and by choice under two permutations of the letters (seeds of the
run), with and without calibration. Without --llm the packaged model runs in this process. Prints JSON: shares of
actions, how often two ways agree on the action, probability outside the letters, tokens and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from oasis.actions import Action
from oasis.agents.llm import LLM
from oasis.inference import build_client
from oasis.inference_config import LLMConfig
from oasis.interfaces import Feeds
from oasis.platforms.reddit import Reddit
from oasis.population import load_population
from oasis.testing.policy import policy_context
from oasis.testing.worlds import step_context
from oasis.world.world import World

DATA = Path(os.environ.get("OASIS_DATA", "../shared/data"))
POSTS = (
    "My landlord wants to raise the rent by a third. What would you do?",
    "The new tram line opened today and it was full within minutes.",
    "I tried to learn chess at forty. Here is what nobody tells you.",
    "Unpopular opinion: most meetings could be three sentences.",
    "Our team lost again. I will still be there next week.",
)


def world_of(count: int) -> World:
    """Return the first personas and five posts, each with a comment."""
    world = World()
    load_population("reddit-json", str(DATA / "reddit/user_data_36.json")).install(world)
    n = len(POSTS)
    world.posts.append(n, key=np.arange(n) + 1, author=np.arange(n) + count % 30, root=np.arange(n),
                       likes=[3, 10, 0, 7, 2], text=world.texts.append(list(POSTS)))  # fmt: skip
    world.step = 1
    return world


async def decide(parameters: dict[str, Any], config: LLMConfig, count: int, seed: int) -> dict[str, Any]:
    """Return actions by agent and what they cost."""
    world = world_of(count)
    platform = Reddit.from_parameters(None, {})
    client = build_client(config, seed=1)
    agents = np.arange(count, dtype=np.int32)
    k = len(POSTS)
    feeds = Feeds(np.arange(0, count * k + 1, k), np.tile(np.arange(k, dtype=np.int32), count),
                  np.zeros(count * k, np.float32), np.zeros(count * k, np.uint8), shared=True)  # fmt: skip
    seen = platform.observe(world, agents, feeds, step_context(world, platform))
    ctx = policy_context(world, seed, platform.actions, "reddit", client)
    start = time.perf_counter()
    decided = (await LLM.from_parameters(parameters).decide(seen, ctx)).actions
    seconds = time.perf_counter() - start
    rows = client.take_records().to_pylist()
    await client.close()
    first = {int(a): int(x) for a, x in zip(decided.agent_id[::-1], decided.action[::-1], strict=True)}
    outside = [1 - np.exp(r["logprobs"]).sum() for r in rows if r["logprobs"] and r["purpose"] == "decide"]
    named = Counter(Action(a).label for a in first.values())
    return {
        "actions": first,
        "shares": {name: round(n / count, 3) for name, n in named.most_common()},
        "calls": len(rows),
        "tokens_in": round(sum(r["tokens_in"] or 0 for r in rows) / count, 1),
        "tokens_out": round(sum(r["tokens_out"] or 0 for r in rows) / count, 1),
        "outside_median": round(float(np.median(outside)), 4) if outside else None,
        "drawn": round(float(np.mean(~np.isnan(decided.probability))), 3),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llm")
    parser.add_argument("--model")
    parser.add_argument("--personas", type=int, default=36)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-outside", type=float, default=1.0)
    given = parser.parse_args()
    server = {"endpoints": [given.llm], "model": given.model} if given.llm else {"backend": "local"}
    config = LLMConfig.model_validate({**server, "max_tokens": 100})
    choice = {"decoding": "choice", "max_outside": given.max_outside, "temperature": given.temperature}
    ways = {
        "json": ({"temperature": given.temperature, "max_actions": 1}, 1),
        "choice": (choice, 1),
        "choice, other letters": (choice, 2),
        "choice, not calibrated": ({**choice, "calibrate": False}, 1),
        "choice, not calibrated, other letters": ({**choice, "calibrate": False}, 2),
    }
    found = {name: asyncio.run(decide(way, config, given.personas, seed)) for name, (way, seed) in ways.items()}
    actions = {name: one.pop("actions") for name, one in found.items()}

    def agreement(a: str, b: str) -> float:
        return round(float(np.mean([actions[a][i] == actions[b][i] for i in actions[a]])), 3)

    agree = {
        "json and choice": agreement("json", "choice"),
        "choice under other letters": agreement("choice", "choice, other letters"),
        "the same, not calibrated": agreement("choice, not calibrated", "choice, not calibrated, other letters"),
    }
    print(
        json.dumps({"benchmark": "decoding", "personas": given.personas, "agreement": agree, "ways": found}, indent=2)
    )


if __name__ == "__main__":
    main()
