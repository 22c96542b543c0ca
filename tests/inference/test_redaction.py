"""A key is found in whatever notation a server repeats it, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.inference.redaction import HIDDEN, Redaction

KEY = 'sk-proj/Ab+9"\\&x =<012345>'
NOTATIONS = {
    "as it is": KEY,
    "capitals": KEY.upper(),
    "percent": quote(KEY, safe=""),
    "form": quote_plus(KEY),
    "percent, small": quote(KEY, safe="").lower(),
    "json": json.dumps(KEY),
    "json in json": json.dumps(json.dumps(KEY)),
    "json, slashes": json.dumps(KEY).replace("/", "\\/"),
    "json, codes": "".join(f"\\u{ord(c):04x}" for c in KEY),
    "repr": repr(KEY),
    "html": html.escape(KEY),
    "html, codes": "".join(f"&#{ord(c)};" for c in KEY),
    "html, hexadecimal": "".join(f"&#x{ord(c):X};" for c in KEY),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_notations(notation: str) -> None:
    hidden = Redaction(KEY)(f"I got {NOTATIONS[notation]}, sorry")
    assert HIDDEN in hidden
    assert "012345" not in hidden
    assert hidden.startswith("I got ")
    assert hidden.endswith(", sorry")


@given(key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8), before=st.binary(max_size=7))
def test_base64_wherever_it_begins(key: str, before: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        hidden = Redaction(key)(encode(before + key.encode() + b":").decode())
        assert HIDDEN in hidden
        assert len(hidden) - len(HIDDEN) <= -(-len(before) * 8 // 6) + 5  # its neighbours' digits, and the padding


def test_everywhere_in_an_answer() -> None:
    answer = {"id": [KEY, 3, None, {"a": f"for {KEY}"}], KEY: 1.5}
    assert Redaction(KEY).everywhere(answer) == {"id": [HIDDEN, 3, None, {"a": f"for {HIDDEN}"}], HIDDEN: 1.5}


@pytest.mark.parametrize("key", [None, "", "EMPTY", "sk-no"])
def test_what_stands_for_no_key_is_a_word_like_others(key: str | None) -> None:
    text = f"EMPTY sk-no {key}"
    assert Redaction(key)(text) is text
