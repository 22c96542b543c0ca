"""A small made-up run directory, for tests and documents of what reads runs. Its numbers mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from oasis.randomness import Draws, agent_keys, derive_keys
from oasis.records import EVENTS, IMPRESSIONS, INTERVIEWS, LLM_CALLS
from oasis.runs.directory import RunDirectory
from oasis.runs.recorder import Recorder
from oasis.runs.tables import world_tables
from oasis.world.world import World

__all__ = ["HOSTILE", "MadeUpRun"]

HOSTILE = (
    "<script>alert('run me')</script>",
    "</td></table><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://example.org","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "]]></data></node></graph> & \"quotes\" 'apostrophes'",
    "{{ 7 * 7 }} {% raw %} $x^2$ \\frac",
    "line\nbreak\ttab \U0001f600 \u4f60\u597d",
    "-1+1",
)
"""Texts that break what does not escape them."""


class MadeUpRun:
    """Agents who post, repost, quote, like and comment by draws, recorded step by step.

    Parameters
    ----------
    path : path
        Run directory to make.
    agents, steps : int
    hostile : bool
        Whether texts and names are those of `HOSTILE`.
    **recorder
        Of `Recorder`.
    """

    policies = ("choice", "llm")

    def __init__(
        self,
        path: str | Path,
        *,
        agents: int = 12,
        steps: int = 6,
        seed: int = 1,
        hostile: bool = False,
        **recorder: Any,
    ) -> None:
        self.path = Path(path)
        self.steps = steps
        self.recorded: list[dict[str, pa.Table]] = []
        self.draws = Draws(seed)
        self.hostile = hostile
        self.world = self._population(agents)
        simulation = {"name": "made up", "seed": seed, "steps": steps, "step_minutes": 3.0}
        scenario = {"simulation": simulation, "platform": {"kind": "x"}, "output": {"impressions": "all"}}
        self.directory = RunDirectory.create(path, scenario, world=world_tables(self.world, self.policies))
        self.recorder = Recorder(self.directory, **{"sync": False, "steps_per_block": 4, **recorder})

    def record(self, steps: int | None = None) -> MadeUpRun:
        """Record `steps` steps, all that are left by default."""
        first = self.recorder.steps_done + 1
        for step in range(first, (self.steps if steps is None else first + steps - 1) + 1):
            tables = self.tables(step)
            metrics = {"active": len(self.world.users), "warm_up": step == 1, "gini": 0.25}
            self.recorder.record_step(step, tables, metrics)
            self.recorded.append(tables)
        return self

    def finish(self, status: str = "done", **finish: Any) -> Path:
        """Record what is left and write the final files; return the run's path."""
        if status == "done":
            self.record()
        agents, steps = len(self.world.users), self.recorder.steps_done
        decided = {"choice": (agents - 1) * steps, "llm": steps}
        fields: dict[str, Any] = {
            "tables": world_tables(self.world, self.policies),
            "state_hash": self.world.state_hash(),
            "coverage": {
                "registered": agents,
                "active": agents,
                "decisions": agents * steps,
                "decided_by": decided,
            },
            "tokens": {"input": 900, "cached": 300, "output": 40},
        }
        self.recorder.finish(status, **{**fields, **finish})  # type: ignore[arg-type]
        return self.path

    def text(self, index: int) -> str:
        """Return the text of a post or profile."""
        return HOSTILE[index % len(HOSTILE)] if self.hostile else f"Text number {index} by @user_{index}"

    def tables(self, step: int) -> dict[str, pa.Table]:
        """Do a step and return its rows."""
        world = self.world
        n, posts = len(world.users), len(world.posts)
        agents = np.arange(n, dtype=np.int32)
        u = self.draws.uniform("made up", step, world.users["key"])
        target = self.draws.integers("target", step, posts, world.users["key"]).astype(np.int32)
        choice = np.digitize(u, [0.15, 0.5, 0.6, 0.8])
        actions = np.array(["create_post", "repost", "quote_post", "like_post", "do_nothing"])[choice]
        writes = choice < 3
        created = np.where(writes, np.cumsum(writes) - 1 + posts, -1).astype(np.int32)
        texts = [self.text(step * n + i) if choice[i] in (0, 2) else None for i in range(n)]
        rows = np.flatnonzero(writes)
        kind = np.array([0, 1, 2, 0, 0], np.int8)[choice[rows]]
        world.posts.append(
            len(rows),
            key=derive_keys(world.users["key"][rows], step, 1, 0),
            author=rows,
            kind=kind,
            root=np.where(kind == 0, created[rows], world.posts["root"][target[rows]]),
            parent=np.where(kind == 0, -1, target[rows]),
            step=step,
            text=world.texts.append([texts[i] for i in rows]),
        )
        world.step = step
        targeted = (choice >= 1) & (choice <= 3)
        outcome = ["not_allowed" if a == "like_post" and i % 5 == 0 else "accepted" for i, a in enumerate(actions)]
        events = pa.table(
            [
                pa.array(np.full(n, step, np.int32)),
                pa.array(agents),
                pa.array(agents),
                pa.array(np.zeros(n, np.int16)),
                _labels(["llm" if i == 0 else "choice" for i in range(n)]),
                _labels(list(actions)),
                _labels(["post" if t else None for t in targeted]),
                pa.array(target, mask=~targeted),
                pa.nulls(n, pa.int32()),
                _labels(outcome),
                pa.array(created, mask=~writes),
                pa.array(u.astype(np.float32)),
                pa.array(texts, pa.large_string()),
            ],
            schema=EVENTS,
        )
        shown = np.c_[target, (target + 1) % posts].ravel()
        impressions = pa.table(
            [
                pa.array(np.full(2 * n, step, np.int32)),
                pa.array(np.repeat(agents, 2)),
                pa.array(np.zeros(2 * n, np.int16)),
                pa.array(np.tile([0, 1], n).astype(np.int16)),
                pa.array(shown.astype(np.int32)),
                pa.nulls(2 * n, pa.int32()),
                _labels(["followed", "popular"] * n),
                pa.array(np.linspace(1, 0, 2 * n, dtype=np.float32)),
                pa.nulls(2 * n, pa.int32()),
            ],
            schema=IMPRESSIONS,
        )
        tables = {"events": events, "impressions": impressions}
        if step == 1:
            tables["llm_calls"] = pa.Table.from_pylist([_call(step)], schema=LLM_CALLS)
            tables["interviews"] = pa.Table.from_pylist([_answer(step, self.text(0))], schema=INTERVIEWS)
        return tables

    def _population(self, agents: int) -> World:
        world = World()
        keys = agent_keys(np.arange(agents))
        names = [self.text(i) if self.hostile else f"user_{i}" for i in range(agents)]
        follower = np.arange(agents, dtype=np.int32)
        world.add_users(
            agents,
            key=keys,
            username=world.texts.append(names),
            name=world.texts.append([f"Real Name {i}" for i in range(agents)]),
            bio=world.texts.append([self.text(i) for i in range(agents)]),
            group=world.texts.intern_all(["left" if i % 2 else "right" for i in range(agents)]),
            stance=np.where(follower % 3 == 0, np.nan, follower / agents),
            activity=np.full((agents, 24), 0.5, np.float32),
            followers=1,
            following=1,
            policy=np.where(follower == 0, 1, 0),
        )
        world.follows.set_edges(agents, follower, (follower + 1) % agents)
        world.posts.append(
            3,
            key=derive_keys(keys[:3], 0, 0, 0),
            author=[0, 1, 2],
            root=[0, 1, 2],
            text=world.texts.append([self.text(i) for i in range(3)]),
        )
        world.comments.append(1, post=0, author=1, text=world.texts.append([self.text(1)]))
        world.attributes = pa.table({"age": np.arange(agents) + 20, "country": ["=1+1"] * agents})
        return world


def _labels(values: Sequence[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.dictionary(pa.int16(), pa.string()))


def _call(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "agent_id": 0,
        "turn": 0,
        "attempt": 1,
        "purpose": "decide",
        "endpoint": "http://127.0.0.1:1",
        "model": "made-up",
        "tokens_in": 900,
        "tokens_cached": 300,
        "tokens_out": 40,
        "latency_ms": 12.5,
        "status": "ok",
        "prompt_hash": 2**64 - 1,
        "response": '{"action": "do_nothing"}',
        "options": [1, 2**64 - 1],
        "logprobs": [-0.5, -1.5],
    }


def _answer(step: int, text: str) -> dict[str, Any]:
    return {
        "step": step,
        "agent_id": 1,
        "question_id": "trust",
        "question": "How much do you trust the news?",
        "value": 3.0,
        "text": text,
        "probabilities": [0.25, 0.75],
        "policy": "choice",
        "outcome": "accepted",
    }
