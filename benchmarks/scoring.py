"""Which of ten posts a small real model gives to which person: by JSON, by letters, by scores.

    python benchmarks/scoring.py [--model-path FILE] [--cases tuned held_out]

A case is a person of one field and ten posts, one of that field (``benchmarks/scoring_cases.toml``). The model likes
exactly one of them: hit@1 is the share of cases in which that is the person's own, 0.1 by chance. Posts are whole, and
their order is drawn. Prints JSON, with rankings per minute of CPU time, the neutral pass included; and, for scores, the
mean chance with which a run would have drawn the right post.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from oasis.actions import Action
from oasis.agents.llm_parameters import LLMParameters
from oasis.agents.memory import Memory
from oasis.agents.prompting.choosing import WHERE, Chooser, Question
from oasis.agents.prompting.conversation import Conversation, Limits, Stage
from oasis.agents.prompting.options import Options
from oasis.agents.prompting.scoring import Scorer
from oasis.agents.prompting.templates import Templates, choice_rules, rules
from oasis.inference import build_client
from oasis.inference_config import LLMConfig
from oasis.interfaces import Feeds, InferenceClient, InferenceRequest, PolicyContext
from oasis.platforms.x import X
from oasis.testing.policy import policy_context
from oasis.testing.worlds import step_context
from oasis.world.world import World

CASES = Path(__file__).with_name("scoring_cases.toml")
SHOWN = 10


def world_of(rows: list[dict[str, str]]) -> World:
    """Return the people, and their posts written by others."""
    world, n = World(), len(rows)
    texts = world.texts
    world.add_users(n, key=np.arange(n) + 1, username=texts.append([f"user{i}" for i in range(n)]),
                       persona=texts.append([row["persona"] for row in rows]))  # fmt: skip
    author = world.add_users(1, key=[n + 1], username=texts.append(["somebody"]))
    world.posts.append(n, key=np.arange(n) + 1, author=np.full(n, int(np.min(author))), root=np.arange(n),
                       text=texts.append([row["post"] for row in rows]))  # fmt: skip
    world.step = 1
    return world


class Bench:
    """The cases of one list, ready to be asked about."""

    def __init__(self, rows: list[dict[str, str]], config: LLMConfig) -> None:
        self.world, n = world_of(rows), len(rows)
        self.client: InferenceClient = build_client(config, seed=1)
        platform = X.from_parameters(None, {})
        orders = [np.random.default_rng(i).permutation(SHOWN) for i in range(n)]
        posts = np.concatenate([(i + order) % n for i, order in enumerate(orders)]).astype(np.int32)
        feeds = Feeds(np.arange(n + 1) * SHOWN, posts, np.zeros(n * SHOWN, np.float32),
                      np.zeros(n * SHOWN, np.uint8), shared=False)  # fmt: skip
        seen = platform.observe(self.world, np.arange(n, dtype=np.int32), feeds, step_context(self.world, platform))
        self.ctx: PolicyContext = policy_context(self.world, 1, (Action.LIKE_POST,), "x", self.client)
        self.templates = Templates()
        limits = Limits(500, 600, 280, 1000, 1000, 0, 1, 1)
        system = rules(self.templates, "x", (Action.LIKE_POST,), 1, 1, 280)
        self.conversations = Stage(self.ctx, Memory(0), limits, self.templates).begin(seen, system)
        self.numbers = tuple(range(1, SHOWN + 1))
        for c in self.conversations:
            c.options = Options({Action.LIKE_POST: self.numbers}, c.shown, 1, 280)

    def right(self, c: Conversation) -> int:
        """Return the place of the person's own post."""
        return c.shown.ids.index(c.agent_id)

    def questions(self) -> list[Question]:
        """Return for each person which line it likes."""
        names = [str(number) for number in self.numbers]
        lead = "You like_post which line? "
        return [Question(c, lead, names, self.numbers, WHERE) for c in self.conversations]

    async def by_json(self) -> dict[str, Any]:
        """Let the model write the line's number under a schema that allows nothing else."""
        requests = [
            InferenceRequest(
                1,
                c.agent_id,
                0,
                "decide",
                c.messages,
                c.options.parse,
                c.options.schema(),
                max_tokens=40,
                temperature=0.0,
            )  # fmt: skip
            for c in self.conversations
            if c.options is not None
        ]
        done = await self.client.complete(requests)
        chosen = [each.value[0].number - 1 if each.status == "ok" else -1 for each in done]
        return self._hits(chosen)

    async def by_letters(self, calibrated: bool) -> dict[str, Any]:
        """Take the likeliest letter."""
        system = choice_rules(self.templates, "x")
        chooser = Chooser(self.client, self.world, self.ctx.base, system, 0.0, 1.0, calibrated)
        found = await chooser.pick(self.questions(), 0)
        return self._hits([-1 if each is None else each.place for each in found])

    async def by_scores(self) -> dict[str, Any]:
        """Take the post with the highest score."""
        scorer = Scorer(self.client, self.world, self.ctx.base, "", self.templates, LLMParameters())
        found = await scorer.odds(self.questions(), 0)
        chances = [np.zeros(SHOWN) if odds is None else odds / odds.sum() for odds in found]
        own = [float(each[self.right(c)]) for each, c in zip(chances, self.conversations, strict=True)]
        chosen = [int(each.argmax()) if each.any() else -1 for each in chances]
        return {**self._hits(chosen), "chance_of_own": round(float(np.mean(own)), 2)}

    def _hits(self, chosen: list[int]) -> dict[str, Any]:
        hits = [place == self.right(c) for place, c in zip(chosen, self.conversations, strict=True)]
        missed = [c.agent_id for c, hit in zip(self.conversations, hits, strict=True) if not hit]
        return {"hit_at_1": round(float(np.mean(hits)), 2), "hits": sum(hits), "of": len(hits), "missed": missed}


async def measure(rows: list[dict[str, str]], config: LLMConfig) -> dict[str, Any]:
    """Return what each way found, and how fast."""
    ways: dict[str, Callable[[Bench], Awaitable[dict[str, Any]]]] = {
        "json": Bench.by_json,
        "letters": lambda bench: bench.by_letters(False),
        "letters, calibrated": lambda bench: bench.by_letters(True),
        "score": Bench.by_scores,
    }
    found = {}
    for name, way in ways.items():
        bench = Bench(rows, config)  # each with a client of its own, which has been asked nothing
        begun = time.process_time()
        found[name] = await way(bench)
        found[name]["rankings_per_cpu_minute"] = round(60 * len(rows) / (time.process_time() - begun), 1)
        print(name, found[name], file=sys.stderr, flush=True)
        await bench.client.close()
    return found


def main() -> None:
    """Measure and print."""
    cases = tomllib.loads(CASES.read_text("utf-8"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-path")
    parser.add_argument("--cases", nargs="+", choices=sorted(cases), default=["tuned", "held_out"])
    given = parser.parse_args()
    config = LLMConfig(backend="local", model_path=given.model_path)
    found = {name: asyncio.run(measure(cases[name], config)) for name in given.cases}
    print(json.dumps({"benchmark": "scoring", "candidates": SHOWN, "chance": 1 / SHOWN, "cases": found}, indent=2))


if __name__ == "__main__":
    main()
