"""Chat completions over HTTP: vLLM, llama.cpp's server, Ollama, OpenAI, whatever has ``/v1/chat/completions``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import aiohttp
import orjson

from oasis.inference.calls import FINAL_ERROR
from oasis.inference.description import VERSION_PATHS, brief, read_description
from oasis.inference.distribution import NO_SCORES
from oasis.inference.redaction import Redaction
from oasis.inference.sender import Sender, SenderGoneError
from oasis.inference.transport import TOP_LOGPROBS, ErrorKind, Landed, Prompt, Reply, TransportError, parse_completion
from oasis.interfaces import schema_text

__all__ = ["MAX_BODY", "HttpTransport"]

MAX_BODY = 4 * 2**20
"""Bytes read of a response at most. An answer of 100,000 tokens is about 0.5 MB; assumed to be enough."""
CONNECT_TIMEOUT_S = 10.0
"""Longest wait for a connection (assumed: three lost SYN packets, at 1, 3 and 7 s)."""


class HttpTransport:
    """One OpenAI-compatible server.

    Parameters
    ----------
    base_url : str
        As `oasis.inference_config.normalise_endpoint` gives it, e.g. ``http://127.0.0.1:8000/v1``.
    model : str
        Name by which the server knows the model.
    api_key : str, optional
    mode : str
        ``json_schema``, ``json_object`` or ``text``, see `oasis.inference_config.LLMConfig`.
    sender : Sender, optional
        A process that sends requests once there are many; without it all are sent from this one.
    """

    keeps_timeout = True

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        mode: Literal["json_schema", "json_object", "text"] = "json_schema",
        sender: Sender | None = None,
    ) -> None:
        self._url, self._model, self._mode = base_url, model, mode
        self._hide = Redaction(api_key)
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender = sender
        self._number = 0 if sender is None else sender.serve(base_url, api_key)

    @property
    def name(self) -> str:
        """The base URL."""
        return self._url

    @property
    def most_in_flight(self) -> int | None:
        """As many as it gets; a server queues."""
        return None

    async def send(self, prompt: Prompt, timeout_s: float) -> Reply:
        """Ask once. No seed is sent: one per request kills a vLLM engine with chunked prefill (seen in 0.32)."""
        if prompt.continuation is not None:
            raise TransportError("refused", NO_SCORES.removeprefix(FINAL_ERROR).strip())
        body = self._body(prompt)
        if self._sender is not None and self._sender.ready:
            with contextlib.suppress(SenderGoneError):
                return await self._sender.ask(self._number, body, timeout_s)
        return await self.post(body, timeout_s)

    def start(self, prompt: Prompt, timeout_s: float, token: Any, landed: Landed) -> int | None:
        """Ask once by the process that sends requests, if it is ready; see `oasis.inference.transport.CallsBack`."""
        sender = self._sender
        if sender is None or prompt.continuation is not None or not sender.takes:
            return None
        return sender.start(self._number, self._body(prompt), timeout_s, token, landed)

    def give_up(self, number: int) -> None:
        """Wait no longer for what was started."""
        if self._sender is not None:
            self._sender.give_up(number)

    async def post(self, body: bytes, timeout_s: float) -> Reply:
        """Send a chat completion's request from this process.

        Raises
        ------
        TransportError
        """
        return parse_completion(await self._request("POST", f"{self._url}/chat/completions", timeout_s, body))

    async def models(self, timeout_s: float) -> list[str]:
        """Return the names of the models that the server offers, sorted.

        Raises
        ------
        TransportError
        """
        body = await self._request("GET", f"{self._url}/models", timeout_s)
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise TransportError("malformed", f"{self._url}/models gave no list of models")
        return sorted(str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row)

    async def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return what the server says of its model and itself: at ``/models``, ``/version`` (vLLM), ``/api/version``
        (Ollama), ``/props`` (llama.cpp). Never raises for what it answers."""
        root = self._url.removesuffix("/v1")
        urls = (f"{self._url}/models", *(root + path for path in VERSION_PATHS))
        answers = await asyncio.gather(*(self._look(url, timeout_s) for url in urls))
        found = read_description(self._model, [body for body, *_ in answers])
        found["server"] = next((server for _, server, _ in answers if server), None)
        _, _, error = answers[0]
        return found | ({"error": error} if error else {})

    async def page(self, path: str, timeout_s: float) -> str | None:
        """Return a page below the server's root as text, None where there is none."""
        url = self._url.removesuffix("/v1") + path
        try:
            async with asyncio.timeout(timeout_s), self._open().get(url, headers=self._headers) as response:
                text = self._hide((await _read(response)).decode("utf-8", "replace"))
                return text if response.status == 200 else None
        except Exception:  # of whatever aiohttp raises
            return None

    async def _look(self, url: str, timeout_s: float) -> tuple[Any, str | None, str | None]:
        """Return (answer or None, the header ``Server``, what went wrong)."""
        headers: dict[str, str] = {}
        try:
            answer = await self._request("GET", url, timeout_s, headers=headers)
        except TransportError as error:
            return None, self._header(headers), brief(str(error))
        return answer, self._header(headers), None

    def _header(self, headers: Mapping[str, str]) -> str | None:
        return brief(self._hide(headers.get("Server", "")))

    async def close(self) -> None:
        """Close connections, and end the process that sends requests."""
        if self._sender is not None:
            self._sender.end()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _body(self, prompt: Prompt) -> bytes:
        """Return the request's JSON; what many requests share is encoded once."""
        messages = b",".join([_shared_message(*prompt.messages[0]), *(_message(*m) for m in prompt.messages[1:])])
        schema = schema_text(prompt.schema) if prompt.schema is not None and self._mode != "text" else None
        form = _form(self._model, schema, self._mode == "json_schema", bool(prompt.labels))
        asked = f',"max_tokens":{prompt.max_tokens},"temperature":{prompt.temperature}'.encode()
        return b'{"messages":[%s]%s%s}' % (messages, asked, form)

    async def _request(
        self, method: str, url: str, timeout_s: float, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        """Return decoded JSON, without the key; `headers` is filled with those of the response, whatever its status."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._open().request(
                    method, url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    if headers is not None:
                        headers.update(response.headers)
                    answer = await _read(response)
                    status, retry_after = response.status, response.headers.get("Retry-After")
        except aiohttp.ServerTimeoutError as error:  # a TimeoutError too, but of the connection
            raise TransportError("connection", self._hide(f"{type(error).__name__}: {error}")[:500]) from None
        except TimeoutError:
            raise TransportError("timeout", f"no answer within {timeout_s:g} s") from None
        except TransportError:
            raise
        except Exception as error:  # aiohttp's are many, and quote URLs and headers
            raise TransportError("connection", self._hide(f"{type(error).__name__}: {error}")[:500]) from None
        if status != 200:
            raise TransportError(_kind(status), f"HTTP {status}: {self._complaint(answer)}", _seconds(retry_after))
        try:
            return self._hide.everywhere(_decoded(answer))
        except (ValueError, RecursionError) as error:
            begin = self._hide(answer[:1000].decode("utf-8", "replace"))[:80]
            raise TransportError("malformed", f"the response is not JSON ({str(error)[:100]}): {begin!r}") from None

    def _complaint(self, body: bytes) -> str:
        """Return the server's own words out of the usual shapes of an error."""
        text = body[:20_000].decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self._hide(" ".join(text.split()))[:300] or "no message"
        for key in ("error", "message", "detail"):
            if isinstance(value, dict) and key in value:
                value = value[key]
        return self._hide(str(value).encode("utf-8", "replace").decode("utf-8"))[:500]

    def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,  # so that MAX_BODY bounds what is held
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            raise TransportError("malformed", f"the response is longer than {MAX_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _message(role: str, content: str) -> bytes:
    message = {"role": role, "content": content}
    try:
        return orjson.dumps(message)
    except TypeError:  # half of a surrogate pair, which only JSON's escapes can hold
        return json.dumps(message).encode()


_shared_message = lru_cache(64)(_message)
"""For first messages, which all agents of a policy have in common."""


@lru_cache(1024)
def _form(model: str, schema: str | None, strictly: bool, labels: bool) -> bytes:
    """Return the end of a request: what is asked of whom, in which form."""
    form = f',"model":{json.dumps(model)}'
    if labels:
        form += f',"logprobs":true,"top_logprobs":{TOP_LOGPROBS}'
    elif schema is not None and strictly:
        form += f',"response_format":{{"type":"json_schema","json_schema":{{"name":"answer","schema":{schema}'
        form += ',"strict":true}}'
    elif schema is not None:
        form += ',"response_format":{"type":"json_object"}'
    return form.encode()


def _decoded(answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except ValueError:
        return json.loads(answer.decode("utf-8"))  # knows NaN and Infinity, which some servers give as odds


def _kind(status: int) -> ErrorKind:
    if status in (429, 503):
        return "overloaded"
    if status in (401, 402, 403, 404):
        return "denied"
    if status == 408 or status >= 500:
        return "server"
    return "refused"


def _seconds(header: str | None) -> float | None:
    """Return a Retry-After header in seconds; its form as a date is not honoured (clocks differ)."""
    try:
        seconds = float(header) if header is not None else math.nan
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
