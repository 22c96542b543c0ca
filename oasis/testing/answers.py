"""Answers made from a JSON schema: a model that always obeys, and chooses by hash."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from typing import Any

__all__ = ["answer_from_schema", "logprob_of", "odds_of_letters", "wrong_ids"]

_WORDS = ["rain", "coffee", "match", "market", "river", "music", "train", "garden", "vote", "film"]


def answer_from_schema(schema: dict[str, Any] | None, key: str) -> str:
    """Return compact JSON that fits `schema` (a sentence without one): a pure function of both.

    Knows what this project's schemas use: objects, arrays, ``anyOf``, ``enum``, ``const``, strings, numbers.
    """
    return "it is raining" if schema is None else json.dumps(_value(schema, key), separators=(",", ":"))


def logprob_of(messages: Sequence[tuple[str, str]], text: str) -> float:
    """Return the log-probability of a text as the answer: a hash of both, 2 to 5 for each word."""
    return -len(text.split()) * (2.0 + 3.0 * _pick(json.dumps([messages, text]), 1000) / 1000)


def odds_of_letters(question: str, key: str, outside: float = 0.002) -> list[tuple[str, float]]:
    """Return log-probabilities of the lettered options at the end of a question, and of one other token.

    Without content all letters are alike; else their odds are a hash of the option's words and `key`.
    """
    options = re.findall(r"(?:^|, |\? )([A-T]) ([^,]+)", question.splitlines()[-2])
    weights = [1.0 if words == "N/A" else 0.1 + _pick(f"{key}/{words}", 1000) / 1000 for _, words in options]
    total = sum(weights) / (1 - outside)
    odds = [(letter, math.log(weight / total)) for (letter, _), weight in zip(options, weights, strict=True)]
    return [*odds, ("Well", math.log(outside) if outside else -99.0)]


def wrong_ids(schema: dict[str, Any] | None, key: str) -> str:
    """Return an answer of the right form with every integer replaced by one that nobody was shown."""
    text = answer_from_schema(schema, key)
    try:
        return json.dumps(_spoil(json.loads(text)), separators=(",", ":"))
    except ValueError:
        return text


def _value(schema: dict[str, Any], key: str) -> Any:
    if "anyOf" in schema:
        return _value(schema["anyOf"][_pick(key + "/any", len(schema["anyOf"]))], key + "/any")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][_pick(key + "/enum", len(schema["enum"]))]
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(part, f"{key}/{name}") for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        low = schema.get("minItems", 0)
        count = low + _pick(key + "/n", schema.get("maxItems", low + 2) - low + 1)
        return [_value(schema["items"], f"{key}/{i}") for i in range(count)]
    if kind == "string":
        words = [_WORDS[_pick(f"{key}/{i}", len(_WORDS))] for i in range(4)]
        return " ".join(words)[: schema.get("maxLength", 1000)]
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 100)
        share = _pick(key + "/x", 1001) / 1000
        value = low + share * (high - low)
        return round(value) if kind == "integer" else value
    if kind == "boolean":
        return _pick(key, 2) == 1
    raise ValueError(f"no answer to a schema of type {kind!r}")


def _pick(key: str, n: int) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") % n


def _spoil(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _spoil(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_spoil(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return 2_000_000_000
    return value
