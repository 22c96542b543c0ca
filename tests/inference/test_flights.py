"""Questions whose first attempt is sent without a task: they end as others do, whatever happens to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from oasis.errors import NoEndpointError, RunStoppedError
from oasis.inference import Client, MockTransport, Prompt, RecordedAnswers, Reply, TransportError
from oasis.inference import asking as asking_module
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceRequest
from oasis.testing.inference import CallingBack, obedient, request


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.001)


async def _never(prompt: Prompt) -> str:
    await asyncio.sleep(60)
    return ""


async def test_what_can_be_answered_at_once_needs_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client([CallingBack(obedient)], LLMConfig(model="m", concurrency=7))
    walked: list[Any] = []
    monkeypatch.setattr(client, "_walk", walked.append)
    done = await client.complete([request(i) for i in range(60)])
    assert [c.value for c in done] == [{"agent": i} for i in range(60)]
    assert walked == []


async def test_questions_that_nobody_waits_for_any_more_are_given_up_and_written_down() -> None:
    transport = CallingBack(_never)
    client = Client([transport], LLMConfig(model="m", concurrency=16))
    asked = asyncio.create_task(client.complete([request(i) for i in range(20)]))
    await asyncio.sleep(0)
    assert client.usage.in_flight == 16
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert transport.flights == {}
    assert client.usage.in_flight == client._asker.pool.endpoints[0].in_flight == 0
    rows = client.take_records().to_pylist()
    assert [row["agent_id"] for row in rows] == list(range(16))
    assert {row["error"] for row in rows} == {asking_module.CANCELLED}
    transport._handler = obedient
    assert [c.status for c in await client.complete([request(1), request(2)])] == ["ok", "ok"]


async def test_after_a_failure_nothing_more_of_a_batch_is_sent() -> None:
    def journal(rows: Any) -> None:
        raise RunStoppedError("the disk is full")

    transport = CallingBack(obedient)
    client = Client([transport], LLMConfig(model="m", concurrency=4), journal=journal)
    with pytest.raises(RunStoppedError, match="the disk is full"):
        await client.complete([request(i) for i in range(50)])
    assert transport.started == 4
    assert client.usage.in_flight == client._unsent == client._in_work == 0


async def test_whoever_checks_answers_may_fail_without_hanging_the_run() -> None:
    def check(text: str) -> Any:
        raise ZeroDivisionError("in a check")

    client = Client([CallingBack(obedient)], LLMConfig(model="m"))
    with pytest.raises(ZeroDivisionError):
        await client.complete([request(0), replace(request(1), check=check), request(2)])
    assert client.usage.in_flight == client._in_work == 0
    assert (await client.complete([request(3)]))[0].status == "ok"


async def test_a_transport_that_cannot_say_what_came_of_a_question_is_asked_again_without_a_new_attempt() -> None:
    class Breaking(CallingBack):
        def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Any) -> int:
            asyncio.get_running_loop().call_soon(landed, [(token, ConnectionResetError())])
            self.started += 1
            return self.started

    transport = Breaking(obedient)
    client = Client([transport], LLMConfig(model="m"))
    done = await client.complete([request(i) for i in range(5)])
    assert [(c.status, c.attempts) for c in done] == [("ok", 1)] * 5
    assert (transport.started, len(transport.prompts), client.usage.asked) == (5, 5, 5)
    assert client.take_records()["attempt"].to_pylist() == [1] * 5


class Manual(MockTransport):
    """Keeps what was started until a test lands it."""

    def __init__(self, handler: Any = obedient, name: str = "mock") -> None:
        super().__init__(handler, name)
        self.flights: dict[int, tuple[Any, Any]] = {}

    def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Any) -> int:
        self.prompts.append(prompt)
        self.flights[len(self.prompts)] = token, landed
        return len(self.prompts)

    def give_up(self, number: int) -> None:
        del self.flights[number]

    def land(self, *found: Any) -> None:
        tokens = [self.flights.pop(number) for number in list(self.flights)[: len(found)]]
        tokens[0][1]([(token, what) for (token, _), what in zip(tokens, found, strict=True)])


def odds(agent: int) -> InferenceRequest:
    messages = (("system", "Letters."), ("user", "A yes, B no"))
    return InferenceRequest(1, agent, 0, "decide", messages, str, max_tokens=1, labels=("A", "B"), options=(1, 2))


def nothing_is_left(client: Client) -> bool:
    counts = client.usage.in_flight, client._in_work, client._unsent
    return not any(counts) and not any(e.in_flight for e in client._asker.pool.endpoints)


LETTERS = Reply("A", logprobs=(("A", -0.5), ("B", -1.5)))


async def test_whoever_shares_a_question_is_told_when_its_asker_is_cancelled_before_its_second_attempt() -> None:
    transport = Manual(lambda prompt: LETTERS)
    client = Client([transport], LLMConfig(model="m"))
    one = asyncio.create_task(client.complete([odds(1)]))
    two = asyncio.create_task(client.complete([odds(2)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    one.cancel()
    transport.land(TransportError("server", "x"))  # a second attempt has a task, which never begins
    async with asyncio.timeout(5):
        ended = await asyncio.gather(one, two, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert nothing_is_left(client)
    third = asyncio.create_task(client.complete([odds(3)]))
    await asyncio.sleep(0)
    transport.land(LETTERS)
    assert (await third)[0].value == (-0.5, -1.5)


async def test_a_failure_that_lands_with_an_unanswered_question_leaves_no_promise() -> None:
    def check(text: str) -> Any:
        raise ZeroDivisionError("in a check")

    transport = Manual(lambda prompt: LETTERS)
    client = Client([transport], LLMConfig(model="m"))
    one = asyncio.create_task(client.complete([replace(request(0), check=check), odds(1)]))
    await asyncio.sleep(0)
    transport.land(Reply("{}"), TransportError("server", "x"))
    with pytest.raises(ZeroDivisionError):
        await one
    again = asyncio.create_task(client.complete([odds(2)]))
    await asyncio.sleep(0)
    transport.land(LETTERS)
    async with asyncio.timeout(5):
        assert (await again)[0].status == "ok"
    assert nothing_is_left(client)


async def test_a_journal_that_fails_again_while_a_batch_is_given_up_leaves_nothing_in_flight() -> None:
    full = True

    def journal(rows: Any) -> None:
        if full:
            raise RunStoppedError("the disk is full")

    transport = Manual()
    client = Client([transport], LLMConfig(model="m", concurrency=3), journal=journal)
    one = asyncio.create_task(client.complete([request(0), request(1), odds(2), request(3)]))
    two = asyncio.create_task(client.complete([request(9)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    transport.land(Reply('{"agent":0}'))
    with pytest.raises(RunStoppedError):
        await one
    assert len(transport.flights) == 1  # of the other batch, for which there is room now
    full = False
    transport.land(Reply('{"agent":9}'))
    async with asyncio.timeout(5):
        assert (await two)[0].status == "ok"
    assert nothing_is_left(client)


async def test_cancelled_waiters_are_not_woken_in_place_of_others() -> None:
    gate = asyncio.Event()

    async def answer(prompt: Prompt) -> str:
        await gate.wait()
        return obedient(prompt)

    transport = MockTransport(answer)
    transport.most_in_flight = 1
    client = Client([transport], LLMConfig(model="m", concurrency=8))
    one = asyncio.create_task(client.complete([request(i) for i in range(3)]))
    await asyncio.sleep(0.01)
    two = asyncio.create_task(client.complete([request(9)]))
    await asyncio.sleep(0.01)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    gate.set()
    async with asyncio.timeout(5):
        assert (await two)[0].status == "ok"
    assert nothing_is_left(client)


async def test_what_nobody_was_answered_is_no_agents_answer() -> None:
    scored = InferenceRequest(1, -1, 0, "score", (("user", "Write."),), str, continuation="Bees.", options=(7,))
    client = Client([MockTransport(lambda prompt: -3.0)], LLMConfig(model="m"))
    await client.complete([scored])
    await client.complete([replace(scored, agent_id=5, step=2)])
    assert [row["reused"] for row in client.take_records().to_pylist()] == [None, None]


async def test_a_transport_that_fails_to_start_leaves_its_endpoint_free() -> None:
    class Failing(CallingBack):
        def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Any) -> int:
            if not self.started:
                self.started += 1
                raise OSError("no more files")
            return super().start(prompt, timeout_s, token, landed)

    transport = Failing(obedient)
    transport.most_in_flight = 1
    client = Client([transport], LLMConfig(model="m"))
    with pytest.raises(OSError, match="no more files"):
        await client.complete([request(0)])
    async with asyncio.timeout(5):
        assert (await client.complete([request(1)]))[0].status == "ok"
    assert nothing_is_left(client)


async def test_the_dead_are_not_asked() -> None:
    transports = [CallingBack(obedient, "a"), CallingBack(obedient, "b")]
    client = Client(transports, LLMConfig(model="m"))
    for endpoint in client._asker.pool.endpoints:
        endpoint.dead = endpoint.opened = True
    with pytest.raises(NoEndpointError):
        await client.complete([request(0)])
    assert [transport.started for transport in transports] == [0, 0]


async def test_a_refusal_that_is_asked_again_is_asked_again_if_nothing_came_of_its_flight() -> None:
    def refuse(prompt: Prompt) -> str:
        raise TransportError("refused", "planted")

    asked = Client([MockTransport(refuse)], LLMConfig(model="m"))
    await asked.complete([request(0)])
    recorded = RecordedAnswers(asked.take_records(), retry_after_step=0)
    transport = Manual()
    client = Client([transport], LLMConfig(model="m"), recorded=recorded)
    done = asyncio.create_task(client.complete([request(0)]))
    await asyncio.sleep(0)
    transport.land(ConnectionResetError())
    assert [(c.status, c.attempts) for c in await done] == [("ok", 2)]
