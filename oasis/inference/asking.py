"""Attempts to have a question answered: which endpoint, how often, what is learnt from each and written down."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

from oasis.errors import BudgetError, NoEndpointError
from oasis.inference.accounting import Account, Meter
from oasis.inference.affinity import prefix_key
from oasis.inference.distribution import NO_LOGPROBS, NO_SCORES, continuation_logprob, label_logprobs
from oasis.inference.endpoints import Endpoint, EndpointPool, Sent
from oasis.inference.questions import Question
from oasis.inference.transport import Arrival, CallsBack, Prompt, Reply, Transport, TransportError
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, InferenceRequest

__all__ = ["Asker", "checked"]

LANDING_S = 0.02
"""Between looks at what is still in flight when the budget is used up."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
CANCELLED = "cancelled: the step was given up while this was asked"
LONGEST_RETRY_AFTER_S = 30.0
"""Retry-After is honoured up to this; a server that wants more is asked again earlier."""


class Asker:
    """Asks endpoints. A first attempt is sent without a task of its own where the transport can call back: most
    questions need no more, and a task costs as much as all the rest of the way.

    Parameters
    ----------
    transports : sequence of Transport
    config : LLMConfig
    seed : int
        Of the jitter of waits, and of the seeds of transports that take one.
    account : Account
        Told of each attempt before it is used.
    meter : Meter or None
        Asked before each attempt.
    landed : callable
        ``landed(question, failure)``, called after the first attempt of one that `send` sent: with None where the
        attempt is written down in the question, with what went wrong here otherwise.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        config: LLMConfig,
        seed: int,
        account: Account,
        meter: Meter | None,
        landed: Callable[[Question, Exception | None], None],
    ) -> None:
        self._config, self._seed, self._account, self._meter = config, seed, account, meter
        self._usage, self._landed = account.usage, landed
        self.pool = EndpointPool(transports, config.concurrency, config.timeout_s, time.monotonic)

    async def ask(self, question: Question) -> None:
        """Ask until the question is settled.

        Raises
        ------
        NoEndpointError
            When none is alive.
        BudgetError
            When the meter refuses, after what was in flight has landed.
        """
        again = question.endpoint is not None
        while not (again and question.settled):
            if question.error is not None:
                attempts = question.done.attempts
                await asyncio.sleep(wait_s(question.error, self._bits(question, attempts), attempts))
            endpoint = await self.pool.acquire(question.endpoint, prefix_key(question.request))
            await self._pass_meter(endpoint)
            await self._attempt(question, endpoint)
            again = True
        if self.out_of_reach(question):
            raise NoEndpointError(self.pool.obituary())

    def send(self, question: Question) -> bool:
        """Send the first attempt without waiting for anything; return whether that was possible."""
        endpoint = self.pool.acquire_now(prefix_key(question.request))
        if endpoint is None:
            return False
        start = getattr(endpoint.transport, "start", None)  # as `CallsBack` has it; asking for that takes longer
        number = None
        try:
            if start is not None:
                self._gate()
                number = start(self._prompt(question, endpoint), self._config.timeout_s, question, self._take)
                if number is not None:
                    question.flight = endpoint, number, self._depart(endpoint)
        except BudgetError:  # raised by `ask`, when what is in flight has landed
            return False
        finally:
            if number is None:
                self.pool.release(endpoint)
        return number is not None

    def recall(self, question: Question) -> None:
        """Wait no longer for a question that was sent."""
        if question.flight is None:
            return
        endpoint, number, sent = question.flight
        question.flight = None
        self._leave(endpoint)
        cast(CallsBack, endpoint.transport).give_up(number)
        self._give_up(question, endpoint, sent)

    def out_of_reach(self, question: Question) -> bool:
        """Return whether an attempt failed and there is nobody else to ask."""
        return question.done.status == "failed" and not question.refused and self.pool.all_dead

    def _take(self, arrivals: Sequence[Arrival]) -> None:
        """Take what came back of questions that were sent: all of it is written down, then used."""
        rows: list[dict[str, Any]] = []
        taken: list[tuple[Question, Exception | None]] = []
        for question, found in arrivals:
            if question.flight is None:
                continue
            endpoint, _, sent = question.flight
            question.flight = None
            failure = None
            if isinstance(found, Reply | TransportError):
                try:
                    rows.append(self._land(question, endpoint, sent, found))
                except Exception as error:  # of whoever checks answers
                    failure = error
            else:
                self._leave(endpoint)
                self._usage.asked -= 1
            taken.append((question, failure))
        unwritten = None
        try:
            self._account.write(rows)
        except Exception as error:
            unwritten = error
        for question, failure in taken:
            self._landed(question, failure or unwritten)

    async def _attempt(self, question: Question, endpoint: Endpoint) -> None:
        transport, prompt = endpoint.transport, self._prompt(question, endpoint)
        sent = self._depart(endpoint)
        found: Reply | TransportError | None = None
        try:
            limit = None  # for a transport that does not say that it keeps the time-out itself
            if not getattr(transport, "keeps_timeout", False):
                limit = asyncio.timeout(1.25 * self._config.timeout_s + 1.0)
            async with limit or nullcontext():
                found = await transport.send(prompt, self._config.timeout_s)
        except TimeoutError:
            found = TransportError("timeout", f"no answer within {self._config.timeout_s:g} s")
        except TransportError as error:
            found = error
        except asyncio.CancelledError:
            self._give_up(question, endpoint, sent)
            raise
        finally:
            if found is None:
                self._leave(endpoint)
        self._account.write([self._land(question, endpoint, sent, found)])

    def _prompt(self, question: Question, endpoint: Endpoint) -> Prompt:
        """Return what goes to an endpoint with the next attempt."""
        if not getattr(endpoint.transport, "takes_seed", False):
            return question.prompt
        return replace(question.prompt, seed=self._bits(question, question.done.attempts + 1) % 2**31)

    def _bits(self, question: Question, attempt: int) -> int:
        return bits(self._seed, question.request, question.hashed, attempt)

    def _depart(self, endpoint: Endpoint) -> Sent:
        self._usage.in_flight += 1
        self._usage.asked += 1
        return self.pool.sent(endpoint)

    def _leave(self, endpoint: Endpoint) -> None:
        """Release an endpoint of which nothing was learnt."""
        self._usage.in_flight -= 1
        self.pool.release(endpoint)

    def _land(
        self, question: Question, endpoint: Endpoint, sent: Sent, found: Reply | TransportError
    ) -> dict[str, Any]:
        """Learn from what came back, and return the attempt's row."""
        self._usage.in_flight -= 1
        request, attempt = question.request, question.done.attempts + 1
        latency_ms = 1000.0 * (time.monotonic() - sent.at)
        question.endpoint, question.error, reply = endpoint, None, None
        if isinstance(found, TransportError):
            self.pool.failed(endpoint, found, sent)
            question.error = found
            question.done = Completion(request, "failed", error=str(found), attempts=attempt)
        else:
            self.pool.succeeded(endpoint, sent)
            reply = _clean(found)
            question.done = checked(request, reply, attempt)
        name = endpoint.transport.name
        return self._account.row(question.done, reply, question.hashed, attempt, name, latency_ms)

    def _give_up(self, question: Question, endpoint: Endpoint, sent: Sent) -> None:
        """Write down an attempt that nobody waits for any more: the server may have worked for it."""
        attempt = question.done.attempts + 1
        lost = Completion(question.request, "failed", error=CANCELLED, attempts=attempt)
        latency_ms = 1000.0 * (time.monotonic() - sent.at)
        self._account.record(lost, None, question.hashed, attempt, endpoint.transport.name, latency_ms)

    def _gate(self) -> None:
        if self._meter is not None:
            self._meter.gate(self._usage.in_flight)

    async def _pass_meter(self, endpoint: Endpoint) -> None:
        """Return where a request may be sent, else raise when those in flight have landed: they are paid for."""
        try:
            self._gate()
        except BudgetError:
            self.pool.release(endpoint)
            while self._usage.in_flight:
                await asyncio.sleep(LANDING_S)
            raise


def checked(request: InferenceRequest, reply: Reply, attempt: int) -> Completion:
    """Return what an answer comes to: ``ok`` with what it says, or ``invalid``."""
    if request.labels:
        logprobs = label_logprobs(reply, request.labels)
        if logprobs is None:
            return Completion(request, "invalid", text=reply.text, error=NO_LOGPROBS, attempts=attempt)
        return Completion(request, "ok", value=logprobs, text=reply.text, attempts=attempt)
    if request.continuation is not None:
        logprob = continuation_logprob(reply)
        if logprob is None:
            return Completion(request, "invalid", text=reply.text, error=NO_SCORES, attempts=attempt)
        return Completion(request, "ok", value=logprob, text=reply.text, attempts=attempt)
    try:
        value = request.check(reply.text)
    except (ValueError, RecursionError) as error:  # deeply nested JSON exhausts the parser's stack
        cut = " (the answer was cut at max_tokens)" if reply.finish_reason == "length" else ""
        message = f"{str(error).encode('utf-8', 'replace').decode('utf-8')[:500]}{cut}"
        return Completion(request, "invalid", text=reply.text, error=message, attempts=attempt)
    return Completion(request, "ok", value=value, text=reply.text, attempts=attempt)


def bits(seed: int, request: InferenceRequest, hashed: int, attempt: int) -> int:
    """Return 64 bits that belong to an attempt."""
    text = f"{seed}|{request.step}|{request.agent_id}|{request.turn}|{request.purpose}|{hashed}|{attempt}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def wait_s(error: TransportError, bits: int, attempt: int) -> float:
    """Return seconds to wait: exponential, half of it jittered ("equal jitter", Brooker 2015), at least Retry-After.

    The jitter is a hash of the question, so it uses up no draw of the simulation.
    """
    wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1)) * (0.5 + bits / 2.0**65)
    return max(wait, min(error.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))


def _clean(reply: Reply) -> Reply:
    """Return a reply without lone surrogates, which fit into no file."""
    if reply.text.isascii():
        return reply
    return replace(reply, text=reply.text.encode("utf-8", "replace").decode("utf-8"))
