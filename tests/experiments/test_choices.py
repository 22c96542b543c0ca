"""Answers out of given options."""

from __future__ import annotations

import pytest

from oasis.experiments.choices import answer_schema, one_of


def test_an_answer_is_one_of_the_options() -> None:
    assert answer_schema(("A", "B"))["properties"]["answer"] == {"type": "string", "enum": ["A", "B"]}
    assert answer_schema(range(1, 4))["properties"]["answer"] == {"type": "integer", "enum": [1, 2, 3]}
    assert one_of(("A", "B"))(' {"answer": "B"} ') == "B"
    assert one_of(range(1, 4))('{"answer": 3.0}') == 3
    assert one_of(["Yes, it was", "No"], fold=True)('{"answer": " yes, IT was"}') == "Yes, it was"


@pytest.mark.parametrize(
    "text", ['{"answer": "a"}', '{"answer": true}', '{"answer": null}', '"A"', '{"answer": ["A"]}', "A"]
)
def test_anything_else_is_refused(text: str) -> None:
    for options in (("A", "B"), range(1, 4)):
        with pytest.raises(ValueError, match="none of the options|Expecting value"):
            one_of(options)(text)
