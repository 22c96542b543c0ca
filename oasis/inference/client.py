"""The inference client: limits, retries and recorded answers over any number of transports."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pyarrow as pa

from oasis.errors import BudgetError, InferenceError, NoEndpointError
from oasis.inference.accounting import Account, Journal, KeepPrompt, Meter
from oasis.inference.affinity import prefix_key
from oasis.inference.calls import FINAL_ERROR, RecordedAnswers, prompt_hash
from oasis.inference.distribution import NO_LOGPROBS, NO_SCORES, continuation_logprob, label_logprobs
from oasis.inference.endpoints import Endpoint, EndpointPool
from oasis.inference.metrics import MetricsReader
from oasis.inference.transport import Describes, Prompt, Reply, Transport, TransportError
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, InferenceRequest, ServerMetrics
from oasis.tasks import Places

__all__ = ["Client"]

LANDING_S = 0.02
"""Between looks at what is still in flight when the budget is used up."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 8.0
CANCELLED = "cancelled: the step was given up while this was asked"
DESCRIBE_S = 2.0
"""Longest wait for what an endpoint says of itself."""
LONGEST_RETRY_AFTER_S = 30.0
"""Retry-After is honoured up to this; a server that wants more is asked again earlier."""


class Client:
    """Asks language models; implements `oasis.interfaces.InferenceClient`.

    Parameters
    ----------
    transports : sequence of Transport
        One per endpoint; none where all answers are recorded ones.
    config : LLMConfig
        Its model, mode, concurrency, time-out, attempts, temperature and max_tokens are used.
    seed : int
        From which the jitter of waits and the seeds of `LocalTransport` are derived, apart from all draws of a run.
    journal : callable, optional
        ``journal(row)``, called for each attempt before its answer is used. What it raises ends the call.
    recorded : RecordedAnswers, optional
        Answers that are not asked again.
    keep_prompt : callable, optional
        ``keep_prompt(agent_id)``: whether rows keep an agent's prompts. None are kept by default.
    meter : Meter, optional
        Told of each attempt, and asked before each request whether it may be sent.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        config: LLMConfig | None = None,
        *,
        seed: int = 0,
        journal: Journal | None = None,
        recorded: RecordedAnswers | None = None,
        keep_prompt: KeepPrompt = lambda agent_id: False,
        meter: Meter | None = None,
    ) -> None:
        self._config = config or LLMConfig()
        self._model = self._config.model or ""
        self._transports = list(transports)
        self._metrics = MetricsReader(transports)
        self._pool = EndpointPool(transports, self._config.concurrency, self._config.timeout_s, time.monotonic)
        self._seed, self._recorded, self._meter = seed, recorded, meter
        self._account = Account(self._model, journal, keep_prompt, meter)
        self._places = Places(self._config.concurrency)  # of all calls together
        self._turns = Places(1)  # of those who wait for room
        self._unsent = 0
        self._fewer_unsent: asyncio.Future[None] | None = None
        self._asked_step, self._asked = -1, dict[tuple[int, str, int], asyncio.Future[Completion]]()
        self._of_nobody: dict[int, float] = {}
        """Log-probabilities of texts that nobody in particular writes, by the hash of the question."""
        self.usage = self._account.usage

    @property
    def concurrency(self) -> int:
        """Most requests in flight."""
        return self._config.concurrency

    async def room(self) -> None:
        """Return when fewer requests wait to be sent than may be in flight. One caller goes on at a time."""
        async with self._turns.here():
            while self._unsent >= self._config.concurrency:
                self._fewer_unsent = asyncio.get_running_loop().create_future()
                await self._fewer_unsent

    async def complete(self, requests: Sequence[InferenceRequest]) -> list[Completion]:
        """Return one completion per request, in request order, whatever the order of replies.

        Raises
        ------
        NoEndpointError
            When no endpoint is alive; it names each and what it last said. What was answered is in the records.
        BudgetError
            When the meter lets nothing more be sent; what was in flight has been answered and is in the records.
        """
        done: list[Completion | None] = [None] * len(requests)
        queue = iter(enumerate(requests))
        places = self._places.here()
        left = len(requests)
        self._count_unsent(left)

        async def work() -> None:
            nonlocal left
            for position, request in queue:
                async with places:
                    left -= 1
                    self._count_unsent(-1)
                    done[position] = await self._ask(request)

        workers = [asyncio.create_task(work()) for _ in range(min(len(requests), self._config.concurrency))]
        try:
            for worker in asyncio.as_completed(workers):
                await worker
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._count_unsent(-left)
        return [completion for completion in done if completion is not None]

    def take_records(self) -> pa.Table:
        """Return and forget the rows since the last call, sorted by (step, agent, turn, purpose, prompt, attempt)."""
        return self._account.take()

    async def describe(self) -> list[dict[str, Any]]:
        """Return what each endpoint says of itself, within `DESCRIBE_S`. It counts as no call and is not recorded."""
        return list(await asyncio.gather(*map(self._describe, self._transports)))

    async def metrics(self) -> list[ServerMetrics]:
        """Return what the endpoints' metrics say now, of those that have any. It counts as no call."""
        return await self._metrics.read()

    async def close(self) -> None:
        """Release connections and models."""
        for transport in self._transports:
            await transport.close()

    def _count_unsent(self, more: int) -> None:
        self._unsent += more
        waiter = self._fewer_unsent
        if waiter is not None and self._unsent < self._config.concurrency and not waiter.done():
            waiter.set_result(None)

    async def _describe(self, transport: Transport) -> dict[str, Any]:
        found: dict[str, Any] = {"endpoint": transport.name, "model": self._model}
        found |= {"reported": None, "version": None, "server": None}
        if not isinstance(transport, Describes):
            return found
        try:
            async with asyncio.timeout(DESCRIBE_S):
                return found | await transport.describe(0.9 * DESCRIBE_S)
        except Exception as error:  # of anybody's transport: a run does not fail for this
            return found | {"error": type(error).__name__}

    async def _ask(self, request: InferenceRequest) -> Completion:
        limit = self._config.attempts
        max_tokens = self._config.max_tokens if request.max_tokens is None else request.max_tokens
        temperature = self._config.temperature if request.temperature is None else request.temperature
        hashed = prompt_hash(request, self._model, self._config.mode, max_tokens, temperature)
        prompt = Prompt(
            request.messages,
            request.schema,
            max_tokens,
            temperature,
            labels=request.labels,
            continuation=request.continuation,
        )
        once = bool(request.labels) or request.continuation is not None
        done = Completion(request, "failed", attempts=0)
        if request.agent_id < 0 and (asked := self._asked_by(request, hashed)) is not None:
            return replace(await asyncio.shield(asked), request=request)
        if self._recorded is not None:
            rows = self._recorded.attempts(request, hashed)
            for row in rows:
                done = self._replay(request, row)
            if self._recorded.final(rows, limit):
                if once and self._asked_by(request, hashed) is None:
                    self._asked[request.turn, request.purpose, hashed] = _settled(done)
                self._keep_for_good(hashed, done)
                return done
            if rows and self._recorded.retries(rows[-1]):
                limit += len(rows)
            if not self._transports:
                raise InferenceError(
                    f"no recorded answer to the {request.purpose} prompt of agent {request.agent_id} at step"
                    f" {request.step}, turn {request.turn} (prompt hash {hashed:016x}), and no endpoint to ask"
                )
        if once:
            return await self._ask_once(request, prompt, hashed, done, limit)
        return await self._ask_servers(request, prompt, hashed, done, limit)

    def _asked_by(self, request: InferenceRequest, hashed: int) -> asyncio.Future[Completion] | None:
        """Return what somebody was answered, or waits for, who asked the same question of odds in the same step."""
        if self._asked_step != request.step:
            self._asked_step, self._asked = request.step, {}
        return self._asked.get((request.turn, request.purpose, hashed))

    async def _ask_once(
        self, request: InferenceRequest, prompt: Prompt, hashed: int, done: Completion, limit: int
    ) -> Completion:
        """Ask for log-probabilities; the same question of a step is asked once, whoever asks it."""
        asked = self._asked_by(request, hashed)
        if asked is not None:
            found = replace(await asyncio.shield(asked), request=request, attempts=done.attempts + 1)
            self._account.record(found, None, hashed, found.attempts, None, 0.0)
            return found
        key = request.turn, request.purpose, hashed
        if _is_of_nobody(request) and hashed in self._of_nobody:
            done = Completion(request, "ok", value=self._of_nobody[hashed], attempts=done.attempts + 1)
            self._asked[key] = _settled(done)
            self._account.record(done, None, hashed, done.attempts, None, 0.0)
            return done
        first = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            done = await self._ask_servers(request, prompt, hashed, done, limit)
        except BaseException as error:
            del self._asked[key]
            first.set_exception(error)
            first.exception()  # nobody may have waited for it
            raise
        first.set_result(done)
        self._keep_for_good(hashed, done)
        return done

    def _keep_for_good(self, hashed: int, done: Completion) -> None:
        if _is_of_nobody(done.request) and done.status == "ok":
            self._of_nobody[hashed] = done.value

    async def _ask_servers(
        self, request: InferenceRequest, prompt: Prompt, hashed: int, done: Completion, limit: int
    ) -> Completion:
        last: Endpoint | None = None
        while done.attempts < limit:
            attempt = done.attempts + 1
            endpoint = await self._pool.acquire(last, prefix_key(request))
            await self._pass_meter(endpoint)
            if getattr(endpoint.transport, "takes_seed", False):
                prompt = replace(prompt, seed=_hash(self._seed, request, hashed, attempt) % 2**31)
            done, error = await self._attempt(request, prompt, hashed, attempt, endpoint)
            if done.status == "ok" or (done.error or "").startswith(FINAL_ERROR):
                return done
            last = endpoint
            if attempt < limit and error is not None:
                await asyncio.sleep(_wait_s(error, _hash(self._seed, request, hashed, attempt), attempt))
        if done.status == "failed" and self._pool.all_dead:
            raise NoEndpointError(self._pool.obituary())
        return done

    async def _pass_meter(self, endpoint: Endpoint) -> None:
        """Return where a request may be sent, else raise when those in flight have landed: they are paid for."""
        if self._meter is None:
            return
        try:
            self._meter.gate(self.usage.in_flight)
        except BudgetError:
            self._pool.release(endpoint)
            while self.usage.in_flight:
                await asyncio.sleep(LANDING_S)
            raise

    async def _attempt(
        self, request: InferenceRequest, prompt: Prompt, hashed: int, attempt: int, endpoint: Endpoint
    ) -> tuple[Completion, TransportError | None]:
        started, name = time.monotonic(), endpoint.transport.name
        sent = self._pool.sent(endpoint)
        reply: Reply | None = None
        error: TransportError | None = None
        self.usage.in_flight += 1
        self.usage.asked += 1
        settled = cancelled = False
        try:
            limit = None  # for a transport that does not say that it keeps the time-out itself
            if not getattr(endpoint.transport, "keeps_timeout", False):
                limit = asyncio.timeout(1.25 * self._config.timeout_s + 1.0)
            async with limit or nullcontext():
                reply = _clean(await endpoint.transport.send(prompt, self._config.timeout_s))
            self._pool.succeeded(endpoint, sent)
            settled = True
        except TimeoutError:
            error = TransportError("timeout", f"no answer within {self._config.timeout_s:g} s")
        except TransportError as caught:
            error = caught
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            self.usage.in_flight -= 1
            if error is not None:
                self._pool.failed(endpoint, error, sent)
            elif not settled:
                self._pool.release(endpoint)
            if cancelled:  # the server may have worked for it
                lost = Completion(request, "failed", error=CANCELLED, attempts=attempt)
                self._account.record(lost, None, hashed, attempt, name, 1000.0 * (time.monotonic() - started))
        done = _checked(request, reply, attempt) if reply is not None else Completion(request, "failed")
        if error is not None:
            done = Completion(request, "failed", error=str(error), attempts=attempt)
        self._account.record(done, reply, hashed, attempt, name, 1000.0 * (time.monotonic() - started))
        return done, error

    def _replay(self, request: InferenceRequest, row: dict[str, Any]) -> Completion:
        self._account.keep(row)
        attempt = row["attempt"]
        if row["logprobs"] is not None and row["status"] == "ok":
            logprobs = tuple(row["logprobs"])
            value = logprobs if request.continuation is None else logprobs[0]
            return Completion(request, "ok", value=value, text=row["response"], attempts=attempt)
        if row["status"] == "failed" or row["response"] is None:
            return Completion(request, "failed", error=row["error"], attempts=attempt)
        done = _checked(request, Reply(row["response"]), attempt)
        if done.status != row["status"]:
            raise InferenceError(
                f"the recorded answer to agent {request.agent_id} at step {request.step} was {row['status']} and is now"
                f" {done.status} ({done.error}): the recorder's version of OASIS or scenario differs from this one"
            )
        return replace(done, error=row["error"])


def _settled(done: Completion) -> asyncio.Future[Completion]:
    future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
    future.set_result(done)
    return future


def _is_of_nobody(request: InferenceRequest) -> bool:
    return request.agent_id < 0 and request.continuation is not None


def _clean(reply: Reply) -> Reply:
    """Return a reply without lone surrogates, which fit into no file."""
    if reply.text.isascii():
        return reply
    return replace(reply, text=reply.text.encode("utf-8", "replace").decode("utf-8"))


def _checked(request: InferenceRequest, reply: Reply, attempt: int) -> Completion:
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


def _hash(seed: int, request: InferenceRequest, hashed: int, attempt: int) -> int:
    text = f"{seed}|{request.step}|{request.agent_id}|{request.turn}|{request.purpose}|{hashed}|{attempt}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _wait_s(error: TransportError, bits: int, attempt: int) -> float:
    """Return seconds to wait: exponential, half of it jittered ("equal jitter", Brooker 2015), at least Retry-After.

    The jitter is a hash of the question, so it uses up no draw of the simulation.
    """
    wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1)) * (0.5 + bits / 2.0**65)
    return max(wait, min(error.retry_after_s or 0.0, LONGEST_RETRY_AFTER_S))
