"""One question to one endpoint, and what can come back.

A transport has one asynchronous method; limits, retries, accounting and the journal are the client's
(the division of httpx). Three are built in: `HttpTransport`, `LocalTransport` and `MockTransport`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from oasis.errors import InferenceError

__all__ = [
    "TOP_LOGPROBS",
    "Arrival",
    "CallsBack",
    "Describes",
    "ErrorKind",
    "Landed",
    "Prompt",
    "Reply",
    "Transport",
    "TransportError",
    "parse_completion",
]

TOP_LOGPROBS = 20
"""The most that OpenAI and, by default, vLLM give."""

ErrorKind = Literal["timeout", "connection", "server", "overloaded", "refused", "denied", "malformed"]
"""``connection``, ``timeout`` and ``server`` (5xx) speak against the endpoint; ``overloaded`` (429, 503) asks for
patience; ``malformed`` is an answer that is no chat completion; ``refused`` (400, 413, 422 ...) will not change
by asking again; ``denied`` (401, 402, 403, 404) is a wrong key, address or model, or an account without money."""


@dataclass(slots=True)
class Prompt:
    """What goes to an endpoint: the same for each attempt, but for `seed`.

    Attributes
    ----------
    seed : int
        Differs by attempt; 0 for transports that do not say ``takes_seed = True``, as those do whose engine is known
        to survive it.
    labels : tuple of str
        If not empty, one token is asked for, with the log-probabilities of the `TOP_LOGPROBS` likeliest.
    continuation : str or None
        If given, its log-probability as the answer is asked for. A transport that cannot give it refuses.
    """

    messages: tuple[tuple[str, str], ...]
    schema: dict[str, Any] | None
    max_tokens: int
    temperature: float
    seed: int = 0
    labels: tuple[str, ...] = ()
    continuation: str | None = None


@dataclass(slots=True)
class Reply:
    """An endpoint's answer; token counts are None where it did not tell.

    `logprobs` are the likeliest first tokens with their log-probabilities, None where it gave none. `logprob` is that
    of the continuation, where one was given.
    """

    text: str
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    finish_reason: str | None = None
    logprobs: tuple[tuple[str, float], ...] | None = None
    logprob: float | None = None


class TransportError(InferenceError):
    """One attempt failed.

    Parameters
    ----------
    kind : str
        See `ErrorKind`.
    message : str
    retry_after_s : float, optional
        How long the server asks to wait.
    """

    def __init__(self, kind: ErrorKind, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.reason = kind, message
        self.retry_after_s = retry_after_s


class Transport(Protocol):
    """A way to one endpoint."""

    @property
    def name(self) -> str:
        """The endpoint's name in records and messages."""
        ...

    @property
    def most_in_flight(self) -> int | None:
        """How many requests the endpoint can use at once, None for as many as it gets."""
        ...

    async def send(self, prompt: Prompt, timeout_s: float) -> Reply:
        """Ask once.

        Raises
        ------
        TransportError
            For whatever goes wrong, and nothing else.
        """
        ...

    async def close(self) -> None:
        """Release connections and models."""
        ...


@runtime_checkable
class Describes(Protocol):
    """What a transport has besides, if its endpoint can say what it is."""

    async def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return what the endpoint says of itself, as JSON: ``reported`` (its model), ``version``, ``server``; and
        ``error`` where it did not answer."""
        ...


Arrival = tuple[Any, "Reply | Exception"]
"""What was given to `CallsBack.start`, and what came of it."""
Landed = Callable[[Sequence[Arrival]], None]
"""Called with what arrived together."""


@runtime_checkable
class CallsBack(Protocol):
    """What a transport has besides, if it can be asked without a coroutine for each request."""

    def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Landed) -> int | None:
        """Ask once, for `timeout_s` at most, and call ``landed`` later with `token` and what came of it: a reply, a
        `TransportError`, or any other exception where nothing can be said of the endpoint and the question is to be
        asked by `send`.

        Return a number for `give_up`; None where that cannot be done now, and `send` is to be used.
        """
        ...

    def give_up(self, number: int) -> None:
        """Wait no longer for what was started: ``landed`` is not called for it."""
        ...


def parse_completion(body: Any) -> Reply:
    """Return the answer in a decoded ``/v1/chat/completions`` response.

    Raises
    ------
    TransportError
        Of kind ``malformed``, when it is not one.
    """
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise TransportError("malformed", f"no choices[0].message.content in {_short(body)}") from None
    if not isinstance(text, str):
        raise TransportError("malformed", f"choices[0].message.content is {_short(text)}, not a text")
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    finish = choice.get("finish_reason")
    return Reply(
        text,
        _count(usage.get("prompt_tokens")),
        _count(details.get("cached_tokens")),
        _count(usage.get("completion_tokens")),
        finish if isinstance(finish, str) else None,
        _logprobs(choice.get("logprobs")),
    )


def _logprobs(found: Any) -> tuple[tuple[str, float], ...] | None:
    """Return what OpenAI, vLLM and llama.cpp give for the first token; None for anything else."""
    try:
        rows = found["content"][0]["top_logprobs"]
        return tuple((str(row["token"]), min(float(row["logprob"]), 0.0)) for row in rows) or None
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."
