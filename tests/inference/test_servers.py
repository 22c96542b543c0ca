"""The client against servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from oasis.errors import InputError, NoEndpointError
from oasis.inference import asking as asking_module
from oasis.inference import build_client, check_endpoint
from oasis.inference_config import LLMConfig
from oasis.interfaces import InferenceClient
from oasis.testing.inference import Answerer, InferenceClientTests, request
from oasis.testing.servers import FAULTS, StubServer


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.01)


def config(*servers: StubServer, **keys: object) -> LLMConfig:
    values = {"endpoints": [s.url for s in servers], "model": "stub", "timeout_s": 5.0, **keys}
    return LLMConfig.model_validate(values)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


class TestHTTPClient(InferenceClientTests):
    @pytest.fixture(autouse=True)
    def _servers(self) -> object:
        self.running: list[StubServer] = []
        yield
        for server in self.running:
            server.stop()

    def make(self, answer: Answerer) -> InferenceClient:
        from oasis.inference import Prompt

        def script(body: dict, nth: int) -> str:  # type: ignore[type-arg]
            messages = tuple((m["role"], m["content"]) for m in body["messages"])
            return answer(Prompt(messages, body["response_format"]["json_schema"]["schema"], 1, 1.0))

        server = StubServer(script=script).start()
        self.running.append(server)
        return build_client(config(server), seed=1)


INVALID = ("wrong_ids", "cut_answer")
OF_THE_ENDPOINT = ("hang", "500", "cut", "cut_body", "reset", "slow_loris", "401", "404")


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("401", "404")])
async def test_one_fault_then_an_answer(fault: str) -> None:
    def script(body: object, nth: int) -> str | None:
        return f"<{fault}>" if nth == 0 else None

    with StubServer(script=script, hang_s=30, huge_bytes=8 * 2**20) as server:
        slow = fault in ("hang", "slow_loris")  # the others come to their end without it, on a busy machine too
        client = build_client(config(server, timeout_s=1.0 if slow else 20.0), seed=1)
        done = await client.complete([request(1)])
        await client.close()
    assert done[0].status == "ok"
    rows = client.take_records().to_pylist()
    assert [row["status"] for row in rows] == ["invalid" if fault in INVALID else "failed", "ok"]
    assert rows[0]["error"]


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in OF_THE_ENDPOINT])
async def test_a_fault_at_every_attempt_is_a_failed_or_invalid_decision(fault: str) -> None:
    with StubServer(share=1.0, faults=[fault], retry_after="0", huge_bytes=5 * 2**20) as server:
        client = build_client(config(server), seed=1)
        done = await client.complete([request(1)])
        await client.close()
    assert done[0].status == ("invalid" if fault in INVALID else "failed")
    assert client.take_records().num_rows == 4


async def test_a_hundred_megabytes_are_not_read() -> None:
    with StubServer(share=1.0, faults=["huge"]) as server:
        client = build_client(config(server, attempts=1), seed=1)
        done = await client.complete([request(1)])
        await client.close()
    assert "longer than 4194304 bytes" in (done[0].error or "")


async def test_thirty_percent_faults_leave_every_question_accounted_for() -> None:
    with StubServer(share=0.3, seed=5, hang_s=30, delay_s=0.01) as server:
        client = build_client(config(server, timeout_s=2.0, concurrency=16), seed=1)
        asked = [request(i, step=step) for step in range(5) for i in range(36)]
        done = await client.complete(asked)
        await client.close()
        received = len(server.requests)
        shown = sum(server.failed.values())
    statuses = [c.status for c in done]
    assert len(done) == len(asked)
    assert statuses.count("ok") + statuses.count("failed") + statuses.count("invalid") == len(asked)
    assert statuses.count("ok") >= 0.95 * len(asked)
    rows = client.take_records().to_pylist()
    assert len(rows) == client.usage.asked == received
    assert sum(row["status"] != "ok" for row in rows) == shown
    assert set(server.failed) == set(FAULTS[:7])
    last = {}
    for row in rows:
        last[(row["step"], row["agent_id"])] = row["status"]
    assert [last[(c.request.step, c.request.agent_id)] for c in done] == statuses
    assert all(row["error"] for row in rows if row["status"] != "ok")


async def test_the_same_answers_come_whatever_the_delays_and_faults() -> None:
    texts = []
    for seed_of_faults, share, concurrency in ((1, 0.0, 4), (1, 0.2, 32)):
        with StubServer(
            share=share, faults=("429", "not_json", "wrong_ids"), seed=seed_of_faults, delay_s=0.02
        ) as server:
            client = build_client(config(server, concurrency=concurrency, attempts=10), seed=1)
            done = await client.complete([request(i) for i in range(40)])
            await client.close()
        texts.append([c.text for c in done])
    assert texts[0] == texts[1]


async def test_nobody_listens() -> None:
    url = closed_port()
    client = build_client(LLMConfig(endpoints=[url], model="m", timeout_s=5), seed=1)
    started = time.monotonic()
    with pytest.raises(NoEndpointError, match=f"{url}: connection"):
        await client.complete([request(i) for i in range(36)])
    assert time.monotonic() - started < 5
    await client.close()


@pytest.mark.parametrize("fault", ["hang", "500", "cut"])
async def test_a_server_that_only_fails_is_dead_within_about_the_time_out(fault: str) -> None:
    with StubServer(share=1.0, faults=[fault], hang_s=30) as server:
        client = build_client(config(server, timeout_s=1.0), seed=1)
        started = time.monotonic()
        with pytest.raises(NoEndpointError, match="no inference endpoint is alive"):
            await client.complete([request(i) for i in range(36)])
        assert time.monotonic() - started < 2.5
        assert client.take_records().num_rows >= 5
        await client.close()


async def test_a_server_that_dies_during_the_run_stops_it_within_about_the_time_out() -> None:
    server = StubServer().start()
    client = build_client(config(server, timeout_s=1.0), seed=1)
    assert {c.status for c in await client.complete([request(i) for i in range(10)])} == {"ok"}
    server.stop()
    started = time.monotonic()
    with pytest.raises(NoEndpointError):
        await client.complete([request(i, step=2) for i in range(36)])
    assert time.monotonic() - started < 3
    await client.close()


async def test_one_of_two_endpoints_is_dead() -> None:
    with StubServer() as server:
        client = build_client(LLMConfig(endpoints=[closed_port(), server.url], model="stub", concurrency=8), seed=1)
        done = await client.complete([request(i) for i in range(60)])
        await client.close()
    assert {c.status for c in done} == {"ok"}
    assert max(c.attempts for c in done) <= 3


async def test_unknown_model_and_wrong_key_end_at_once_in_the_servers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_KEY", "wrong")
    with StubServer(api_key="right") as server:
        client = build_client(config(server, api_key_env="STUB_KEY"), seed=1)
        with pytest.raises(NoEndpointError, match="HTTP 401: Incorrect API key"):
            await client.complete([request(1)])
        await client.close()
        monkeypatch.setenv("STUB_KEY", "right")
        client = build_client(config(server, api_key_env="STUB_KEY", model="nope"), seed=1)
        with pytest.raises(NoEndpointError, match="HTTP 404: The model `nope` does not exist"):
            await client.complete([request(1)])
        await client.close()
        client = build_client(config(server, api_key_env="STUB_KEY"), seed=1)
        assert (await client.complete([request(1)]))[0].status == "ok"
        await client.close()


async def test_a_server_that_repeats_the_key_gets_it_into_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).replace(b"\r\n", b" ").replace(b'"', b"'")
        body = b'{"choices":[{"message":{"content":"%s"}}]}' % head if len(heads) else b"I got " + head
        status = b"200 OK" if heads else b"500 Oh"
        heads.append(head)
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    heads: list[bytes] = []
    monkeypatch.setenv("STUB_KEY", "sk-very-secret")
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = build_client(
        LLMConfig(endpoints=[url], model="m", api_key_env="STUB_KEY"), seed=1, keep_prompt=lambda agent: True
    )
    await client.complete([request(1)])
    await client.close()
    server.close()
    assert b"Bearer sk-very-secret" in heads[0]
    records = str(client.take_records().to_pylist())
    assert "Bearer [api key]" in records
    assert "very-secret" not in records


async def test_tokens_are_counted() -> None:
    with StubServer() as server:
        client = build_client(config(server), seed=1)
        await client.complete([request(i) for i in range(3)])
        await client.close()
    rows = client.take_records().to_pylist()
    assert all(row["tokens_in"] > 0 and row["tokens_cached"] > 0 and row["tokens_out"] > 0 for row in rows)
    assert client.usage.tokens_in == sum(row["tokens_in"] for row in rows)


async def test_modes_of_asking_for_a_form() -> None:
    for mode, form in (("json_schema", "json_schema"), ("json_object", "json_object"), ("text", None)):
        with StubServer(script=lambda body, nth: '{"agent":1}') as server:
            client = build_client(config(server, mode=mode), seed=1)
            assert (await client.complete([request(1)]))[0].status == "ok"
            await client.close()
            assert server.requests[0].get("response_format", {}).get("type") == form
            assert "seed" not in server.requests[0]


async def test_cancelling_leaves_nothing_behind() -> None:
    with StubServer(share=1.0, faults=["hang"], hang_s=30) as server:
        client = build_client(config(server, timeout_s=20), seed=1)
        task = asyncio.create_task(client.complete([request(i) for i in range(10)]))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.usage.in_flight == 0
        assert all(e.in_flight == 0 for e in client._asker.pool.endpoints)
        await client.close()


class TestDoctor:
    async def test_a_good_endpoint(self) -> None:
        with StubServer() as server:
            report = await check_endpoint(server.url.removesuffix("/v1"), "stub")
        assert report.ok
        assert report.models == ["stub"]

    async def test_an_unknown_model_names_those_there_are(self) -> None:
        with StubServer() as server:
            report = await check_endpoint(server.url, "stubb")
        assert not report.ok
        assert "did you mean 'stub'?" in report.message

    async def test_a_server_that_ignores_schemas(self) -> None:
        with StubServer(script=lambda body, nth: "Yes, water is wet.") as server:
            report = await check_endpoint(server.url)
        assert not report.ok
        assert "json_object" in report.message

    async def test_nobody_there(self) -> None:
        report = await check_endpoint(closed_port(), timeout_s=2)
        assert not report.ok
        assert "connection" in report.message

    async def test_no_url(self) -> None:
        with pytest.raises(InputError, match="no http or https URL"):
            await check_endpoint("localhost:8000")


@pytest.mark.parametrize(
    ("server", "finding", "ok", "message"),
    [
        (StubServer(), "decoding = choice", True, "0.2% of the answer's probability is outside"),
        (StubServer(outside=0.3), "decoding = choice", True, "asked again as JSON"),
        (StubServer(logprobs=False), "decoding = choice", False, "no log-probabilities"),
        (StubServer(), "token counts", True, "told"),
        (StubServer(), "metrics", False, "no /metrics"),
        (
            StubServer(
                pages={
                    "/metrics": 'vllm:prefix_cache_queries_total{engine="0"} 200.0\n'
                    'vllm:prefix_cache_hits_total{engine="0"} 150.0\nvllm:num_requests_waiting{engine="0"} 3.0\n'
                }
            ),
            "metrics",
            True,
            "75% of prompt tokens; 0 running, 3 waiting",
        ),
    ],
)
async def test_what_an_endpoint_can_do_is_found_out(server: StubServer, finding: str, ok: bool, message: str) -> None:
    with server:
        report = await check_endpoint(server.url, "stub")
    (found,) = [f for f in report.findings if f.what == finding]
    assert found.ok == ok
    assert message in found.message


async def test_a_schema_that_is_not_kept_to_is_found_out() -> None:
    with StubServer(script=lambda body, nth: "Yes, water is wet.") as server:
        report = await check_endpoint(server.url, "stub")
    assert not report.ok
    assert "not under the schema" in report.message
