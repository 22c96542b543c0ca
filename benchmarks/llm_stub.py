"""A server that answers at once: what is measured against it is the client's own cost.

    python benchmarks/llm_stub.py

Prints its port, serves ``/v1/chat/completions`` until standard input is closed, then prints as JSON how many requests
came and the processor seconds that they took it. It reads just enough HTTP to find a body's end. An agent likes the
first post that it may like, or does nothing; a request for log-probabilities gets the letters A to D.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LIKE = re.compile(rb'"like_post".*?"enum": ?\[(\d+)')
_LOGPROBS = b'"top_logprobs"'


def _body(content: str, logprobs: list[dict[str, object]] | None = None) -> bytes:
    choice: dict[str, object] = {"index": 0, "finish_reason": "stop"}
    choice["message"] = {"role": "assistant", "content": content}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": content, "logprob": -0.5, "top_logprobs": logprobs}]}
    usage = {"prompt_tokens": 500, "completion_tokens": 15, "prompt_tokens_details": {"cached_tokens": 300}}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


_NOTHING = _response(_body('{"actions":[{"action":"do_nothing"}]}'))
_LETTERS = [{"token": t, "logprob": p} for t, p in zip("ABCD", (-0.7, -1.2, -2.3, -3.0), strict=True)]
_DISTRIBUTION = _response(_body("A", _LETTERS))


class Stub(asyncio.Protocol):
    """One connection."""

    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            found = _LENGTH.search(self.buffer, 0, head)
            end = head + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < end:
                return
            body = bytes(self.buffer[head + 4 : end])
            del self.buffer[:end]
            Stub.served += 1
            self.transport.write(_answer(body))  # type: ignore[attr-defined]


def _answer(body: bytes) -> bytes:
    if _LOGPROBS in body:
        return _DISTRIBUTION
    liked = _LIKE.search(body, max(0, body.find(b'"response_format"')))
    if liked is None:
        return _NOTHING
    like = {"action": "like_post", "n": int(liked[1])}
    return _response(_body(json.dumps({"actions": [like]})))


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stub, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    before = time.process_time()
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps({"requests": Stub.served, "cpu_s": time.process_time() - before}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
