"""What servers say at `/metrics` of their prefix cache and their queue: vLLM, and llama.cpp's server."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from oasis.interfaces import ServerMetrics

__all__ = ["HasPages", "MetricsReader", "read_metrics"]

PATH = "/metrics"
READ_S = 1.0
"""Longest wait for a page. vLLM answers in milliseconds, whatever its engine does."""
MISSES = 3
"""Pages that were not there, after which one that never was is not asked for again: paid services have none."""
_NAMES = {
    "prompt_tokens": tuple(
        f"vllm:{name}{end}" for name in ("prefix_cache_queries", "gpu_prefix_cache_queries") for end in ("_total", "")
    ),
    "cached_tokens": tuple(
        f"vllm:{name}{end}" for name in ("prefix_cache_hits", "gpu_prefix_cache_hits") for end in ("_total", "")
    ),
    "running": ("vllm:num_requests_running", "llamacpp:requests_processing"),
    "waiting": ("vllm:num_requests_waiting", "llamacpp:requests_deferred"),
}
"""Of several names the first that is there counts: versions that rename a counter show it under both for a while."""
_ALL = "|".join(re.escape(name) for names in _NAMES.values() for name in names)
_LINE = re.compile(rf"^({_ALL})(?:\{{.*\}})?[ \t]+(\S+)", re.MULTILINE)


@runtime_checkable
class HasPages(Protocol):
    """What a transport has besides, if its endpoint is a server with pages."""

    @property
    def name(self) -> str:
        """The endpoint's name."""
        ...

    async def page(self, path: str, timeout_s: float) -> str | None:
        """Return a page below the server's root as text, None where there is none."""
        ...


class MetricsReader:
    """Reads the metrics of endpoints again and again.

    Parameters
    ----------
    transports : sequence
        Those that are not `HasPages` have no metrics.
    """

    def __init__(self, transports: Sequence[object]) -> None:
        self._misses = {transport: 0 for transport in transports if isinstance(transport, HasPages)}

    async def read(self) -> list[ServerMetrics]:
        """Return what those endpoints say that say anything, within about `READ_S`. Never raises for what they answer.

        An endpoint that gave no metrics `MISSES` times, and never any, is not asked again.
        """
        asked = [transport for transport, misses in self._misses.items() if misses < MISSES]
        found = await asyncio.gather(*map(_read, asked))
        for transport, metrics in zip(asked, found, strict=True):
            if metrics is not None:
                self._misses[transport] = -(2**62)  # it may be silent as long as it likes
            else:
                self._misses[transport] += 1
        return [metrics for metrics in found if metrics is not None]

    @property
    def any_left(self) -> bool:
        """Whether there is an endpoint that would still be asked."""
        return any(misses < MISSES for misses in self._misses.values())


async def _read(transport: HasPages) -> ServerMetrics | None:
    try:
        page = await transport.page(PATH, READ_S)
    except Exception:  # of anybody's transport: a run does not fail for this
        return None
    return read_metrics(transport.name, page or "")


def read_metrics(endpoint: str, page: str) -> ServerMetrics | None:
    """Return what a page in Prometheus's text format says, None where it says nothing of interest.

    Samples of one name (vLLM has one per engine of a data-parallel server) are added up.
    """
    sums: dict[str, float] = {}
    for name, text in _LINE.findall(page):
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value) and 0 <= value < 2**63:
            sums[name] = sums.get(name, 0.0) + value
    if not sums:
        return None
    values = {field: next((int(sums[n]) for n in names if n in sums), None) for field, names in _NAMES.items()}
    return ServerMetrics(endpoint, **values)
