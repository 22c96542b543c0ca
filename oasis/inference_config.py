"""``[llm]``: which language model answers, where it is, and how much may go wrong."""

from __future__ import annotations

import re
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from oasis.interfaces import Parameters

__all__ = ["LLMConfig", "normalise_endpoint"]

_PATHS = ("/v1/chat/completions", "/chat/completions")


def normalise_endpoint(url: str) -> str:
    """Return an endpoint's base URL, ending in its API path: ``http://host:8000`` becomes ``http://host:8000/v1``.

    Raises
    ------
    ValueError
        If it is no http(s) URL with a host, or carries credentials, a query or a fragment.
    """
    text = url.strip()
    # Messages show no part that may hold a secret: credentials (whatever is before an @), query, fragment.
    shown = repr(re.split(r"[?#&;]", re.sub(r"(//|^).*@", r"\1...@", text, flags=re.DOTALL))[0])
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(
            f"{shown} is no URL (its host or port is malformed); write e.g. http://127.0.0.1:8000/v1"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise ValueError(f"{shown} is no http or https URL with a host; write e.g. http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ValueError(
            f"the endpoint at {parts.hostname} carries a password; put the key into an environment variable and name it"
            " in api_key_env"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"{shown} has a query or fragment; write the base URL, e.g. http://127.0.0.1:8000/v1")
    path = parts.path.rstrip("/")
    for suffix in _PATHS:
        if path.endswith(suffix):
            path = path.removesuffix("/chat/completions")
            break
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


class LLMConfig(Parameters):
    """The scenario's ``[llm]`` table.

    Attributes
    ----------
    backend : str
        ``server``: OpenAI-compatible servers at `endpoints`. ``local``: llama.cpp inside this process.
    endpoints : list of str
        Base URLs, with or without ``/v1``; requests go to the one with the fewest in flight.
    model : str, optional
        Name by which the servers know the model; for ``local`` only a label.
    model_path : str, optional
        A GGUF file for ``local``; without it the small packaged model is used, whose choices are at chance.
    api_key_env : str, optional
        Name of the environment variable that holds the API key, in capitals. The key itself is never stored.
    mode : str
        How the answer's form is asked for: ``json_schema`` constrains decoding (vLLM, llama.cpp, OpenAI),
        ``json_object`` asks for any JSON, ``text`` only describes it in the prompt. Answers are checked either way.
    concurrency : int
        Most requests in flight, over all endpoints; lowered by itself while servers refuse or time out.
    timeout_s : float
        Seconds until a request is given up. With all endpoints dead a run ends within about this time.
    attempts : int
        Most attempts per question, transport errors and malformed answers together.
    temperature : float
    max_tokens : int
        Most tokens of an answer.
    context_tokens : int
        Context window of ``local``.
    failure_limit : float
        Share of model decisions that may fail before the run stops, resumable.
    failure_window : int
        The share is judged over this many last decisions, and at the end over all.
    """

    backend: Literal["server", "local"] = "server"
    endpoints: list[str] = []
    model: str | None = None
    model_path: str | None = None
    api_key_env: str | None = None
    mode: Literal["json_schema", "json_object", "text"] = "json_schema"
    concurrency: int = Field(default=64, ge=1, le=10_000)
    timeout_s: float = Field(default=120.0, gt=0, le=3600, allow_inf_nan=False)
    attempts: int = Field(default=4, ge=1, le=20)
    temperature: float = Field(default=1.0, ge=0, le=2, allow_inf_nan=False)
    max_tokens: int = Field(default=512, ge=1, le=100_000)
    context_tokens: int = Field(default=4096, ge=256, le=1_048_576)
    failure_limit: float = Field(default=0.05, ge=0, le=1, allow_inf_nan=False)
    failure_window: int = Field(default=500, ge=1)

    @field_validator("endpoints", "api_key_env", mode="before")
    @classmethod
    def _of_text(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse another type here: what is got may hold a secret and is not to be shown."""
        if info.field_name == "api_key_env" and not isinstance(value, str | None):
            raise ValueError("must be the name of an environment variable, as text")
        if info.field_name == "endpoints" and not (
            isinstance(value, list) and all(isinstance(url, str) for url in value)
        ):
            raise ValueError('should be a list of URLs, e.g. ["http://127.0.0.1:8000/v1"]')
        return value

    @field_validator("endpoints")
    @classmethod
    def _urls(cls, value: list[str]) -> list[str]:
        urls = [normalise_endpoint(url) for url in value]
        for url in urls:
            if urls.count(url) > 1:
                raise ValueError(f"{url} is listed twice; list each endpoint once")
        return urls

    @field_validator("api_key_env")
    @classmethod
    def _name_not_key(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", value):
            # It may be the key itself (hf_..., gsk_...), so it is not repeated, and names are in capitals only.
            raise ValueError(
                "must be the name of an environment variable, in capitals (such as OPENAI_API_KEY), not the key"
            )
        return value

    @field_validator("model")
    @classmethod
    def _model_named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must not be empty; leave the key out, or write the model's name")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.backend == "local" and self.endpoints:
            raise ValueError(
                "backend 'local' runs the model in this process; remove endpoints, or set backend = \"server\""
            )
        if self.backend == "server" and self.model_path is not None:
            raise ValueError("model_path is for backend 'local'; remove it, or set backend = \"local\"")
        return self
