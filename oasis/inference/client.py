"""The inference client: when each question is begun, and which are answered by records or by others' answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa

from oasis.errors import InferenceError
from oasis.inference.accounting import Account, Journal, KeepPrompt, Meter
from oasis.inference.asking import Asker, checked
from oasis.inference.calls import RecordedAnswers, prompt_hash
from oasis.inference.metrics import MetricsReader
from oasis.inference.once import Once, is_once
from oasis.inference.questions import Batch, Question
from oasis.inference.transport import Describes, Prompt, Reply, Transport
from oasis.inference_config import LLMConfig
from oasis.interfaces import Completion, InferenceRequest, ServerMetrics
from oasis.tasks import Places

__all__ = ["Client"]

DESCRIBE_S = 2.0
"""Longest wait for what an endpoint says of itself."""


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
        ``journal(rows)``, called with attempts that ended together before their answers are used. What it raises ends
        the call.
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
        self._recorded = recorded
        self._account = Account(self._model, journal, keep_prompt, meter)
        self._asker = Asker(transports, self._config, seed, self._account, meter, self._landed)
        self._batches: deque[Batch] = deque()  # with questions that are not begun
        self._in_work = 0
        self._beginning = False
        self._turns = Places(1)  # of those who wait for room
        self._unsent = 0
        self._fewer_unsent: asyncio.Future[None] | None = None
        self._once = Once(self._account)
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
        if not requests:
            return []
        batch = Batch(requests)
        self._unsent += len(requests)
        self._batches.append(batch)
        try:
            self._begin_what_fits()
            await batch.over
        finally:
            await self._end(batch)
        return batch.completions()

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

    def _begin_what_fits(self) -> None:
        """Begin questions in the order in which they were asked, as many as may be in work."""
        if self._beginning:  # a question was answered at once: the loop below goes on
            return
        self._beginning = True
        try:
            while self._batches and self._in_work < self._config.concurrency:
                batch = self._batches[0]
                if batch.over.done():  # it has failed: what is not sent need not be paid for
                    self._forget_unsent(batch)
                    continue
                position = batch.begun
                batch.begun += 1
                if batch.begun >= len(batch.requests):
                    self._batches.popleft()
                self._unsent -= 1
                self._in_work += 1
                try:
                    self._begin(batch, position)
                except BaseException as error:
                    self._in_work -= 1
                    batch.fail(error)
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._beginning = False
        waiter = self._fewer_unsent
        if waiter is not None and self._unsent < self._config.concurrency and not waiter.done():
            waiter.set_result(None)

    def _begin(self, batch: Batch, position: int) -> None:
        """Answer a question from what is known, or send it without a task where that can be done at once."""
        question = self._question(batch, position)
        if self._answer_by_records(question):
            return
        once = is_once(question.request)
        if (once and self._once.known(question)) or not self._asker.send(question):
            self._walk(question)
            return
        if once:
            self._once.promise(question)
        batch.flights[position] = question

    def _landed(self, question: Question, failure: Exception | None) -> None:
        """Take a question whose first attempt was sent without a task."""
        batch = question.batch
        del batch.flights[question.position]
        if failure is not None:
            self._once.failed(question, failure)
            batch.fail(failure)
        elif question.endpoint is None or not question.settled or self._asker.out_of_reach(question):
            self._walk(question)
            return
        else:
            self._once.answered(question)
            batch.finish(question.position, question.done)
        self._in_work -= 1
        self._begin_what_fits()

    def _walk(self, question: Question) -> None:
        """Let a task find a question's answer."""
        batch = question.batch

        async def walk() -> None:
            try:
                batch.finish(question.position, await self._ask(question))
            except BaseException as error:
                self._once.failed(question, error)
                batch.fail(error)
                if not isinstance(error, Exception):
                    raise

        def ended(task: asyncio.Task[None]) -> None:
            batch.tasks.discard(task)
            self._once.failed(question, asyncio.CancelledError())  # if it was cancelled before it began
            self._in_work -= 1
            self._begin_what_fits()

        task = asyncio.create_task(walk())
        batch.tasks.add(task)
        task.add_done_callback(ended)

    async def _end(self, batch: Batch) -> None:
        """Give up what is left of a batch."""
        self._forget_unsent(batch)
        for question in batch.flights.values():
            with suppress(Exception):  # of a journal that fails, which is what ended the batch
                self._asker.recall(question)
            self._once.failed(question, asyncio.CancelledError())
            self._in_work -= 1
        batch.flights.clear()
        tasks = list(batch.tasks)
        for task in tasks:
            task.cancel()
        self._begin_what_fits()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)

    def _forget_unsent(self, batch: Batch) -> None:
        left = len(batch.requests) - batch.begun
        if left:
            self._batches.remove(batch)
            self._unsent -= left
            batch.begun += left

    async def _ask(self, question: Question) -> Completion:
        """Return the answer to a question, from what is known or from a server."""
        if is_once(question.request) and question.asked is None:
            if self._once.known(question):
                return await self._once.share(question)
            self._once.promise(question)
        await self._asker.ask(question)
        self._once.answered(question)
        return question.done

    def _question(self, batch: Batch, position: int) -> Question:
        request = batch.requests[position]
        config = self._config
        max_tokens = config.max_tokens if request.max_tokens is None else request.max_tokens
        temperature = config.temperature if request.temperature is None else request.temperature
        hashed = prompt_hash(request, self._model, config.mode, max_tokens, temperature)
        prompt = Prompt(
            request.messages, request.schema, max_tokens, temperature, 0, request.labels, request.continuation
        )
        done = Completion(request, "failed", attempts=0)
        return Question(batch, position, request, prompt, hashed, config.attempts, done)

    def _answer_by_records(self, question: Question) -> bool:
        """Return whether recorded attempts settle a question; take note of them if they do not."""
        request, recorded = question.request, self._recorded
        if recorded is None or (request.agent_id < 0 and self._once.asked(question)):
            return False
        rows = recorded.attempts(request, question.hashed)
        for row in rows:
            question.done = self._replay(request, row)
        if recorded.final(rows, question.limit):
            self._once.answered(question)
            self._in_work -= 1
            question.batch.finish(question.position, question.done)
            return True
        if rows and recorded.retries(rows[-1]):
            question.limit += len(rows)
        if not self._transports:
            raise InferenceError(
                f"no recorded answer to the {request.purpose} prompt of agent {request.agent_id} at step"
                f" {request.step}, turn {request.turn} (prompt hash {question.hashed:016x}), and no endpoint to ask"
            )
        return False

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

    def _replay(self, request: InferenceRequest, row: dict[str, Any]) -> Completion:
        self._account.keep(row)
        attempt = row["attempt"]
        if row["logprobs"] is not None and row["status"] == "ok":
            logprobs = tuple(row["logprobs"])
            value = logprobs if request.continuation is None else logprobs[0]
            return Completion(request, "ok", value=value, text=row["response"], attempts=attempt)
        if row["status"] == "failed" or row["response"] is None:
            return Completion(request, "failed", error=row["error"], attempts=attempt)
        done = checked(request, Reply(row["response"]), attempt)
        if done.status != row["status"]:
            raise InferenceError(
                f"the recorded answer to agent {request.agent_id} at step {request.step} was {row['status']} and is now"
                f" {done.status} ({done.error}): the recorder's version of OASIS or scenario differs from this one"
            )
        return replace(done, error=row["error"])
