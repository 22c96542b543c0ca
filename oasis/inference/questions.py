"""A question on its way through the client, and the questions that are asked together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from oasis.inference.calls import FINAL_ERROR
from oasis.inference.endpoints import Endpoint, Sent
from oasis.inference.transport import Prompt, TransportError
from oasis.interfaces import Completion, InferenceRequest

__all__ = ["Batch", "Question"]


@dataclass(slots=True, eq=False)
class Question:
    """A request, what goes to an endpoint for it, and how far it has come.

    Attributes
    ----------
    batch, position : Batch, int
        With whom it is asked, and where its answer belongs.
    hashed : int
        Of everything that shapes the answer.
    limit : int
        Most attempts, recorded ones included.
    done : Completion
        What came of the last attempt.
    asked : asyncio.Future or None
        Where others wait for the same answer.
    endpoint : Endpoint or None
        Who was asked last.
    error : TransportError or None
        What went wrong then.
    flight : tuple or None
        Endpoint, number and time of an attempt that was sent without a task, by
        `oasis.inference.transport.CallsBack`.
    """

    batch: Batch
    position: int
    request: InferenceRequest
    prompt: Prompt
    hashed: int
    limit: int
    done: Completion
    asked: asyncio.Future[Completion] | None = None
    endpoint: Endpoint | None = None
    error: TransportError | None = None
    flight: tuple[Endpoint, int, Sent] | None = None

    @property
    def refused(self) -> bool:
        """Whether it was given up at once."""
        return (self.done.error or "").startswith(FINAL_ERROR)

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to ask."""
        return self.done.status == "ok" or self.done.attempts >= self.limit or self.refused


class Batch:
    """Requests whose completions are waited for together.

    Attributes
    ----------
    requests : sequence of InferenceRequest
    begun : int
        How many of them have been begun.
    over : asyncio.Future
        Done when all are answered; holds the first error otherwise.
    tasks : set of asyncio.Task
        Of questions that need more than one attempt, or have to wait for an endpoint.
    flights : dict
        Questions in flight without a task, by position.
    """

    def __init__(self, requests: Sequence[InferenceRequest]) -> None:
        self.requests = requests
        self.begun = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()
        self.flights: dict[int, Question] = {}
        self._completions: list[Completion | None] = [None] * len(requests)
        self._left = len(requests)

    def finish(self, position: int, completion: Completion) -> None:
        """Keep an answer."""
        self._completions[position] = completion
        self._left -= 1
        if not self._left and not self.over.done():
            self.over.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End it with an error; of several the first counts."""
        if not self.over.done():
            self.over.set_exception(error)

    def completions(self) -> list[Completion]:
        """Return the answers in the order of the requests."""
        return [completion for completion in self._completions if completion is not None]
