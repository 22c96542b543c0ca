"""What an endpoint can do of what decisions by a model need: each is tried with a short question."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

from oasis.errors import InputError, nearest
from oasis.inference.distribution import label_logprobs
from oasis.inference.http import HttpTransport
from oasis.inference.metrics import read_metrics
from oasis.inference.transport import Prompt, Reply, TransportError
from oasis.inference_config import normalise_endpoint

__all__ = ["EndpointReport", "Finding", "check_endpoint"]


@dataclass(frozen=True)
class Finding:
    """One thing that an endpoint does or lacks.

    Attributes
    ----------
    what : str
    ok : bool
    message : str
        One line for people: what was seen, and what to do where it is missing.
    """

    what: str
    ok: bool
    message: str


@dataclass(frozen=True)
class EndpointReport:
    """What an endpoint said.

    Attributes
    ----------
    url : str
    ok : bool
        Whether it answered a question under a schema, which decisions by JSON need.
    models : list of str
        What it offers.
    message : str
        One line for people.
    latency_ms : float or None
    findings : list of Finding
        What else it does: log-probabilities, token counts, cached tokens, metrics.
    """

    url: str
    ok: bool
    models: list[str]
    message: str
    latency_ms: float | None = None
    findings: list[Finding] = field(default_factory=list)


COMPILING = 6
"""Patience for the first question for log-probabilities, in usual time-outs: vLLM 0.32 compiles something then (7 s;
over 10 on a busy machine)."""

_PROBE: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_SCHEMA_QUESTION = 'Is water wet? Answer as JSON: {"answer":"yes"} or {"answer":"no"}'
_LETTERS = ("A", "B")
_LETTER_QUESTION = "Is water wet? A yes, B no\nAnswer with one letter and nothing else:"


async def check_endpoint(
    url: str, model: str | None = None, api_key: str | None = None, timeout_s: float = 10.0
) -> EndpointReport:
    """Ask an endpoint for its models and short questions. Never raises for what it answers.

    Raises
    ------
    InputError
        If `url` is no URL.
    """
    try:
        url = normalise_endpoint(url)
    except ValueError as error:
        raise InputError(str(error)) from None
    listing = HttpTransport(url, model or "", api_key)
    models: list[str] = []
    try:
        models = await listing.models(timeout_s)
    except TransportError as error:
        if error.kind in ("connection", "timeout"):
            return EndpointReport(url, False, [], str(error))
    finally:
        await listing.close()
        await asyncio.sleep(0)
    chosen = model or (models[0] if models else "")
    hint = ""
    if model is not None and models and model not in models:
        # Some servers (llama.cpp) answer to any name; the question below decides.
        hint = f"; it lists {', '.join(models)}{nearest(model, models)}"
    asking = HttpTransport(url, chosen, api_key)
    try:
        report = await _under_schema(EndpointReport(url, False, models, ""), asking, chosen, hint, timeout_s)
        if report.latency_ms is None:
            return report
        more = [await _letters(asking, timeout_s), await _metrics(asking, timeout_s)]
        return replace(report, findings=[*report.findings, *more])
    finally:
        await asking.close()
        await asyncio.sleep(0)


async def _under_schema(
    report: EndpointReport, asking: HttpTransport, model: str, hint: str, timeout_s: float
) -> EndpointReport:
    started = time.monotonic()
    try:
        reply = await asking.send(Prompt((("user", _SCHEMA_QUESTION),), _PROBE, 32, 0.0), timeout_s)
    except TransportError as error:
        return replace(report, message=f"{error}{hint}")
    latency = 1000.0 * (time.monotonic() - started)
    try:
        fits = json.loads(reply.text) in ({"answer": "yes"}, {"answer": "no"})
    except ValueError:
        fits = False
    message = f"{model} answers under a schema{hint}"
    if not fits:
        message = (
            f'{model} answers, but not under the schema: {reply.text[:80]!r}; try [llm] mode = "json_object"{hint}'
        )
    return replace(report, ok=fits, message=message, latency_ms=latency, findings=[_counts(reply)])


def _counts(reply: Reply) -> Finding:
    if reply.tokens_in is None or reply.tokens_out is None:
        return Finding("token counts", False, "not told: budgets of tokens and money cannot be kept")
    if reply.tokens_cached is None:
        return Finding(
            "token counts", True, "told, but not how many were cached (vLLM: --enable-prompt-tokens-details)"
        )
    return Finding("token counts", True, "told, with those that were cached")


async def _letters(asking: HttpTransport, timeout_s: float) -> Finding:
    prompt = Prompt((("user", _LETTER_QUESTION),), None, 1, 0.0, labels=_LETTERS)
    try:
        found = label_logprobs(await asking.send(prompt, COMPILING * timeout_s), _LETTERS)
    except TransportError as error:
        return Finding("decoding = choice", False, f'{error}; use decoding = "json"')
    if found is None:
        return Finding("decoding = choice", False, 'no log-probabilities in its answers; use decoding = "json"')
    outside = max(0.0, 1.0 - sum(math.exp(p) for p in found))
    message = f"log-probabilities are there; {outside:.1%} of the answer's probability is outside the letters"
    if outside > 0.01:
        message += ": many decisions would be asked again as JSON (parameter max_outside)"
    return Finding("decoding = choice", True, message)


async def _metrics(asking: HttpTransport, timeout_s: float) -> Finding:
    found = read_metrics(asking.name, await asking.page("/metrics", timeout_s) or "")
    if found is None:
        return Finding("metrics", False, "no /metrics of vLLM or llama.cpp: cache hits and queue are not shown")
    said = []
    if found.prompt_tokens is not None:
        share = f"{(found.cached_tokens or 0) / max(found.prompt_tokens, 1):.0%} of prompt tokens"
        said.append(f"prefix cache hits: {share if found.prompt_tokens else 'none asked for yet'}")
    said.append(f"{found.running or 0} running, {found.waiting or 0} waiting")
    return Finding("metrics", True, "; ".join(said))
