"""A transport without a model: a function answers. For tests, dry runs and examples."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from oasis.inference.transport import Prompt, Reply

__all__ = ["MockTransport"]

Handler = Callable[[Prompt], "str | float | Reply | Awaitable[str | float | Reply]"]


class MockTransport:
    """Answers by calling `handler`.

    Parameters
    ----------
    handler : callable
        ``handler(prompt)`` returns a text, a `Reply`, or an awaitable of one; where the prompt has a continuation, its
        log-probability may be returned instead. It may raise `TransportError`.
    name : str
        The endpoint's name in records.

    Attributes
    ----------
    prompts : list of Prompt
        What was asked, in the order of arrival.

    Examples
    --------
    >>> transport = MockTransport(lambda prompt: '{"actions":[{"action":"do_nothing"}]}')
    >>> asyncio.run(transport.send(Prompt((("user", "hi"),), None, 10, 1.0), 1.0)).text
    '{"actions":[{"action":"do_nothing"}]}'
    """

    most_in_flight: int | None = None
    takes_seed = True

    def __init__(self, handler: Handler, name: str = "mock") -> None:
        self._handler, self.name = handler, name
        self.prompts: list[Prompt] = []

    async def send(self, prompt: Prompt, timeout_s: float) -> Reply:
        """Ask the handler."""
        self.prompts.append(prompt)
        answer = self._handler(prompt)
        if not isinstance(answer, str | float | Reply):
            answer = await answer
        await asyncio.sleep(0)  # others run in between, as they would with a server
        if isinstance(answer, Reply):
            return answer
        words = sum(len(content.split()) for _, content in prompt.messages)
        if isinstance(answer, float):
            scored = len((prompt.continuation or "").split())
            return Reply("", tokens_in=words, tokens_cached=0, tokens_out=scored, logprob=answer)
        return Reply(answer, tokens_in=words, tokens_cached=0, tokens_out=len(answer.split()), finish_reason="stop")

    async def close(self) -> None:
        """Nothing to release."""
