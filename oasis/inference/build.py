"""From the scenario's ``[llm]`` table to a client, and the checks of ``oasis doctor``."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oasis.errors import InputError, nearest
from oasis.inference.calls import RecordedAnswers
from oasis.inference.client import Client, Journal, KeepPrompt
from oasis.inference.http import HttpTransport
from oasis.inference.local import PACKAGED_LABEL, LocalTransport
from oasis.inference.transport import Prompt, Transport, TransportError
from oasis.inference_config import LLMConfig, normalise_endpoint

__all__ = ["EndpointReport", "api_key", "build_client", "check_endpoint", "model_name"]


def build_client(
    config: LLMConfig,
    seed: int,
    journal: Journal | None = None,
    recorded: RecordedAnswers | None = None,
    keep_prompt: KeepPrompt = lambda agent_id: False,
    *,
    offline: bool = False,
) -> Client:
    """Return the client that a scenario's ``[llm]`` table describes.

    Parameters
    ----------
    offline : bool
        Ask nobody: every answer must be in `recorded` (replay). Neither endpoints, keys nor packages are needed.

    Raises
    ------
    InputError
        If no endpoint, model, key or package is there.
    """
    config = config.model_copy(update={"model": model_name(config)})
    transports: list[Transport] = []
    if not offline and config.backend == "local":
        transports = [LocalTransport(config.model_path, config.context_tokens)]
    elif not offline:
        if not config.endpoints:
            raise InputError(
                "this scenario asks a language model and has no endpoint; give --llm URL --model NAME, or in [llm]"
                ' endpoints and model, or backend = "local" for llama.cpp in this process'
            )
        if config.model is None:
            raise InputError(
                "llm.model is not set; give --model NAME, or model in [llm], with the name by which the server knows it"
                f" (listed at {config.endpoints[0]}/models)"
            )
        key = api_key(config)
        transports = [HttpTransport(url, config.model, key, config.mode) for url in config.endpoints]
    return Client(transports, config, seed=seed, journal=journal, recorded=recorded, keep_prompt=keep_prompt)


def model_name(config: LLMConfig) -> str | None:
    """Return the model's name in records: for the backend ``local`` made of its file's, unless it is given."""
    if config.model is not None or config.backend == "server":
        return config.model
    return PACKAGED_LABEL if config.model_path is None else Path(config.model_path).stem


def api_key(config: LLMConfig) -> str | None:
    """Return the key out of the environment variable that the configuration names.

    Raises
    ------
    InputError
        If it names one that is not set, or whose value cannot stand in a header.
    """
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env, "").strip()
    if not key:
        raise InputError(f"llm.api_key_env: the environment variable {config.api_key_env} is not set; export it first")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"llm.api_key_env: the value of {config.api_key_env} has characters that no key can have")
    return key


@dataclass(frozen=True)
class EndpointReport:
    """What an endpoint said.

    Attributes
    ----------
    url : str
    ok : bool
        Whether it answered a question in the form asked for.
    models : list of str
        What it offers.
    message : str
        One line for people.
    latency_ms : float or None
    """

    url: str
    ok: bool
    models: list[str]
    message: str
    latency_ms: float | None = None


_PROBE: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


async def check_endpoint(
    url: str, model: str | None = None, api_key: str | None = None, timeout_s: float = 10.0
) -> EndpointReport:
    """Ask an endpoint for its models and one short question under a schema. Never raises for what it answers.

    Raises
    ------
    InputError
        If `url` is no URL.
    """
    try:
        url = normalise_endpoint(url)
    except ValueError as error:
        raise InputError(str(error)) from None
    transport = HttpTransport(url, model or "", api_key)
    models: list[str] = []
    try:
        try:
            models = await transport.models(timeout_s)
        except TransportError as error:
            if error.kind in ("connection", "timeout"):
                return EndpointReport(url, False, [], str(error))
        chosen = model or (models[0] if models else "")
        if model is not None and models and model not in models:
            # Some servers (llama.cpp) answer to any name; the question below decides.
            hint = f"; it lists {', '.join(models)}{nearest(model, models)}"
        else:
            hint = ""
        asking = HttpTransport(url, chosen, api_key)
        prompt = Prompt(
            (("user", 'Is water wet? Answer as JSON: {"answer":"yes"} or {"answer":"no"}'),), _PROBE, 32, 0.0
        )
        started = time.monotonic()
        try:
            reply = await asking.send(prompt, timeout_s)
        except TransportError as error:
            return EndpointReport(url, False, models, f"{error}{hint}")
        finally:
            await asking.close()
        latency = 1000.0 * (time.monotonic() - started)
        if reply.text.strip() not in ('{"answer":"yes"}', '{"answer":"no"}', '{"answer": "yes"}', '{"answer": "no"}'):
            message = (
                f'{chosen} answers, but not under the schema: {reply.text[:80]!r}; try [llm] mode = "json_object"{hint}'
            )
            return EndpointReport(url, False, models, message, latency)
        return EndpointReport(url, True, models, f"{chosen} answers under a schema{hint}", latency)
    finally:
        await transport.close()
        await asyncio.sleep(0)
