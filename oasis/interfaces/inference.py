"""What a question to a language model is, and who asks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

__all__ = [
    "Completion",
    "DescribesServers",
    "InferenceClient",
    "InferenceRequest",
    "LimitsRequests",
    "ReadsMetrics",
    "Schema",
    "ServerMetrics",
    "schema_text",
]


class Schema(dict[str, Any]):
    """A JSON schema that many requests share: its text is made once. It must not be changed."""

    @cached_property
    def text(self) -> str:
        """Compact JSON."""
        return json.dumps(self, separators=(",", ":"))


def schema_text(schema: dict[str, Any] | None) -> str:
    """Return a schema as JSON, ``null`` for none."""
    return schema.text if isinstance(schema, Schema) else json.dumps(schema)


@dataclass(slots=True)
class InferenceRequest:
    """One question to a language model.

    Attributes
    ----------
    step, agent_id, turn : int
        With the attempt and the hash of prompt and parameters, the key of the answer. Agent -1 is nobody: a question
        that a step asks once for all.
    purpose : str
        ``decide``, ``score``, ``calibrate`` or ``interview``.
    messages : tuple of (role, content)
        What all agents share comes first, byte for byte, then what is shared by many, then the agent's own.
    check : callable
        ``check(text) -> value``; raises ValueError for an answer that does not fit (which is asked again).
    schema : dict or None
        JSON schema that constrains the answer.
    max_tokens : int or None
        Most tokens of the answer; None for the client's own (``[llm] max_tokens``).
    temperature : float or None
        None for the client's own (``[llm] temperature``).
    cut : int
        Characters that the messages leave out of the texts that they show.
    labels : tuple of str
        If not empty, the answer is one of these, and what is wanted is how likely each is: the completion's value is
        their log-probabilities, -inf for those that are not among the likeliest tokens. `check` is not used.
    options : tuple of int
        What each label stands for, or what is shown in `continuation`, for the records.
    continuation : str or None
        If given, nothing is generated: the completion's value is the log-probability of this text as the answer to the
        messages, summed over its tokens; the end of the answer does not count. `check` and `schema` are not used. A
        question of nobody (agent -1) is asked once in a run, and its answer is recorded in each step that uses it.
    """

    step: int
    agent_id: int
    turn: int
    purpose: str
    messages: tuple[tuple[str, str], ...]
    check: Callable[[str], Any]
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    cut: int = 0
    labels: tuple[str, ...] = ()
    options: tuple[int, ...] = ()
    continuation: str | None = None


@dataclass(slots=True)
class Completion:
    """What came of a request: ``ok`` with the checked value, ``failed`` (no answer) or ``invalid`` (no fitting one)."""

    request: InferenceRequest
    status: str
    value: Any = None
    text: str | None = None
    error: str | None = None
    attempts: int = 1


class InferenceClient(Protocol):
    """Asks language models; keeps a row per attempt."""

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        """Return one completion per request, in request order.

        Raises
        ------
        NoEndpointError
            When no endpoint is alive. What was answered is kept in the records.
        """
        ...

    def take_records(self) -> pa.Table:
        """Return and forget the rows of `oasis.records.LLM_CALLS` since the last call, sorted by
        (step, agent, turn, purpose, attempt)."""
        ...

    async def close(self) -> None:
        """Release connections and models."""
        ...


@runtime_checkable
class LimitsRequests(Protocol):
    """What an inference client has besides, if it says how many requests it sends at once."""

    @property
    def concurrency(self) -> int:
        """Most requests in flight; more that are asked for wait."""
        ...

    async def room(self) -> None:
        """Return when fewer requests wait to be sent than may be in flight: when it is time to make more of them.

        Of those who wait here one goes on at a time, with what was asked for before it counted.
        """
        ...


@runtime_checkable
class DescribesServers(Protocol):
    """What an inference client has besides, if it can say what its servers are."""

    async def describe(self) -> list[dict[str, Any]]:
        """Return what each server says of its model and itself, as JSON; within seconds, whatever they do."""
        ...


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """What a server of language models says of itself at one moment; None each where it does not.

    Attributes
    ----------
    endpoint : str
    prompt_tokens, cached_tokens : int or None
        Since the server's start: tokens of prompts that were looked up in its prefix cache, and those found.
    running, waiting : int or None
        Requests in work now, and queued.
    """

    endpoint: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None


@runtime_checkable
class ReadsMetrics(Protocol):
    """What an inference client has besides, if it can read the metrics of its servers."""

    async def metrics(self) -> list[ServerMetrics]:
        """Return those of the servers that give any, within seconds, whatever they do."""
        ...
