"""Rows of `oasis.records.LLM_CALLS`: what an attempt was, how it is found again, and answers from earlier ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from oasis.interfaces import InferenceRequest, schema_text
from oasis.records import LLM_CALLS

__all__ = ["SORT_KEYS", "CallRecords", "RecordedAnswers", "call_table", "prompt_hash", "prompt_text"]

SORT_KEYS = ("step", "agent_id", "turn", "purpose", "prompt_hash", "attempt")
"""What names an attempt, in the order of `CallRecords.take`."""
FINAL_ERROR = "refused:"
"""How the error of an attempt begins after which a question is given up at once."""

_ROWS_AT_ONCE = 1_024

Key = tuple[int, int, int, str, int]


def prompt_text(messages: Iterable[tuple[str, str]]) -> str:
    """Return messages as compact JSON, the form in which prompts are kept."""
    return json.dumps([{"role": r, "content": c} for r, c in messages], ensure_ascii=False, separators=(",", ":"))


def prompt_hash(request: InferenceRequest, model: str, mode: str, max_tokens: int, temperature: float) -> int:
    """Return 64 bits of BLAKE2b over everything that shapes the answer: messages, schema, text to be scored,
    model and parameters."""
    form = f"{schema_text(request.schema)}{''.join(request.labels)}" if request.labels else schema_text(request.schema)
    digest = _begin(form, model, mode, max_tokens, temperature, *request.messages[0]).copy()
    for message in request.messages[1:]:
        _add(digest, *message)
    if request.continuation is not None:
        _add(digest, "continuation", request.continuation)
    return int.from_bytes(digest.digest(), "little")


@lru_cache(1024)
def _begin(
    schema: str, model: str, mode: str, max_tokens: int, temperature: float, role: str, content: str
) -> hashlib.blake2b:
    """Return the digest of what many prompts begin with."""
    text = json.dumps([schema, model, mode, max_tokens, temperature])
    digest = hashlib.blake2b(text.encode(), digest_size=8)
    _add(digest, role, content)
    return digest


def _add(digest: hashlib.blake2b, role: str, content: str) -> None:
    data = content.encode("utf-8", "surrogatepass")
    digest.update(b"%s %d %s" % (role.encode(), len(data), data))


def call_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table, sorted by `SORT_KEYS`."""
    records = CallRecords()
    for row in rows:
        records.add(row)
    return records.take()


class CallRecords:
    """Rows of attempts in the order in which they ended; kept as columns, so that very many take little memory."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._parts: list[pa.Table] = []

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        self._rows.append(row)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._pack()

    def take(self) -> pa.Table:
        """Return and forget all rows, sorted by `SORT_KEYS`."""
        self._pack()
        table = pa.concat_tables([LLM_CALLS.empty_table(), *self._parts]).unify_dictionaries().combine_chunks()
        self._parts = []
        keys = table.select(SORT_KEYS).set_column(3, "purpose", table["purpose"].cast(pa.string()))
        return table.take(pc.sort_indices(keys, [(key, "ascending") for key in SORT_KEYS]))

    def _pack(self) -> None:
        if self._rows:
            self._parts.append(pa.Table.from_pylist(self._rows, schema=LLM_CALLS))
            self._rows = []


class RecordedAnswers:
    """Answers out of earlier rows of ``llm_calls``; what is here is never asked again.

    Parameters
    ----------
    rows : pyarrow.Table or iterable of mappings
        Rows of `oasis.records.LLM_CALLS`, as `Client` records and journals them. Of two rows with the same key the
        later one counts.
    of_step : callable, optional
        ``of_step(step)`` returns further rows of a step, asked for when its first question comes; `rows` go before
        them. Those of one step are held at a time.
    retry_after_step : int, optional
        A question of a later step whose last recorded attempt failed in transport is asked again (of a run that
        stopped because its server was away); all others are taken as failed, as they were.
    """

    def __init__(
        self,
        rows: pa.Table | Iterable[Mapping[str, Any]] = (),
        retry_after_step: int | None = None,
        of_step: Callable[[int], Iterable[Mapping[str, Any]]] | None = None,
    ) -> None:
        self._retry_after_step, self._of_step = retry_after_step, of_step
        self._attempts = _by_question(rows.to_pylist() if isinstance(rows, pa.Table) else rows)
        self._further: tuple[int, Attempts] = (-1, {})

    def __len__(self) -> int:
        return len(self._attempts)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows given at the beginning."""
        return [row for attempts in self._attempts.values() for row in attempts.values()]

    def attempts(self, request: InferenceRequest, hashed: int) -> list[dict[str, Any]]:
        """Return the recorded attempts of a question in their order, those after a gap left out."""
        key = (request.step, request.agent_id, request.turn, request.purpose, hashed)
        found = self._attempts.get(key)
        if found is None and self._of_step is not None:
            if self._further[0] != request.step:
                self._further = request.step, _by_question(self._of_step(request.step))
            found = self._further[1].get(key)
        if found is None:
            return []
        rows: list[dict[str, Any]] = []
        while len(rows) + 1 in found:
            rows.append(found[len(rows) + 1])
        return rows

    def retries(self, last: Mapping[str, Any]) -> bool:
        """Return whether a question with this last attempt is asked again, as if it had not been tried."""
        after = self._retry_after_step
        return bool(last["status"] == "failed" and after is not None and last["step"] > after)

    def final(self, rows: list[dict[str, Any]], attempts: int) -> bool:
        """Return whether the recorded attempts of a question settle it."""
        if not rows:
            return False
        last = rows[-1]
        if last["status"] == "ok":
            return True
        if self.retries(last):
            return False
        answered_for_another = last["endpoint"] is None
        return len(rows) >= attempts or answered_for_another or (last["error"] or "").startswith(FINAL_ERROR)


Attempts = dict[Key, dict[int, dict[str, Any]]]


def _by_question(rows: Iterable[Mapping[str, Any]]) -> Attempts:
    attempts: Attempts = {}
    for row in rows:
        key = (row["step"], row["agent_id"], row["turn"], row["purpose"], row["prompt_hash"])
        attempts.setdefault(key, {})[row["attempt"]] = dict(row)
    return attempts
