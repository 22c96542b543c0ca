"""What the servers of language models say of themselves: asked beside a run, which neither waits for it nor fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oasis.inference import build_client
from oasis.interfaces import DescribesServers, InferenceClient
from oasis.runs.manifest import Load
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts
from oasis.simulation.load import LoadWatch, ServerLoad

__all__ = ["Servers", "describe_servers"]

_GRACE_S = 0.5  # a run that is over sooner than its servers answer waits so long at its end


def describe_servers(scenario: Scenario, parts: Parts) -> list[dict[str, Any]]:
    """Return what a scenario's servers say of themselves now; nothing where no policy asks any."""
    if not any(policy.needs_inference for policy in parts.policies):
        return []

    async def ask() -> list[dict[str, Any]]:
        client = build_client(scenario.llm, seed=0)
        try:
            return await client.describe()
        finally:
            await client.close()

    with ThreadPoolExecutor(1) as thread:  # so that it can be called inside an event loop
        return thread.submit(asyncio.run, ask()).result()


class Servers:
    """Descriptions of a run's servers, as they come in, and how they do.

    Parameters
    ----------
    inference : InferenceClient or None
        Asked if it `DescribesServers`, and watched if it `ReadsMetrics`.
    """

    def __init__(self, inference: InferenceClient | None) -> None:
        self._inference = inference
        self._task: asyncio.Task[list[dict[str, Any]]] | None = None
        self._watch = LoadWatch(inference)

    @property
    def loads(self) -> list[ServerLoad]:
        """How servers do now, of those that give metrics."""
        return self._watch.loads

    def ask(self, known: Sequence[Load]) -> None:
        """Begin to ask and to watch; `known` is the load that the manifest of a run that goes on has."""
        self._watch.begin(known)
        if isinstance(self._inference, DescribesServers):
            self._task = asyncio.ensure_future(self._inference.describe())

    def news(self, known: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the field ``servers`` of the manifest with what came in, nothing where all of it is `known`."""
        if self._task is None or not self._task.done() or self._task.cancelled() or self._task.exception():
            return {}
        new = [server for server in self._task.result() if server not in known]
        return {"servers": [*known, *new]} if new else {}

    def load(self) -> dict[str, Any]:
        """Return the field ``server_load`` of the manifest, nothing where no server gives metrics."""
        return {"server_load": kept} if (kept := self._watch.kept()) else {}

    async def settle(self) -> None:
        """Wait a moment for what has not come in yet, and look a last time how servers do."""
        await self._watch.settle()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_GRACE_S)

    def give_up(self) -> None:
        """Ask no more."""
        self._watch.give_up()
        if self._task is not None:
            self._task.cancel()
