"""The closed-book check: what a language model knows of an experiment's event, asked before it is given any text of it.

Each question is asked in several orders of its options, at temperature 0. The orders are rotations, so an answer that
follows from an option's place alone is right as often as chance, where there are as many orders as options.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oasis.errors import RunDirectoryError
from oasis.experiments.choices import answer_schema, one_of
from oasis.experiments.event import EventConfig, EventQuestion
from oasis.experiments.folder import ExperimentFolder
from oasis.inference import build_client, model_name
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, InferenceRequest
from oasis.plugins import load
from oasis.runs.manifest import write_atomically

__all__ = ["CLOSED_BOOK", "ask_closed_book", "models_of", "read_closed_book"]

CLOSED_BOOK = "closed_book.json"
_RULES = (
    "You are asked what you know about an event. You are given nothing to read about it: answer from what you have"
    " learned. If you do not know, choose the answer that you hold for the likeliest. Answer with JSON only:"
    ' {"answer": "..."}, with one of the options, word for word.'
)


def ask_closed_book(experiment: ExperimentFolder) -> None:
    """Ask each language model of the experiment about its event, and write ``closed_book.json``.

    Where the event has names to be replaced, the same is asked again with these replaced.
    Nothing is asked where no event is declared, no agent is decided for by a model, or the answers are there already.
    The file holds questions, answers and names of models and endpoints, as manifests do; keys of endpoints never.

    Raises
    ------
    InputError
        If endpoint, model, key or package is missing.
    NoEndpointError
        If no endpoint is alive.
    """
    event = experiment.design.event
    if event is None:
        return
    events = {"answers": event}
    if (anonymised := event.anonymised) is not None:
        events["anonymised"] = anonymised
    asked = read_closed_book(experiment.path)
    known = [_identity(entry) for entry in asked]
    for config in models_of(experiment):
        named = _named(config)
        if _identity(named) in known:
            continue
        completions, tokens = asyncio.run(_ask(config, list(events.values()), experiment.design.experiment.seed))
        rows = {name: _rows(each, done) for (name, each), done in zip(events.items(), completions, strict=True)}
        asked.append({**named, "tokens": tokens, **rows})
        told = {("description" if each is event else "anonymised"): each.description for each in events.values()}
        content = {"schema_version": 1, **told, "rules": _RULES, "models": asked}
        write_atomically(experiment.path / CLOSED_BOOK, json.dumps(content, indent=1, ensure_ascii=False).encode())


def models_of(experiment: ExperimentFolder) -> list[LLMConfig]:
    """Return the ``[llm]`` tables of all runs in which a model decides for agents, one for each model."""
    found: dict[str, LLMConfig] = {}
    for cell in experiment.cells:
        if cell.replicate > 1:
            break  # models differ by arm and point only, and cells are replicate by replicate
        scenario = experiment.with_model(experiment.base_scenario(cell))
        if any(load("policies", policy.kind).needs_inference for policy in scenario.policies):
            found.setdefault(_identity(_named(scenario.llm)), scenario.llm)
    return list(found.values())


def read_closed_book(experiment: Path) -> list[dict[str, Any]]:
    """Return what each model was asked and answered; nothing where none was.

    Raises
    ------
    RunDirectoryError
        If the file is damaged.
    """
    path = experiment / CLOSED_BOOK
    try:
        return list(json.loads(path.read_text("utf-8"))["models"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {str(error)[:200]}; remove it to ask again") from None


async def _ask(
    config: LLMConfig, events: Sequence[EventConfig], seed: int
) -> tuple[list[list[Completion]], dict[str, int]]:
    client = build_client(config, seed)
    try:
        requests = [
            InferenceRequest(
                step=0,
                agent_id=-1,
                turn=number,
                purpose="closed_book",
                messages=(("system", _RULES), ("user", _prompt(event.description, question.ask, options))),
                check=one_of(options, fold=True),
                schema=answer_schema(options),
                temperature=0.0,
            )
            for number, (event, question, options) in enumerate((e, q, o) for e in events for q, o in _orders(e))
        ]
        done = iter(await client.complete(requests))
        completions = [[next(done) for _ in _orders(event)] for event in events]
        usage = client.usage
        return completions, {"input": usage.tokens_in, "cached": usage.tokens_cached, "output": usage.tokens_out}
    finally:
        await client.close()


def _orders(event: EventConfig) -> Iterator[tuple[EventQuestion, list[str]]]:
    """Yield each question with its options in each order."""
    for question in event.asked:
        for shift in range(min(event.orders, len(question.options))):
            yield question, question.options[shift:] + question.options[:shift]


def _prompt(description: str, ask: str, options: list[str]) -> str:
    lines = "\n".join(f"- {option}" for option in options)
    return f"The event: {description}\n\n{ask}\nOptions:\n{lines}"


def _rows(event: EventConfig, done: Sequence[Completion]) -> list[dict[str, Any]]:
    return [_row(q, c, event) for (q, _), c in zip(_orders(event), done, strict=True)]


def _row(question: EventQuestion, done: Completion, event: EventConfig) -> dict[str, Any]:
    options = (done.request.schema or {})["properties"]["answer"]["enum"]
    return {
        "question": question.ask,
        "number": event.asked.index(question) + 1,
        "options": options,
        "right": question.answer,
        "answer": done.value if done.status == "ok" else None,
        "status": done.status,
        "error": done.error if done.status != "ok" else None,
        "attempts": done.attempts,
    }


def _named(config: LLMConfig) -> dict[str, Any]:
    named = config.model_dump(mode="json", include={"backend", "endpoints", "model_path", "mode"})
    return {"model": model_name(config), **named}


def _identity(named: dict[str, Any]) -> str:
    return json.dumps([named[key] for key in ("model", "backend", "endpoints", "model_path", "mode")])
