"""Tokens of prompts: how many, and how many are left where what prompts share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MESSAGE_TOKENS", "encode", "encode_prompts", "unshared"]

MESSAGE_TOKENS = 5
"""What a chat template puts around a message (ChatML: start, role, newline, end, newline)."""


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of texts by Llama 2's tokenizer, which comes with wordllama.

    Other vocabularies, most of them larger, take about a tenth fewer for English.
    """
    return [found.ids for found in _tokenizer().encode_batch_fast(list(texts), add_special_tokens=False)]


def encode_prompts(prompts: Sequence[tuple[tuple[str, str], ...]]) -> list[npt.NDArray[np.int32]]:
    """Return each prompt's tokens, those that a chat template adds marked by -1.

    Parameters
    ----------
    prompts : sequence of tuples of (role, content)
    """
    texts = {content: i for i, content in enumerate({c: None for prompt in prompts for _, c in prompt})}
    tokens = [np.array(ids, np.int32) for ids in encode(list(texts))]
    around = np.full(MESSAGE_TOKENS, -1, np.int32)
    return [np.concatenate([part for _, c in prompt for part in (around, tokens[texts[c]])]) for prompt in prompts]


def unshared(prompts: Sequence[npt.NDArray[np.int32]]) -> int:
    """Return how many tokens must be computed if every common prefix is computed once: the nodes of a trie.

    In sorted order a prompt shares most with the one before it, so it adds what comes after their common prefix.
    """
    ordered = sorted(prompts, key=lambda tokens: tokens.astype(">i4").tobytes())
    before: npt.NDArray[np.int32] = np.empty(0, np.int32)
    total = 0
    for tokens in ordered:
        n = min(len(before), len(tokens))
        differs = np.flatnonzero(before[:n] != tokens[:n])
        total += len(tokens) - (int(differs[0]) if len(differs) else n)
        before = tokens
    return total


@cache
def _tokenizer() -> Any:
    import wordllama
    from tokenizers import Tokenizer

    path = Path(wordllama.__file__).parent / "tokenizers" / "l2_supercat_tokenizer_config.json"
    return Tokenizer.from_file(str(path))
