"""What each attempt was and cost: its row for the records, the journal and the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from oasis.inference.calls import CallRecords, prompt_text
from oasis.inference.transport import Reply
from oasis.interfaces import Completion, InferenceRequest

__all__ = ["Account", "Journal", "KeepPrompt", "Meter", "Usage"]

Journal = Callable[[Sequence[Mapping[str, Any]]], None]
"""Called with the rows of attempts that ended together (fields of `oasis.records.LLM_CALLS`) before their answers are
used."""
KeepPrompt = Callable[[int], bool]
"""Called with an agent's id: whether the rows of its attempts keep their prompts."""


_NOTHING = Reply("")


class Meter(Protocol):
    """What a budget is counted with."""

    def count(self, row: Mapping[str, Any]) -> None:
        """Count an attempt, asked now or recorded earlier."""
        ...

    def gate(self, in_flight: int) -> None:
        """Raise `BudgetError` where no request may be sent besides those in flight."""
        ...


@dataclass
class Usage:
    """What has been used so far, for progress; answers from the journal are not counted.

    Attributes
    ----------
    asked : int
        Attempts sent.
    ok, failed, invalid : int
        Attempts that ended so.
    tokens_in, tokens_cached, tokens_out : int
        As the servers reported them.
    in_flight : int
    """

    asked: int = 0
    ok: int = 0
    failed: int = 0
    invalid: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    in_flight: int = 0


class Account:
    """Rows of attempts, journalled, counted and kept.

    Parameters
    ----------
    model : str
    journal : callable or None
    keep_prompt : callable
    meter : Meter or None
    """

    def __init__(self, model: str, journal: Journal | None, keep_prompt: KeepPrompt, meter: Meter | None) -> None:
        self.usage = Usage()
        self._model, self._journal, self._keep_prompt, self._meter = model, journal, keep_prompt, meter
        self._records = CallRecords()

    def record(
        self, done: Completion, reply: Reply | None, hashed: int, attempt: int, endpoint: str | None, latency_ms: float
    ) -> None:
        """Write an attempt down; without an endpoint it is the answer that somebody else was given in this step."""
        self.write([self.row(done, reply, hashed, attempt, endpoint, latency_ms)])

    def row(
        self, done: Completion, reply: Reply | None, hashed: int, attempt: int, endpoint: str | None, latency_ms: float
    ) -> dict[str, Any]:
        """Return an attempt's row."""
        request = done.request
        told = reply or _NOTHING
        return {
            "step": request.step,
            "agent_id": request.agent_id,
            "turn": request.turn,
            "attempt": attempt,
            "purpose": request.purpose,
            "endpoint": endpoint,
            "model": self._model,
            "tokens_in": told.tokens_in,
            "tokens_cached": told.tokens_cached,
            "tokens_out": told.tokens_out,
            "latency_ms": float(np.float32(latency_ms)),  # as the column holds it
            "status": done.status,
            "error": done.error,
            "cut": request.cut,
            "prompt_hash": hashed,
            "prompt": prompt_text(_asked(request)) if self._keep_prompt(request.agent_id) else None,
            "response": reply.text if reply else None,
            "options": list(request.options) if request.options else None,
            "logprobs": _logprobs(done),
            "reused": True if endpoint is None else None,
        }

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write attempts down that ended together."""
        if self._journal is not None:
            self._journal(rows)
        usage = self.usage
        for row in rows:
            self.keep(row)
            if row["endpoint"] is None:
                continue
            status = row["status"]
            usage.ok += status == "ok"
            usage.failed += status == "failed"
            usage.invalid += status == "invalid"
            usage.tokens_in += row["tokens_in"] or 0
            usage.tokens_cached += row["tokens_cached"] or 0
            usage.tokens_out += row["tokens_out"] or 0

    def keep(self, row: dict[str, Any]) -> None:
        """Keep a row that was recorded before."""
        self._records.add(row)
        if self._meter is not None:
            self._meter.count(row)

    def take(self) -> pa.Table:
        """Return and forget the rows since the last call."""
        return self._records.take()


def _asked(request: InferenceRequest) -> tuple[tuple[str, str], ...]:
    """Return what was asked as messages; a text that was scored is the last."""
    scored = () if request.continuation is None else (("assistant", request.continuation),)
    return (*request.messages, *scored)


def _logprobs(done: Completion) -> list[float] | None:
    if done.status != "ok":
        return None
    if done.request.continuation is not None:
        return [done.value]
    return list(done.value) if done.request.labels else None
