"""Metrics of servers are read from whatever they answer, by names that differ between servers and versions."""

from __future__ import annotations

import pytest

from oasis.inference import Client, HttpTransport, MockTransport
from oasis.inference.metrics import MISSES, MetricsReader, read_metrics
from oasis.interfaces import ReadsMetrics, ServerMetrics
from oasis.testing.servers import StubServer

VLLM = """# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="a b} 7"} 5000.0
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created{engine="0",model_name="a"} 1.79e+09
vllm:prefix_cache_hits_total{engine="0",model_name="a"} 3.5e+03
vllm:external_prefix_cache_queries_total{engine="0",model_name="a"} 77.0
vllm:num_requests_running{engine="0",model_name="a"} 12.0
vllm:num_requests_waiting{engine="0",model_name="a"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 99.0
"""


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (VLLM, (5000, 3500, 12, 3)),
        (VLLM.replace('engine="0"', 'engine="1"') + VLLM, (10_000, 7000, 24, 6)),  # engines side by side
        # an older version; then one that shows a counter under its old and its new name
        (VLLM.replace("vllm:prefix", "vllm:gpu_prefix"), (5000, 3500, 12, 3)),
        (VLLM + VLLM.replace("vllm:prefix", "vllm:gpu_prefix").replace("vllm:num", "vllm:no"), (5000, 3500, 12, 3)),
        ("llamacpp:requests_processing 1\nllamacpp:requests_deferred 4 1700000000000\n", (None, None, 1, 4)),
        ('vllm:num_requests_running NaN\nvllm:num_requests_waiting{a="b"} 2\n', (None, None, None, 2)),
        ("vllm:prefix_cache_hits_total +Inf\nvllm:num_requests_waiting -1\nvllm:num_requests_running x\n", None),
        ("<html>vllm:num_requests_running 3</html>", None),
        ("", None),
    ],
)
def test_what_pages_say(page: str, expected: tuple[int | None, ...] | None) -> None:
    assert read_metrics("e", page) == (None if expected is None else ServerMetrics("e", *expected))


async def test_the_client_reads_those_that_have_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with StubServer(pages={"/metrics": VLLM}) as server, StubServer() as without:
        transports = [HttpTransport(s.url, "stub") for s in (server, without)]
        client = Client([*transports, MockTransport(lambda prompt: "")])
        assert isinstance(client, ReadsMetrics)
        assert await client.metrics() == [ServerMetrics(server.url, 5000, 3500, 12, 3)]
        await client.close()


class Pages:
    """A transport whose pages are given one after another."""

    name = "pages"

    def __init__(self, *pages: str | None) -> None:
        self.pages = list(pages)

    async def page(self, path: str, timeout_s: float) -> str | None:
        if not self.pages:
            raise RuntimeError("nobody's transport is without faults")
        return self.pages.pop(0)


async def test_an_endpoint_that_never_had_any_is_left_alone() -> None:
    pages = Pages(*[None] * (MISSES + 1))
    reader = MetricsReader([pages])
    for _ in range(MISSES + 1):
        assert await reader.read() == []
    assert len(pages.pages) == 1
    assert not reader.any_left


async def test_one_that_had_some_may_be_silent_for_long() -> None:
    reader = MetricsReader([Pages(None, VLLM, *[None] * (2 * MISSES), VLLM)])
    read = [len(await reader.read()) for _ in range(2 * MISSES + 3)]
    assert read == [0, 1, *[0] * (2 * MISSES), 1]
    assert await reader.read() == []  # it raises
    assert reader.any_left
