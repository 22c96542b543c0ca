"""What the servers of language models say of themselves: asked beside a run, which neither waits for it nor fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oasis.inference import build_client
from oasis.interfaces import DescribesServers, InferenceClient
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts

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
    """Descriptions of a run's servers, as they come in.

    Parameters
    ----------
    inference : InferenceClient or None
        Asked if it `DescribesServers`.
    """

    def __init__(self, inference: InferenceClient | None) -> None:
        self._inference = inference
        self._task: asyncio.Task[list[dict[str, Any]]] | None = None

    def ask(self) -> None:
        """Begin to ask."""
        if isinstance(self._inference, DescribesServers):
            self._task = asyncio.ensure_future(self._inference.describe())

    def news(self, known: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the field ``servers`` of the manifest with what came in, nothing where all of it is `known`."""
        if self._task is None or not self._task.done() or self._task.cancelled() or self._task.exception():
            return {}
        new = [server for server in self._task.result() if server not in known]
        return {"servers": [*known, *new]} if new else {}

    async def settle(self) -> None:
        """Wait a moment for what has not come in yet."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_GRACE_S)

    def give_up(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
