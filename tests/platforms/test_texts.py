"""Texts that are nothing but white space are blank, whatever the white space, in slices of columns too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from oasis.platforms.texts import is_blank

CHARACTERS = "a1~ \t\n\r\x0b\x0c\x1c\x7f\x85\xa0é\u1680\u2003\u2028\u200b\u3000\ufeff中😀"
TEXTS = st.lists(st.none() | st.text(CHARACTERS, max_size=4), max_size=12)


@given(TEXTS, st.integers(0, 5))
def test_blank(texts: list[str | None], start: int) -> None:
    column = pa.array(texts, pa.large_string()).slice(start)
    length = pc.utf8_length(pc.utf8_trim_whitespace(column)).fill_null(0)
    np.testing.assert_array_equal(is_blank(column), length.to_numpy(zero_copy_only=False) == 0)
