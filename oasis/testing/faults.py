"""The ways in which the stub server misbehaves, one response each."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from oasis.testing.answers import wrong_ids

__all__ = ["FAULTS", "Fault", "completion", "misbehave", "refusal"]

FAULTS = (
    "500",
    "429",
    "hang",
    "cut",
    "not_json",
    "wrong_ids",
    "empty_choices",
    "null_content",
    "wrong_shape",
    "bad_utf8",
    "huge",
    "cut_body",
    "reset",
    "503",
    "503_retry",
    "slow_loris",
    "cut_json",
    "cut_answer",
    "401",
    "404",
)
"""Every way to fail that `oasis.testing.servers.StubServer` knows; the first seven are those of an ordinary bad day."""

_REFUSALS = {
    "500": (500, "the engine is dead"),
    "429": (429, "too many requests"),
    "503": (503, "Loading model"),
    "503_retry": (503, "at capacity"),
    "401": (401, "The API key has expired."),
    "404": (404, "The model does not exist any more."),
}


@dataclass(frozen=True)
class Fault:
    """What a response fails with, and what it would have said.

    Attributes
    ----------
    kind : str
        One of `FAULTS`.
    schema : dict or None
        That of the question.
    answer : str
        The right one.
    key : str
        From which wrong ids are drawn.
    retry_after : str
    hang_s : float
    huge_bytes : int
    """

    kind: str
    schema: dict[str, Any] | None
    answer: str
    key: str
    retry_after: str
    hang_s: float
    huge_bytes: int


async def misbehave(request: web.Request, fault: Fault) -> web.StreamResponse:
    """Answer a request badly."""
    kind = fault.kind
    if kind in _REFUSALS:
        response = refusal(*_REFUSALS[kind])
        if kind in ("429", "503_retry"):
            response.headers["Retry-After"] = fault.retry_after
        return response
    if kind == "hang":
        await asyncio.sleep(fault.hang_s)
        return refusal(500, "hung")
    if kind in ("cut", "reset"):
        _break(request, reset=kind == "reset")
        return web.Response()
    if kind == "not_json":
        return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
    if kind == "bad_utf8":
        return web.Response(body=b'{"choices":[{"message":{"content":"\xff\xfe"}}]}', content_type="application/json")
    whole = json.dumps(completion(fault.answer, fault.key))
    if kind == "cut_json":
        return web.Response(text=whole[: len(whole) // 2], content_type="application/json")
    if kind in ("huge", "slow_loris", "cut_body"):
        return await {"huge": _huge, "slow_loris": _drip, "cut_body": _part}[kind](request, fault, whole.encode())
    broken: dict[str, Any] = {
        "wrong_ids": completion(wrong_ids(fault.schema, fault.key), fault.key),
        "empty_choices": {**completion("", fault.key), "choices": []},
        "null_content": {"choices": [{"index": 0, "message": {"role": "assistant", "content": None}}]},
        "wrong_shape": {"choices": {"0": ["what"]}, "usage": "none"},
        "cut_answer": completion(fault.answer[:-1], fault.key, "length"),
    }
    return web.json_response(broken[kind])


def completion(text: str, content: str, finish_reason: str = "stop") -> dict[str, Any]:
    """Return a chat completion; `content` is what was asked, for the counts of tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "choices": [choice],
        "usage": {
            "prompt_tokens": len(content) // 4,
            "completion_tokens": len(text) // 4 + 1,
            "prompt_tokens_details": {"cached_tokens": len(content) // 8},
        },
    }


def refusal(status: int, message: str) -> web.Response:
    """Return an error as OpenAI's servers word it."""
    return web.json_response({"error": {"message": message, "code": status}}, status=status)


def _break(request: web.Request, *, reset: bool) -> None:
    if request.transport is None:
        return
    if reset:  # a close that does not linger sends RST
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


async def _part(request: web.Request, fault: Fault, whole: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[:12])
    _break(request, reset=False)
    return response


async def _drip(request: web.Request, fault: Fault, whole: bytes) -> web.StreamResponse:
    """Answer byte by byte, over `hang_s`."""
    response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
    await response.prepare(request)
    try:
        for byte in whole:
            await response.write(bytes([byte]))
            await asyncio.sleep(fault.hang_s / len(whole))
    except OSError:
        return response  # the client has had enough
    return response


async def _huge(request: web.Request, fault: Fault, whole: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    try:
        await response.write(b'{"choices":[{"message":{"content":"')
        for _ in range(max(fault.huge_bytes >> 20, 1)):
            await response.write(b"a" * 2**20)
        await response.write(b'"}}]}')
    except OSError:
        return response  # the client has had enough
    return response
