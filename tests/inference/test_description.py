"""What servers say of themselves is read from whatever they answer, and costs nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from oasis.inference import MockTransport, build_client
from oasis.inference import client as client_module
from oasis.inference.client import Client
from oasis.inference_config import LLMConfig
from oasis.testing.servers import FAULTS, StubServer

MODELS = {"data": [{"id": "stub", "root": "/models/stub-1", "owned_by": "vllm", "created": 17}]}
ALIAS = {"data": [{"id": "a.gguf", "owned_by": "llamacpp"}]}
PATHS = ("/v1/models", "/version", "/api/version", "/props")


async def described(url: str, **keys: Any) -> dict[str, Any]:
    client = build_client(LLMConfig.model_validate({"endpoints": [url], "model": "stub", **keys}), seed=1)
    try:
        (found,) = await client.describe()
    finally:
        await client.close()
    assert client.take_records().num_rows == client.usage.asked == 0
    return json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("pages", "reported", "version"),
    [
        (
            {"/v1/models": MODELS, "/version": {"version": "0.32.0"}},
            {"id": "stub", "root": "/models/stub-1", "owned_by": "vllm"},
            "0.32.0",
        ),
        ({"/v1/models": ALIAS, "/props": {"build_info": "b7000"}}, {"id": "a.gguf", "owned_by": "llamacpp"}, "b7000"),
        ({"/api/version": {"version": "0.5.1"}}, {"id": "stub"}, "0.5.1"),
        ({"/v1/models": {"data": [{"id": "x"}, {"id": "y"}]}}, None, None),
        (
            {"/v1/models": {"data": [{"id": ["x"], "root": "a\ud800\x00\n" + 900 * "b"}]}},
            {"root": "a? " + 197 * "b"},
            None,
        ),
        ({"/v1/models": {"data": {"id": "x"}}, "/version": ["1"], "/props": {"build_info": 7}}, None, None),
    ],
)
async def test_models_and_versions(pages: dict[str, Any], reported: Any, version: str | None) -> None:
    with StubServer(pages=pages) as server:
        found = await described(server.url)
    assert found["endpoint"] == server.url
    assert found["server"].startswith("Python/")
    assert (found["model"], found["reported"], found["version"]) == ("stub", reported, version)
    assert "error" not in found


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_goes_wrong_is_noted_and_over_soon(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "DESCRIBE_S", 0.4)
    with StubServer(pages=dict.fromkeys(PATHS, f"<{fault}>"), hang_s=30, huge_bytes=8 * 2**20) as server:
        async with asyncio.timeout(5):
            found = await described(server.url)
    assert found["reported"] is found["version"] is None
    if fault in ("500", "429", "hang", "cut", "not_json", "bad_utf8", "huge", "cut_body"):
        assert found["error"]


async def test_a_server_that_hangs_on_one_page_tells_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "DESCRIBE_S", 0.4)
    with StubServer(pages={"/version": "<hang>", "/props": {"build_info": "b1"}}, hang_s=30) as server:
        found = await described(server.url)
    assert (found["reported"], found["version"]) == ({"id": "stub"}, "b1")


async def test_nobody_listens() -> None:
    with StubServer() as server:
        pass
    assert "connection" in (await described(server.url))["error"]


async def test_no_key_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "sk-0123456789")
    pages = {"/version": {"version": "for sk-0123456789"}, "/v1/models": {"data": [{"id": "sk-0123456789"}]}}
    with StubServer(pages=pages, api_key="sk-0123456789") as server:
        found = await described(server.url, api_key_env="SECRET_KEY")
    assert found["version"] == "for [api key]"
    assert "sk-0123456789" not in json.dumps(found)


async def test_transports_that_cannot_or_fail() -> None:
    class Failing(MockTransport):
        async def describe(self, timeout_s: float) -> dict[str, Any]:
            raise KeyError("what")

    found = await Client([MockTransport(lambda p: "", "a"), Failing(lambda p: "", "b")]).describe()
    assert [(f["endpoint"], f["reported"], f.get("error")) for f in found] == [
        ("a", None, None),
        ("b", None, "KeyError"),
    ]
