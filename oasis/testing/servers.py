"""A stub of an OpenAI-compatible server that misbehaves on purpose, repeatably.

Whether a request fails, how, how long it takes and what is answered are hashes of (seed, request, how often this
very request came before): never of the order of arrival. An answer does not depend on the count, so a retried
question ends with the answer that it would have had at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from oasis.testing.answers import answer_from_schema, odds_of_letters
from oasis.testing.faults import FAULTS, Fault, completion, misbehave, refusal

__all__ = ["FAULTS", "StubServer"]

Script = Callable[[dict[str, Any], int], "str | None"]


@dataclass
class StubServer:
    """Serves ``/v1/chat/completions`` and ``/v1/models`` on 127.0.0.1 from a thread of its own.

    Parameters
    ----------
    share : float
        Share of requests that fail.
    faults : sequence of str
        Ways to fail, drawn with equal chances; see `FAULTS`.
    seed : int
    delay_s : float
        Longest drawn delay before an answer.
    spike_share : float
        Share of requests that take `spike_factor` times `delay_s`.
    spike_factor : float
    model : str
        The one model served; others are 404.
    api_key : str, optional
        Asked for when given; requests without it are 401.
    retry_after : str
        Header of a 429 and a 503.
    hang_s : float
        How long a hanging request hangs, and one that is answered byte by byte takes.
    huge_bytes : int
        Size of a huge answer.
    script : callable, optional
        ``script(body, nth)`` returns an answer, or the name of a fault in angle brackets (``<500>``), or None for
        the usual.
    logprobs : bool
        Whether log-probabilities are given to who asks for them.
    outside : float
        Probability of an answer that is none of the letters asked for.
    pages : mapping
        Path to the JSON or text that a GET of it gives (``"/version"``, also instead of ``"/v1/models"``), the
        name of a fault in angle brackets, or a function that returns one of these each time.

    Attributes
    ----------
    requests : list of dict
        The bodies received, in order of arrival, of those without the right key too.
    arrived : list of (float, str)
        When each came (`time.monotonic`), and what was asked.
    failed : Counter
        Faults shown, by kind.

    Examples
    --------
    >>> with StubServer() as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    share: float = 0.0
    faults: Sequence[str] = FAULTS[:7]
    seed: int = 0
    delay_s: float = 0.0
    spike_share: float = 0.0
    spike_factor: float = 20.0
    model: str = "stub"
    api_key: str | None = None
    retry_after: str = "0.05"
    hang_s: float = 60.0
    huge_bytes: int = 100 * 2**20
    script: Script | None = None
    pages: Mapping[str, Any] = field(default_factory=dict)
    logprobs: bool = True
    outside: float = 0.002
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[tuple[float, str]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        unknown = set(self.faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"unknown faults {sorted(unknown)}; known: {', '.join(FAULTS)}")
        self._counts: Counter[str] = Counter()
        self._most = self._now = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, once started."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def in_flight(self) -> int:
        """The requests that are in work."""
        return self._now

    @property
    def most_in_flight(self) -> int:
        """The most requests that were in work at once."""
        return self._most

    def start(self) -> Self:
        """Serve until `stop`."""
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the stub server did not start within 10 s")
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)
            self._loop = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/{path:.*}", self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        started.set()
        try:
            await self._stopping.wait()
        finally:
            await runner.cleanup()
            await asyncio.sleep(0.01)  # connections are closed in the loop's next rounds

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._unauthorised(request)) is not None:
            return refused
        page = self.pages.get(request.path)
        page = page() if callable(page) else page
        if isinstance(page, str) and page.startswith("<"):
            return await self._fail(request, page, None, request.path)
        if isinstance(page, str):
            return web.Response(text=page)
        if page is not None:
            return web.json_response(page)
        if request.path != "/v1/models":
            return refusal(404, "Not Found")
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        content = json.dumps([body.get("messages"), body.get("response_format")], sort_keys=True)
        self.requests.append(body)
        self.arrived.append((time.monotonic(), content))
        if (refused := self._unauthorised(request)) is not None:
            return refused
        if body.get("model") != self.model:
            return refusal(404, f"The model `{body.get('model')}` does not exist.")
        nth = self._counts[content]
        self._counts[content] += 1
        self._now += 1
        self._most = max(self._most, self._now)
        try:
            spiked = self._uniform(content, nth, "spike") < self.spike_share
            delay = self.spike_factor if spiked else self._uniform(content, nth, "delay")
            await asyncio.sleep(self.delay_s * delay)
            schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
            answer = self.script(body, nth) if self.script is not None else None
            if answer is not None and answer.startswith("<"):
                return await self._fail(request, answer, schema, content)
            if answer is None:
                if self.faults and self._uniform(content, nth, "fault") < self.share:
                    kind = self.faults[int(self._uniform(content, nth, "kind") * len(self.faults))]
                    return await self._fail(request, kind, schema, content)
                if body.get("logprobs"):
                    return web.json_response(self._odds(body, content))
                answer = answer_from_schema(schema, f"{self.seed}/{content}")
            return web.json_response(completion(answer, content))
        finally:
            self._now -= 1

    def _odds(self, body: dict[str, Any], content: str) -> dict[str, Any]:
        question = body["messages"][-1]["content"]
        odds = odds_of_letters(question, f"{self.seed}/{question[:200]}", self.outside)
        answer = completion(odds[0][0], content)
        if self.logprobs:
            tokens = [{"token": token, "logprob": p, "bytes": None} for token, p in odds]
            answer["choices"][0]["logprobs"] = {"content": [{**tokens[0], "top_logprobs": tokens}]}
        return answer

    async def _fail(
        self, request: web.Request, kind: str, schema: dict[str, Any] | None, content: str
    ) -> web.StreamResponse:
        kind = kind.strip("<>")
        self.failed[kind] += 1
        answer = answer_from_schema(schema, f"{self.seed}/{content}")
        fault = Fault(kind, schema, answer, f"{self.seed}/{content}", self.retry_after, self.hang_s, self.huge_bytes)
        return await misbehave(request, fault)

    def _unauthorised(self, request: web.Request) -> web.Response | None:
        if self.api_key is None or request.headers.get("Authorization") == f"Bearer {self.api_key}":
            return None
        return refusal(401, f"Incorrect API key provided: {request.headers.get('Authorization', 'none')}.")

    def _uniform(self, content: str, nth: int, what: str) -> float:
        text = f"{self.seed}|{what}|{nth}|{content}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") / 2.0**64
