"""How servers of language models do while a run goes on: prefix-cache hits and queues, read beside it now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from oasis.interfaces import InferenceClient, ReadsMetrics, ServerMetrics
from oasis.runs.manifest import Load

__all__ = ["LoadWatch", "ServerLoad"]

EVERY_S = 2.0
"""Between readings. A page of vLLM 0.32 is 51 kB, which it takes 0.2 ms to read."""
LAST_S = 0.5
"""Longest wait for the last reading, at the end of a run."""


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server did since the run began, also for others that asked it; None each where it does not say.

    Attributes
    ----------
    endpoint : str
    prompt_tokens, cached_tokens : int or None
        Tokens of prompts, and those of them that were in its prefix cache.
    running, waiting : int or None
        Requests in work and queued at the last reading.
    most_running, most_waiting : int or None
        Over all readings.
    """

    endpoint: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    running: int | None = None
    waiting: int | None = None
    most_running: int | None = None
    most_waiting: int | None = None

    def after(self, last: ServerMetrics | None, now: ServerMetrics) -> ServerLoad:
        """Return it after another reading; `last` is the one before, None for the first, which counts from then on.

        Counters that went back are those of a server that was started again: all of them is new.
        """
        prompt, cached = _gained(last, now)
        return ServerLoad(
            self.endpoint,
            _sum(self.prompt_tokens, prompt),
            _sum(self.cached_tokens, cached),
            now.running,
            now.waiting,
            _most(self.most_running, now.running),
            _most(self.most_waiting, now.waiting),
        )


class LoadWatch:
    """Reads the metrics of a run's servers every `EVERY_S` and adds up what changed.

    Parameters
    ----------
    inference : InferenceClient or None
        Asked if it `ReadsMetrics`.
    """

    def __init__(self, inference: InferenceClient | None) -> None:
        self._inference = inference if isinstance(inference, ReadsMetrics) else None
        self._loads: dict[str, ServerLoad] = {}
        self._last: dict[str, ServerMetrics] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, known: Sequence[Load]) -> None:
        """Begin to watch; `known` is what the manifest of a run that goes on says."""
        for load in known:
            tokens = load.prompt_tokens, load.cached_tokens
            most = load.most_running, load.most_waiting
            self._loads[load.endpoint] = ServerLoad(load.endpoint, *tokens, None, None, *most)
        if self._inference is not None:
            self._task = asyncio.ensure_future(self._watch())

    @property
    def loads(self) -> list[ServerLoad]:
        """What is known of each server now; empty where none gives metrics."""
        return [self._loads[endpoint] for endpoint in list(self._last)]

    def kept(self) -> list[Load]:
        """Return what the manifest keeps."""
        return [
            Load(
                endpoint=load.endpoint,
                prompt_tokens=load.prompt_tokens,
                cached_tokens=load.cached_tokens,
                most_running=load.most_running,
                most_waiting=load.most_waiting,
            )
            for load in self._loads.values()
        ]

    async def settle(self) -> None:
        """Read a last time, where there was something to read."""
        if self._last:
            try:
                async with asyncio.timeout(LAST_S):
                    await self._read()
            except TimeoutError:
                pass

    def give_up(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            await self._read()
            await asyncio.sleep(EVERY_S)

    async def _read(self) -> None:
        assert self._inference is not None
        try:
            found = await self._inference.metrics()
        except Exception:  # of anybody's client: a run does not fail for this
            return
        for now in found:
            load = self._loads.get(now.endpoint, ServerLoad(now.endpoint))
            self._loads[now.endpoint] = load.after(self._last.get(now.endpoint), now)
            self._last[now.endpoint] = now


def _gained(last: ServerMetrics | None, now: ServerMetrics) -> tuple[int | None, int | None]:
    """Return how much the two counters, which start together, grew."""
    after = now.prompt_tokens, now.cached_tokens
    before = after if last is None else (last.prompt_tokens, last.cached_tokens)
    if any(b is not None and a is not None and a < b for a, b in zip(after, before, strict=True)):
        before = (0, 0)
    prompt, cached = (None if a is None else a - (b or 0) for a, b in zip(after, before, strict=True))
    return prompt, cached


def _sum(total: int | None, gained: int | None) -> int | None:
    return total if gained is None else (total or 0) + gained


def _most(most: int | None, now: int | None) -> int | None:
    return most if now is None else max(most or 0, now)
