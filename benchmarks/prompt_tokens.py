"""Tokens of a decision by a language model on two real populations, in and out, and those not shared with others.

    OASIS_DATA=DIR python benchmarks/prompt_tokens.py [--steps 12] [--show]

36 Reddit personas with a hot feed of 5 posts and 3 comments under each, and the 111 X users of a cascade with 10 posts;
personas in full, memories full. A mock model answers by its schema. What the last step's prompts have in common, from
their begin, is counted once (a trie over the prompts of a step). Llama 2's tokenizer. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from oasis.grammar import TOPICS, write_posts
from oasis.inference import Client, MockTransport, Prompt
from oasis.inference.tokens import encode, encode_prompts, unshared
from oasis.inference_config import LLMConfig
from oasis.randomness import Draws, agent_keys
from oasis.scenario import Scenario
from oasis.simulation import Simulation, StepResult
from oasis.testing.answers import answer_from_schema

DATA = Path(os.environ.get("OASIS_DATA", "../shared/data"))
SCENARIOS: dict[str, dict[str, Any]] = {
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
}


def measure(name: str, steps: int, parameters: dict[str, Any], show: bool) -> dict[str, Any]:
    """Return what the prompts of the last step of a scenario are made of."""
    tables = {
        **SCENARIOS[name],
        "simulation": {"steps": steps},
        "policies": [{"kind": "llm", "parameters": parameters}],
    }
    scenario = Scenario.from_dict({**tables, "llm": {"model": "mock", "endpoints": ["http://127.0.0.1:1"]}})
    keys = agent_keys(np.arange(500))
    texts = write_posts(Draws(1), "mock", 1, keys, np.arange(500) % len(TOPICS)).to_pylist()
    asked: list[Prompt] = []
    answers: list[str] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt)
        said = json.loads(answer_from_schema(prompt.schema, prompt.messages[-1][1]))
        for action in said["actions"]:
            if "content" in action:  # sentences as people write them
                action["content"] = texts[len(answers) % len(texts)]
        answers.append(json.dumps(said, separators=(",", ":")))
        return answers[-1]

    simulation = Simulation(scenario, inference=Client([MockTransport(answer)], LLMConfig(model="mock")))
    begins, active = [0], [0]

    def count(result: StepResult) -> None:
        begins.append(len(asked))
        active.append(len(result.active))

    simulation.run_sync(count)
    last, said = asked[begins[-2] :], answers[begins[-2] :]
    opening = [p for p in last if len(p.messages) == 2]
    tokens = encode_prompts([p.messages for p in opening])
    every = encode_prompts([p.messages for p in last])
    if show:
        print(*(f"--- {role}\n{content}" for role, content in opening[7].messages), sep="\n")
    decisions = active[-1]
    return {
        "decisions": decisions,
        "calls": len(last),
        "in_mean": round(float(np.mean([len(t) for t in tokens])), 1),
        "in_most": max(len(t) for t in tokens),
        "text_mean": round(float(np.mean([len(t) for t in encode(texts)])), 1),
        "system": len(encode([opening[0].messages[0][1]])[0]),
        "not_shared_mean": round(unshared(tokens) / len(tokens), 1),
        "out_mean_json": round(float(np.mean([len(t) for t in encode(said)])), 1),
        "in_per_decision_with_all_turns": round(sum(map(len, every)) / decisions, 1),
        "not_shared_per_decision_with_all_turns": round(unshared(every) / decisions, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--show", action="store_true", help="print one prompt of each")
    parser.add_argument("--parameters", type=json.loads, default={}, help="of the policy, as JSON")
    given = parser.parse_args()
    results = {name: measure(name, given.steps, given.parameters, given.show) for name in SCENARIOS}
    print(json.dumps({"benchmark": "prompt_tokens", "results": results}, indent=2))


if __name__ == "__main__":
    main()
