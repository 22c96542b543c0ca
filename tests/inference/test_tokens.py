"""Counting tokens, and those left when common prefixes are computed once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oasis.inference.tokens import MESSAGE_TOKENS, encode, encode_prompts, unshared

SEQUENCES = st.lists(st.lists(st.integers(-1, 3), max_size=6), max_size=12)


@given(SEQUENCES)
def test_unshared_counts_the_nodes_of_a_trie(sequences: list[list[int]]) -> None:
    prefixes = {tuple(s[: i + 1]) for s in sequences for i in range(len(s))}
    assert unshared([np.array(s, np.int32) for s in sequences]) == len(prefixes)


def test_prompts_are_their_messages_and_what_a_template_adds() -> None:
    shared, own = "You are one user of a network.", ("I like tea.", "I like trains.")
    prompts = [(("system", shared), ("user", text)) for text in own]
    tokens = encode_prompts(prompts)
    counts = [len(ids) for ids in encode([shared, *own])]
    assert [len(t) for t in tokens] == [counts[0] + n + 2 * MESSAGE_TOKENS for n in counts[1:]]
    assert unshared(tokens) < sum(len(t) for t in tokens) - counts[0]


def test_a_word_is_few_tokens() -> None:
    assert 3 <= len(encode(["The quick brown fox"])[0]) <= 8
    assert encode([""]) == [[]]
