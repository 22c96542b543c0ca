"""The conformance suite of inference clients, and a client that needs no model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oasis.inference.client import Client
from oasis.inference.mock import MockTransport
from oasis.inference.transport import Prompt, TransportError
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceClient, InferenceRequest
from oasis.records import LLM_CALLS
from oasis.testing.answers import answer_from_schema, logprob_of

__all__ = ["CallingBack", "InferenceClientTests", "obedient", "request", "schema_client"]

Answerer = Callable[[Prompt], "str | float"]


def schema_client(seed: int = 0, answer: Answerer | None = None, **config: Any) -> Client:
    """Return a client whose answers fit each request's schema and are chosen by hash (or by `answer`).

    `config` are fields of `oasis.inference_config.LLMConfig`.
    """

    def handler(prompt: Prompt) -> str | float:
        if answer is not None:
            return answer(prompt)
        if prompt.continuation is not None:
            return logprob_of(prompt.messages, prompt.continuation)
        return answer_from_schema(prompt.schema, f"{seed}/{json.dumps(prompt.messages)}")

    return Client([MockTransport(handler)], LLMConfig(**{"model": "mock", **config}), seed=seed)


def request(agent_id: int = 0, *, step: int = 1, turn: int = 0, purpose: str = "decide") -> InferenceRequest:
    """Return a question whose answer must be ``{"agent":<agent_id>}``."""

    def check(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("agent") != agent_id:
            raise ValueError(f"expected agent {agent_id}")
        return value

    schema = {
        "type": "object",
        "properties": {"agent": {"type": "integer", "enum": [agent_id]}},
        "required": ["agent"],
        "additionalProperties": False,
    }
    messages = (("system", "Answer with your number as JSON."), ("user", f"You are agent {agent_id} in turn {turn}."))
    return InferenceRequest(step, agent_id, turn, purpose, messages, check, schema)


class CallingBack(MockTransport):
    """A `MockTransport` that can be asked without a task, as `HttpTransport` can; replies of a moment land together.

    Attributes
    ----------
    started : int
        How often it was asked so.
    """

    def __init__(self, handler: Any, name: str = "mock") -> None:
        super().__init__(handler, name)
        self.flights: dict[int, asyncio.Task[None]] = {}
        self.started = 0
        self._landing: dict[Any, list[Any]] = {}

    def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Any) -> int:
        """Ask the handler."""

        async def fly(number: int) -> None:
            try:
                async with asyncio.timeout(timeout_s):
                    found: Any = await self.send(prompt, timeout_s)
            except TimeoutError:
                found = TransportError("timeout", f"no answer within {timeout_s:g} s")
            except Exception as error:
                found = error
            del self.flights[number]
            if not self._landing:
                asyncio.get_running_loop().call_soon(self._land)
            self._landing.setdefault(landed, []).append((token, found))

        self.started += 1
        self.flights[self.started] = asyncio.create_task(fly(self.started))
        return self.started

    def give_up(self, number: int) -> None:
        """Wait no longer for what was started."""
        self.flights.pop(number).cancel()

    def _land(self) -> None:
        landing, self._landing = self._landing, {}
        for landed, arrivals in landing.items():
            landed(arrivals)


class InferenceClientTests:
    """What every `oasis.interfaces.InferenceClient` must do. Subclass it and define `make`."""

    def make(self, answer: Answerer) -> InferenceClient:
        """Return a client whose model answers with ``answer(prompt)``, and that asks up to four times."""
        raise NotImplementedError

    async def test_answers_stand_in_the_order_of_requests(self) -> None:
        client = self.make(obedient)
        requests = [request(i) for i in (5, 1, 9, 3)]
        done = await client.complete(requests)
        assert [c.request.agent_id for c in done] == [5, 1, 9, 3]
        assert [c.value for c in done] == [{"agent": i} for i in (5, 1, 9, 3)]
        assert {c.status for c in done} == {"ok"}
        await client.close()

    async def test_no_requests(self) -> None:
        client = self.make(obedient)
        assert await client.complete([]) == []
        assert client.take_records().num_rows == 0
        await client.close()

    async def test_records_are_one_sorted_row_per_attempt_and_are_taken_once(self) -> None:
        client = self.make(obedient)
        await client.complete([request(i) for i in (2, 0, 1)])
        records = client.take_records()
        assert records.schema == LLM_CALLS
        assert records["agent_id"].to_pylist() == [0, 1, 2]
        assert records["status"].to_pylist() == ["ok"] * 3
        assert records["response"].to_pylist() == [f'{{"agent":{i}}}' for i in range(3)]
        assert client.take_records().num_rows == 0
        await client.close()

    async def test_an_answer_that_does_not_fit_is_asked_again_and_then_invalid(self) -> None:
        client = self.make(lambda prompt: '{"agent":-5}' if "agent 1 " in prompt.messages[1][1] else obedient(prompt))
        done = await client.complete([request(0), request(1)])
        assert [c.status for c in done] == ["ok", "invalid"]
        assert done[1].error is not None
        assert done[1].value is None
        records = client.take_records()
        assert records["attempt"].to_pylist() == [1, 1, 2, 3, 4]
        assert records["status"].to_pylist() == ["ok", *["invalid"] * 4]
        assert len(set(records["prompt_hash"].to_pylist()[1:])) == 1  # the same question each time
        await client.close()

    async def test_answers_do_not_depend_on_who_is_asked_together(self) -> None:
        whole, parts = self.make(obedient), self.make(obedient)
        together = await whole.complete([request(i) for i in range(6)])
        apart = [c for i in range(6) for c in await parts.complete([request(i)])]
        assert [c.value for c in together] == [c.value for c in apart]
        columns = ["step", "agent_id", "turn", "attempt", "status", "prompt_hash", "response"]
        assert whole.take_records().select(columns) == parts.take_records().select(columns)
        await whole.close()
        await parts.close()

    async def test_a_text_to_score_gets_its_log_probability_or_a_clear_refusal(self) -> None:
        client = self.make(lambda prompt: -12.5)
        asked = replace(request(4), purpose="score", continuation="The bees are back.", options=(7,))
        done = (await client.complete([asked]))[0]
        row = client.take_records().to_pylist()[0]
        if done.status == "ok":
            assert (done.value, row["logprobs"], row["options"]) == (-12.5, [-12.5], [7])
            assert not row["response"]
        else:
            assert (done.status, done.attempts) == ("failed", 1)
            assert "log-probabilities of given texts" in (done.error or "")
            assert row["logprobs"] is None
        await client.close()

    async def test_closing_twice_does_no_harm(self) -> None:
        client = self.make(obedient)
        await client.close()
        await client.close()


def obedient(prompt: Prompt) -> str:
    """Return what the prompt's schema asks for."""
    return answer_from_schema(prompt.schema, "")
