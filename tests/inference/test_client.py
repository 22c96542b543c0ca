"""The client over transports: retries, limits, records, recorded answers."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.errors import InferenceError, NoEndpointError
from oasis.inference import Client, MockTransport, Prompt, RecordedAnswers, Reply, TransportError
from oasis.inference import asking as asking_module
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceClient, InferenceRequest
from oasis.testing import inference as testing_module
from oasis.testing.inference import Answerer, CallingBack, InferenceClientTests, obedient, request, schema_client


@pytest.fixture(autouse=True, params=[MockTransport, CallingBack])
def _transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test asks by tasks, and without where that is possible."""
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.001)
    for module in (sys.modules[__name__], testing_module):
        monkeypatch.setattr(module, "MockTransport", request.param)


def failing(kinds: list[str], **options: Any) -> MockTransport:
    """A transport that fails with each kind in turn, then obeys."""
    left = list(kinds)

    def handler(prompt: Prompt) -> str:
        if left:
            raise TransportError(left.pop(0), "planted", **options)  # type: ignore[arg-type]
        return obedient(prompt)

    return MockTransport(handler)


class TestMockClient(InferenceClientTests):
    def make(self, answer: Answerer) -> InferenceClient:
        return schema_client(answer=answer)


@pytest.mark.parametrize("kind", ["timeout", "connection", "server", "overloaded", "malformed"])
async def test_transport_errors_are_tried_again_and_recorded(kind: str) -> None:
    client = Client([failing([kind, kind])], LLMConfig(model="m"))
    done = (await client.complete([request(3)]))[0]
    assert (done.status, done.attempts) == ("ok", 3)
    rows = client.take_records().to_pylist()
    assert [r["status"] for r in rows] == ["failed", "failed", "ok"]
    assert [r["error"] for r in rows] == [f"{kind}: planted", f"{kind}: planted", None]
    assert client.usage.asked == 3


async def test_transport_errors_and_invalid_answers_share_the_attempts() -> None:
    answers = iter(["connection", "{}", "overloaded", "{}", "never"])

    def handler(prompt: Prompt) -> str:
        word = next(answers)
        if word != "{}":
            raise TransportError(word, "planted")  # type: ignore[arg-type]
        return word

    client = Client([MockTransport(handler)], LLMConfig(model="m", attempts=4))
    done = (await client.complete([request()]))[0]
    assert (done.status, done.attempts) == ("invalid", 4)
    assert next(answers) == "never"


async def test_a_refused_request_fails_at_once_with_its_message() -> None:
    client = Client([failing(["refused"])], LLMConfig(model="m"))
    done = (await client.complete([request()]))[0]
    assert (done.status, done.attempts, done.error) == ("failed", 1, "refused: planted")


async def test_a_wrong_key_or_model_ends_at_once() -> None:
    client = Client([failing(["denied"] * 9)], LLMConfig(model="m"))
    with pytest.raises(NoEndpointError, match="mock: denied: planted"):
        await client.complete([request(i) for i in range(5)])
    assert client.take_records().num_rows >= 1


async def test_only_the_attempt_changes_between_attempts() -> None:
    transport = failing(["server", "malformed"])
    client = Client([transport], LLMConfig(model="m"))
    await client.complete([request()])
    first, *others = transport.prompts
    assert all((p.messages, p.schema, p.max_tokens) == (first.messages, first.schema, first.max_tokens) for p in others)
    assert len({row["prompt_hash"] for row in client.take_records().to_pylist()}) == 1


async def test_no_more_in_flight_than_allowed_and_as_many_as_allowed() -> None:
    now = most = 0

    async def answer(prompt: Prompt) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return obedient(prompt)

    client = Client([MockTransport(answer, "a"), MockTransport(answer, "b")], LLMConfig(model="m", concurrency=7))
    await client.complete([request(i) for i in range(60)])
    assert most == 7
    rows = client.take_records().to_pylist()
    assert {row["endpoint"] for row in rows} == {"a", "b"}


async def test_concurrency_falls_while_the_server_is_overloaded_and_grows_again() -> None:
    transport = failing(["overloaded"] * 6)
    client = Client([transport], LLMConfig(model="m", concurrency=32))
    await client.complete([request(i) for i in range(6)])
    (endpoint,) = client._asker.pool.endpoints
    low = endpoint.limit
    assert low < 16
    await client.complete([request(i) for i in range(200)])
    assert endpoint.limit > low


async def test_a_server_with_one_slot_is_not_sent_more_than_it_answers_in_time() -> None:
    slot = asyncio.Semaphore(1)

    async def one_at_a_time(prompt: Prompt) -> str:
        async with slot:
            await asyncio.sleep(0.01)
        return obedient(prompt)

    client = Client([MockTransport(one_at_a_time)], LLMConfig(model="m", concurrency=64, timeout_s=0.3))
    done = await client.complete([request(i) for i in range(150)])
    assert {c.status for c in done} == {"ok"}
    assert client.usage.failed == 0
    assert client._asker.pool.endpoints[0].limit < 30


async def test_requests_go_to_the_endpoint_with_the_fewest_in_flight() -> None:
    async def slow(prompt: Prompt) -> str:
        await asyncio.sleep(0.05)
        return obedient(prompt)

    client = Client([MockTransport(slow, "slow"), MockTransport(obedient, "fast")], LLMConfig(model="m", concurrency=4))
    await client.complete([request(i) for i in range(40)])
    names = client.take_records()["endpoint"].to_pylist()
    assert names.count("fast") > 3 * names.count("slow")


async def test_one_dead_endpoint_of_two_costs_no_decision() -> None:
    def dead(prompt: Prompt) -> str:
        raise TransportError("connection", "refused")

    client = Client(
        [MockTransport(dead, "dead"), MockTransport(obedient, "alive")], LLMConfig(model="m", concurrency=8)
    )
    done = await client.complete([request(i) for i in range(50)])
    assert {c.status for c in done} == {"ok"}
    rows = client.take_records().to_pylist()
    assert sum(row["endpoint"] == "dead" for row in rows) <= 8 + 2 + 2  # in flight at first, then probes


async def test_all_dead_ends_soon_and_names_each_endpoint_and_its_last_error() -> None:
    def dead(prompt: Prompt) -> str:
        raise TransportError("connection", "nobody listens")

    client = Client([MockTransport(dead, "one"), MockTransport(dead, "two")], LLMConfig(model="m", timeout_s=5))
    started = time.monotonic()
    with pytest.raises(NoEndpointError) as caught:
        await client.complete([request(i) for i in range(36)])
    assert time.monotonic() - started < 5
    assert "one: connection: nobody listens" in str(caught.value)
    assert "two: connection: nobody listens" in str(caught.value)
    assert client.take_records().num_rows > 0


async def test_a_lone_question_to_a_dead_endpoint_finds_out_too() -> None:
    def dead(prompt: Prompt) -> str:
        raise TransportError("connection", "nobody listens")

    client = Client([MockTransport(dead)], LLMConfig(model="m", timeout_s=5))
    with pytest.raises(NoEndpointError):
        await client.complete([request()])


async def test_an_endpoint_that_comes_back_is_used_again() -> None:
    down = True

    def handler(prompt: Prompt) -> str:
        if down:
            raise TransportError("server", "starting")
        return obedient(prompt)

    client = Client([MockTransport(obedient)], LLMConfig(model="m", timeout_s=30))
    client._asker.pool.endpoints[0].transport = MockTransport(handler)
    client._asker.pool.endpoints[0].answered = True

    async def rise() -> None:
        nonlocal down
        await asyncio.sleep(0.4)
        down = False

    done, _ = await asyncio.gather(client.complete([request(i) for i in range(20)]), rise())
    assert sum(c.status == "ok" for c in done) >= 18
    assert not client._asker.pool.endpoints[0].opened


async def test_a_transport_that_ignores_its_time_out_is_cut_off() -> None:
    async def never(prompt: Prompt) -> str:
        await asyncio.sleep(60)
        return ""

    client = Client([MockTransport(never)], LLMConfig(model="m", timeout_s=0.05, attempts=1))
    started = time.monotonic()
    with pytest.raises(NoEndpointError, match="timeout: no answer within 0.05 s"):
        await client.complete([request(i) for i in range(8)])
    assert time.monotonic() - started < 4


async def test_retry_after_is_honoured_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    client = Client([failing(["overloaded"], retry_after_s=3.0)], LLMConfig(model="m"))
    await client.complete([request()])
    assert 3.0 in waits
    client = Client([failing(["overloaded"], retry_after_s=1e6)], LLMConfig(model="m"))
    await client.complete([request()])
    assert max(waits) == asking_module.LONGEST_RETRY_AFTER_S


async def test_jitter_is_repeatable_and_differs_between_questions() -> None:
    error = TransportError("server", "x")
    waits = [asking_module.wait_s(error, asking_module.bits(1, request(i), 7, 1), 1) for i in range(50)]
    again = [asking_module.wait_s(error, asking_module.bits(1, request(i), 7, 1), 1) for i in range(50)]
    assert waits == again
    assert len(set(waits)) == 50
    first = asking_module.FIRST_WAIT_S
    assert all(0.5 * first <= w <= first for w in waits)


async def test_the_journal_has_each_answer_before_it_is_used() -> None:
    journalled: list[dict[str, Any]] = []
    client = Client(
        [failing(["server"])], LLMConfig(model="m"), journal=lambda rows: journalled.extend(map(dict, rows))
    )
    await client.complete([request(1)])
    assert [row["status"] for row in journalled] == ["failed", "ok"]
    assert journalled == client.take_records().to_pylist()


async def test_a_journal_that_cannot_write_stops_the_call() -> None:
    def journal(rows: Any) -> None:
        raise OSError("disk full")

    client = Client([MockTransport(obedient)], LLMConfig(model="m"), journal=journal)
    with pytest.raises(OSError, match="disk full"):
        await client.complete([request(1), request(2)])


async def test_prompts_are_kept_of_whom_is_asked_for() -> None:
    for keep in ({}, {"keep_prompt": lambda agent: agent < 7}):
        client = Client([MockTransport(obedient)], LLMConfig(model="m"), **keep)  # type: ignore[arg-type]
        await client.complete([request(i) for i in range(20)])
        kept = [row["agent_id"] for row in client.take_records().to_pylist() if row["prompt"] is not None]
        assert kept == (list(range(7)) if keep else [])


class TestRecorded:
    async def record(self, transport: MockTransport, n: int = 4, **config: Any) -> Any:
        client = Client([transport], LLMConfig(model="m", **config))
        done = await client.complete([request(i) for i in range(n)])
        return done, client.take_records()

    async def test_recorded_answers_are_not_asked_again(self) -> None:
        done, rows = await self.record(failing(["server", "malformed"]))
        asked: list[dict[str, Any]] = []
        client = Client([], LLMConfig(model="m"), recorded=RecordedAnswers(rows), journal=asked.extend)  # type: ignore[arg-type]
        again = await client.complete([request(i) for i in range(4)])
        assert [(c.status, c.value, c.attempts) for c in again] == [(c.status, c.value, c.attempts) for c in done]
        assert client.take_records() == rows
        assert asked == []
        assert client.usage.asked == 0

    async def test_failures_are_replayed_as_failures(self) -> None:
        done, rows = await self.record(MockTransport(lambda p: "no json"), n=2)
        client = Client([], LLMConfig(model="m"), recorded=RecordedAnswers(rows))
        again = await client.complete([request(i) for i in range(2)])
        assert [c.status for c in again] == [c.status for c in done] == ["invalid"] * 2
        done, rows = await self.record(failing(["refused"]), n=1)
        client = Client([], LLMConfig(model="m"), recorded=RecordedAnswers(rows))
        assert (await client.complete([request(0)]))[0].status == "failed"

    async def test_attempts_that_were_cut_short_go_on_where_they_stopped(self) -> None:
        _, rows = await self.record(failing(["server", "server"]), n=1)
        half = RecordedAnswers(rows.slice(0, 1))
        transport = MockTransport(obedient)
        client = Client([transport], LLMConfig(model="m"), recorded=half)
        done = (await client.complete([request(0)]))[0]
        assert (done.status, done.attempts) == ("ok", 2)
        assert client.take_records()["attempt"].to_pylist() == [1, 2]

    async def test_failed_questions_are_asked_again_when_wanted(self) -> None:
        _, rows = await self.record(failing(["overloaded"] * 4), n=1)
        assert rows["status"].to_pylist() == ["failed"] * 4
        for done_steps, status in ((None, "failed"), (1, "failed"), (0, "ok")):
            recorded = RecordedAnswers(rows, retry_after_step=done_steps)
            client = Client([MockTransport(obedient)], LLMConfig(model="m"), recorded=recorded)
            done = (await client.complete([request(0)]))[0]
            assert done.status == status
        assert done.attempts == 5

    async def test_what_was_not_recorded_is_an_error_without_endpoints(self) -> None:
        client = Client([], LLMConfig(model="m"), recorded=RecordedAnswers([]))
        with pytest.raises(InferenceError, match="no recorded answer .* agent 0 at step 1"):
            await client.complete([request(0)])

    async def test_another_model_or_prompt_is_another_question(self) -> None:
        _, rows = await self.record(MockTransport(obedient), n=1)
        transport = MockTransport(obedient)
        client = Client([transport], LLMConfig(model="other"), recorded=RecordedAnswers(rows))
        await client.complete([request(0)])
        assert len(transport.prompts) == 1


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200) | st.from_regex(r'\{"agent": ?[0-9nulNaIfity.-]{0,9}\}'))
def test_no_answer_whatever_it_is_crashes_the_client(text: str) -> None:
    async def ask() -> None:
        client = Client([MockTransport(lambda p: Reply(text))], LLMConfig(model="m", attempts=1))
        done = (await client.complete([request(1)]))[0]
        assert done.status in ("ok", "invalid")
        assert client.take_records().num_rows == 1

    asyncio.run(ask())


async def test_lone_surrogates_in_an_answer_can_be_recorded() -> None:
    client = Client([MockTransport(lambda p: "\ud800 \x00")], LLMConfig(model="m", attempts=1))
    assert (await client.complete([request(1)]))[0].status == "invalid"
    assert client.take_records()["response"].to_pylist() == ["? \x00"]


async def test_deep_nesting_is_an_invalid_answer() -> None:
    client = Client([MockTransport(lambda p: "[" * 200_000)], LLMConfig(model="m", attempts=1))
    assert (await client.complete([request(1)]))[0].status == "invalid"


async def test_order_of_replies_changes_nothing() -> None:
    def shuffled(seed: int) -> MockTransport:
        async def answer(prompt: Prompt) -> str:
            await asyncio.sleep((hash((seed, json.dumps(prompt.messages))) % 1000) / 100_000)
            return obedient(prompt)

        return MockTransport(answer)

    tables = []
    for seed in range(3):
        client = Client([shuffled(seed)], LLMConfig(model="m", concurrency=3 + 5 * seed))
        await client.complete([request(i) for i in range(40)])
        tables.append(client.take_records().drop_columns(["latency_ms"]))
    assert tables[0] == tables[1] == tables[2]


async def test_questions_given_up_on_are_in_the_records_too() -> None:
    async def waits(prompt: Prompt) -> str:
        await asyncio.sleep(60)
        return ""

    client = Client([MockTransport(waits)], LLMConfig(model="m", concurrency=5))
    asking = asyncio.ensure_future(client.complete([request(i) for i in range(9)]))
    while client.usage.in_flight < 5:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    rows = client.take_records().to_pylist()
    assert [row["agent_id"] for row in rows] == [0, 1, 2, 3, 4]
    assert {row["error"].split(":")[0] for row in rows} == {"cancelled"}
    assert client.usage.failed == client.usage.asked == 5


async def test_a_distribution_that_was_recorded_is_not_asked_for_by_another_agent() -> None:
    """As after a kill: the first agent's answer is in the journal, the second's row is not."""

    def letters(agent: int) -> InferenceRequest:
        same = (("system", "One letter."), ("user", "A yes, B no"))
        return InferenceRequest(1, agent, 0, "decide", same, str, max_tokens=1, labels=("A", "B"), options=(1, 2))

    odds = (("A", -0.5), ("B", -1.5))
    model = MockTransport(lambda prompt: Reply("A", logprobs=odds))
    client = Client([model], LLMConfig(model="m"))
    both = await client.complete([letters(3), letters(5)])
    rows = client.take_records()
    assert len(model.prompts) == 1
    assert both[0].value == both[1].value == pytest.approx((-0.5, -1.5))
    assert rows["reused"].to_pylist() == [None, True]
    replayed = Client([], LLMConfig(model="m"), recorded=RecordedAnswers(rows))
    await replayed.complete([letters(5), letters(3)])
    assert replayed.take_records().equals(rows)
    again = Client([model], LLMConfig(model="m"), recorded=RecordedAnswers(rows.slice(0, 1)))
    assert [c.value for c in await again.complete([letters(3), letters(5)])] == [c.value for c in both]
    assert len(model.prompts) == 1


@pytest.mark.parametrize("fault", ["timeout", "failed"])
async def test_an_answer_for_several_is_found_again_however_often_it_was_tried(fault: str) -> None:
    """Who was given another's answer asked once, and its row says so, though the first had to try again."""
    same = (("system", "One letter."), ("user", "A yes, B no"))
    questions = [
        InferenceRequest(1, agent, 0, "decide", same, str, max_tokens=1, labels=("A", "B"), options=(1, 2))
        for agent in (3, 5, 7)
    ]
    left = [TransportError("timeout", "late")] * (1 if fault == "timeout" else 9)

    def answer(prompt: Prompt) -> Reply:
        if left:
            raise left.pop()
        return Reply("A", logprobs=(("A", -0.5), ("B", -1.5)))

    client = Client([MockTransport(answer)], LLMConfig(model="m", attempts=3))
    first = await client.complete(questions)
    rows = client.take_records()
    replayed = Client([], LLMConfig(model="m", attempts=3), recorded=RecordedAnswers(rows))
    again = await replayed.complete(questions)
    assert [(c.status, c.value) for c in again] == [(c.status, c.value) for c in first]
    assert {c.status for c in first} == {"ok" if fault == "timeout" else "failed"}
    assert replayed.take_records().equals(rows)


async def test_what_nobody_asks_is_recorded_once_also_when_found_again() -> None:
    """Each batch of a step asks for the letters without content."""
    same = (("system", "One letter."), ("user", "A N/A, B N/A"))
    question = InferenceRequest(1, -1, 0, "calibrate", same, str, max_tokens=1, labels=("A", "B"), options=(0, 1))
    model = MockTransport(lambda prompt: Reply("A", logprobs=(("A", -0.5), ("B", -1.5))))
    client = Client([model], LLMConfig(model="m"))
    await client.complete([question, question])
    await client.complete([question])
    rows = client.take_records()
    assert len(rows) == len(model.prompts) == 1
    again = Client([], LLMConfig(model="m"), recorded=RecordedAnswers(rows))
    await again.complete([question, question])
    await again.complete([question])
    assert again.take_records().equals(rows)
