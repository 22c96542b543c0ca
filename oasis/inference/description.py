"""What an OpenAI-compatible server says of itself, read out of whatever it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["VERSION_PATHS", "brief", "read_description"]

VERSION_PATHS = ("/version", "/api/version", "/props")
"""Where vLLM, Ollama and llama.cpp's server tell their version, below the server's root."""
_MODEL_KEYS = ("id", "root", "owned_by")
_VERSION_KEYS = ("version", "build_info")
_LONGEST = 200


def brief(text: Any) -> str | None:
    """Return a text of a server as one line that fits into a file; None for what is no text."""
    if not isinstance(text, str):
        return None
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return "".join(c for c in line if c.isprintable())[:_LONGEST] or None


def read_description(model: str, answers: Sequence[Any]) -> dict[str, Any]:
    """Return ``reported`` (id, root and owner of the model) and ``version``, None each where it does not say.

    Parameters
    ----------
    model : str
        The name that is asked for.
    answers : sequence
        Decoded answers of ``/models`` and of `VERSION_PATHS`; anything, None included.
    """
    models, *versions = answers
    rows = models.get("data") if isinstance(models, dict) else None
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    # A server with one model (llama.cpp) answers to any name.
    row = next((row for row in rows if row.get("id") == model), rows[0] if len(rows) == 1 else {})
    reported = {key: text for key in _MODEL_KEYS if (text := brief(row.get(key))) is not None}
    said = (brief(v.get(key)) for v in versions if isinstance(v, dict) for key in _VERSION_KEYS)
    return {"reported": reported or None, "version": next((text for text in said if text), None)}
