"""Requests sent by a process of their own come out as those sent from here, whatever happens to the process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from oasis import Scenario, Simulation, open_run
from oasis.inference import Client, HttpTransport, Prompt, Reply, TransportError, build_client
from oasis.inference import asking as asking_module
from oasis.inference import build as build_module
from oasis.inference import sender as sender_module
from oasis.inference.sender import Sender
from oasis.inference_config import LLMConfig
from oasis.simulation import StepResult
from oasis.testing.inference import Answerer, InferenceClientTests, request
from oasis.testing.servers import FAULTS, StubServer

PROMPT = Prompt((("system", "Rules."), ("user", "What do you do?")), None, 8, 1.0)
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "available", lambda: 2)
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.01)


async def started(sender: Sender) -> None:
    async with asyncio.timeout(30):
        while not sender.ready:
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(what: object, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


class _Apart(HttpTransport):
    """Waits for the process before the first request."""

    async def send(self, prompt: Prompt, timeout_s: float) -> object:  # type: ignore[override]
        assert self._sender is not None
        if self._sender.pid is None:
            self._sender._left = 1
        await started(self._sender)
        return await super().send(prompt, timeout_s)


class TestClientWithSender(InferenceClientTests):
    """All that is asked of any client."""

    @pytest.fixture(autouse=True)
    def _servers(self, monkeypatch: pytest.MonkeyPatch) -> object:
        monkeypatch.setattr(build_module, "HttpTransport", _Apart)
        self.running: list[StubServer] = []
        self.clients: list[Client] = []
        yield
        for client in self.clients:
            asyncio.run(client.close())
        for server in self.running:
            server.stop()

    def make(self, answer: Answerer) -> Client:
        def script(body: dict, nth: int) -> str:  # type: ignore[type-arg]
            messages = tuple((m["role"], m["content"]) for m in body["messages"])
            return answer(Prompt(messages, body["response_format"]["json_schema"]["schema"], 1, 1.0))

        server = StubServer(script=script).start()
        self.running.append(server)
        client = build_client(LLMConfig(endpoints=[server.url], model="stub"), seed=1)
        self.clients.append(client)
        return client


CASES = (None, *FAULTS, "no server")
ANSWERED = (None, "wrong_ids", "cut_answer")


async def _outcome(transport: HttpTransport) -> object:
    try:
        return await transport.send(PROMPT, 0.5)
    except TransportError as error:
        return error.kind, error.reason, error.retry_after_s


async def _outcomes(urls: Mapping[str | None, str], sender: Sender | None) -> dict[str | None, object]:
    transports = {case: HttpTransport(url, "stub", KEY, sender=sender) for case, url in urls.items()}
    if sender is not None:
        await started(sender)
    found = {case: await _outcome(transport) for case, transport in transports.items()}
    assert sender is None or sender.ready
    for transport in transports.values():
        await transport.close()
    return found


@cache
def outcomes() -> tuple[dict[str | None, object], dict[str | None, object]]:
    """Return what a request came to in each case, sent from here and by one process for all."""
    urls: dict[str | None, str] = {}
    with ExitStack() as stack:
        for case in CASES:
            faults = ["500" if case in (None, "no server") else str(case)]
            share = 0.0 if case is None else 1.0
            server = StubServer(share=share, faults=faults, hang_s=5.0, huge_bytes=8 * 2**20, api_key=KEY)
            urls[case] = stack.enter_context(server).url
            if case == "no server":
                server.stop()
        return asyncio.run(_outcomes(urls, None)), asyncio.run(_outcomes(urls, Sender(worthwhile=1)))


@pytest.mark.parametrize("case", CASES)
def test_answers_and_faults_are_the_same_from_both(case: str | None) -> None:
    here, there = outcomes()
    assert here[case] == there[case]
    assert isinstance(there[case], Reply) == (case in ANSWERED)
    assert KEY not in str(there[case])


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_requests_in_flight_survive_the_process(way: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "GRACE_S", 0.3)

    async def ask(client: Client, sender: Sender) -> list[object]:
        await started(sender)
        pid = sender.pid
        assert pid is not None
        asked = asyncio.create_task(client.complete([request(i) for i in range(40)]))
        while client.usage.asked < 40:
            await asyncio.sleep(0.01)
        os.kill(pid, way)
        found = await asked
        assert not sender.ready
        assert not alive(pid)
        await client.close()
        return [(c.status, c.value, c.attempts) for c in found]

    with StubServer(delay_s=1.0) as server:
        sender = Sender(worthwhile=1)
        transport = HttpTransport(server.url, "stub", sender=sender)
        config = LLMConfig(endpoints=[server.url], model="stub", timeout_s=1.5)
        found = asyncio.run(ask(Client([transport], config, seed=1), sender))
    assert [status for status, *_ in found] == ["ok"] * 40  # type: ignore[misc]
    assert {attempts for *_, attempts in found} == {1}  # type: ignore[misc]


def test_a_request_that_is_given_up_is_given_up_at_the_server() -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        await reader.read()
        gone.set()
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        sender = Sender(worthwhile=1)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        transport = HttpTransport(url, "stub", sender=sender)
        await started(sender)
        asked = asyncio.create_task(transport.send(PROMPT, 60.0))
        async with asyncio.timeout(10):
            await came.wait()
            asked.cancel()
            await gone.wait()
        assert sender.ready
        await transport.close()
        server.close()

    asyncio.run(ask())


def test_it_is_started_when_it_is_worth_it_and_ends_with_the_client() -> None:
    async def ask(client: Client, sender: Sender) -> None:
        await client.complete([request(i) for i in range(19)])
        assert sender.pid is None
        await client.complete([request(19)])
        pid = sender.pid
        assert pid is not None
        await started(sender)
        await client.complete([request(i) for i in range(20, 40)])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert KEY.encode() not in command
        await client.close()
        assert not alive(pid)
        assert sender.pid is None

    with StubServer(api_key=KEY) as server:
        sender = Sender(worthwhile=20)
        transport = HttpTransport(server.url, "stub", KEY, sender=sender)
        config = LLMConfig(endpoints=[server.url], model="stub")
        asyncio.run(ask(Client([transport], config, seed=1), sender))
        assert len(server.requests) == 40


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what a closed loop cannot close
def test_a_client_serves_one_event_loop_after_another() -> None:
    def once() -> int:
        sender = Sender(worthwhile=1)
        transport = HttpTransport(server.url, "stub", sender=sender)

        async def first() -> int | None:
            await started(sender)
            await transport.send(PROMPT, 5.0)
            return sender.pid

        async def second() -> None:
            await transport.send(PROMPT, 5.0)
            assert sender.pid is None
            await transport.close()

        pid = asyncio.run(first())
        assert pid is not None
        asyncio.run(second())
        return pid

    with StubServer() as server:
        assert not alive(once())
    gc.collect()  # here, where the warning is expected


@pytest.mark.parametrize("dies", [False, True])
def test_a_run_ends_in_the_same_state_without_and_with_it(
    dies: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders: list[Sender] = []

    def made() -> Sender:
        senders.append(Sender(worthwhile=1))
        return senders[-1]

    def end_it(result: StepResult) -> None:
        if dies and result.step == 3 and (pid := senders[-1].pid) is not None:
            os.kill(pid, signal.SIGKILL)

    with StubServer() as server:
        scenario = Scenario.from_dict(
            {
                "simulation": {"steps": 6},
                "population": {"agents": 40, "mean_active": 0.9},
                "policies": [{"kind": "llm"}],
                "llm": {"endpoints": [server.url], "model": "stub"},
            }
        )
        hashes = []
        for name, make in (("without", lambda: Sender(worthwhile=0)), ("with", made)):
            monkeypatch.setattr(build_module, "Sender", make)
            monkeypatch.setattr(build_module, "HttpTransport", _Apart if name == "with" else HttpTransport)
            Simulation(scenario, tmp_path / name).run_sync(end_it if name == "with" else None)
            hashes.append(open_run(tmp_path / name).manifest.state_hash)
    assert hashes[0] == hashes[1]
    assert senders[-1].asked > 0
    calls = open_run(tmp_path / "with").llm_calls.collect()
    assert (calls["attempt"] == 1).all()
    assert calls.select("step", "agent_id").n_unique() == calls.height


def test_with_one_core_there_is_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "available", lambda: 1)

    async def ask(transport: HttpTransport, sender: Sender) -> None:
        for _ in range(3):
            await transport.send(PROMPT, 5.0)
        assert sender.pid is None
        await transport.close()

    with StubServer() as server:
        sender = Sender(worthwhile=2)
        asyncio.run(ask(HttpTransport(server.url, "stub", sender=sender), sender))


def test_the_process_ends_when_this_one_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "asking.py"
    script.write_text(
        "import asyncio\n"
        "from oasis.inference import sender\n"
        "sender.available = lambda: 2\n"
        "async def main():\n"
        "    s = sender.Sender(worthwhile=1)\n"
        "    s.serve('http://127.0.0.1:1/v1', None)\n"
        "    while not s.ready:\n"
        "        await asyncio.sleep(0.01)\n"
        "    print(s.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as asking:
        assert asking.stdout is not None
        pid = int(asking.stdout.readline())
        assert alive(pid)
        asking.kill()
    until(lambda: not alive(pid))
