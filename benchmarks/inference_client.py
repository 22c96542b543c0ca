"""How many questions a second the inference client handles, against a stub server on this machine.

Prints JSON: requests per second over HTTP at several limits of concurrency, and without HTTP.

Run: ``python benchmarks/inference_client.py [REQUESTS]``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from oasis.inference import build_client
from oasis.inference_config import LLMConfig
from oasis.testing.inference import request, schema_client
from oasis.testing.servers import StubServer


async def over_http(requests: int, concurrency: int) -> float:
    """Return requests per second."""
    with StubServer(delay_s=0.02) as server:
        client = build_client(LLMConfig(endpoints=[server.url], model="stub", concurrency=concurrency), seed=1)
        started = time.perf_counter()
        await client.complete([request(i) for i in range(requests)])
        seconds = time.perf_counter() - started
        await client.close()
    return requests / seconds


async def without_http(requests: int) -> float:
    """Return requests per second of the client alone: hashing, limits, checks, records."""
    client = schema_client(concurrency=256)
    started = time.perf_counter()
    await client.complete([request(i) for i in range(requests)])
    client.take_records()
    return requests / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    result = {
        "benchmark": "inference_client",
        "requests": requests,
        "per_second_without_http": round(asyncio.run(without_http(requests))),
        "per_second_over_http": {str(c): round(asyncio.run(over_http(requests, c))) for c in (1, 16, 64, 256)},
        "stub_delay_s": "uniform in (0, 0.02); stub and client share one process",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
