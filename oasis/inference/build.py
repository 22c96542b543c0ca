"""From the scenario's ``[llm]`` table to a client."""

from __future__ import annotations

import os
from pathlib import Path

from oasis.errors import InputError
from oasis.inference.accounting import Journal, KeepPrompt, Meter
from oasis.inference.calls import RecordedAnswers
from oasis.inference.client import Client
from oasis.inference.http import HttpTransport
from oasis.inference.local import PACKAGED_LABEL, LocalTransport
from oasis.inference.sender import Sender
from oasis.inference.transport import Transport
from oasis.inference_config import LLMConfig

__all__ = ["api_key", "build_client", "model_name"]


def build_client(
    config: LLMConfig,
    seed: int,
    journal: Journal | None = None,
    recorded: RecordedAnswers | None = None,
    keep_prompt: KeepPrompt = lambda agent_id: False,
    *,
    offline: bool = False,
    meter: Meter | None = None,
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
        sender = Sender()
        transports = [HttpTransport(url, config.model, key, config.mode, sender) for url in config.endpoints]
    return Client(
        transports, config, seed=seed, journal=journal, recorded=recorded, keep_prompt=keep_prompt, meter=meter
    )


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
