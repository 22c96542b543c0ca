"""Selections take the rows that they name."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from oasis.errors import ScenarioError
from oasis.randomness import Draws, agent_keys
from oasis.selection import Selection, SelectionField, select

FRAME = pl.DataFrame(
    {
        "agent_id": np.arange(100, dtype=np.int32),
        "group": ["red", "blue", None, "red"] * 25,
        "followers": [i % 10 for i in range(100)],
    }
)
KEYS = agent_keys(np.arange(100))


def _select(seed: int = 1, **keys: object) -> list[int]:
    return select(Selection.model_validate(keys), FRAME, "agent_id", Draws(seed), KEYS, "policies.0").tolist()


def test_ids_and_conditions() -> None:
    assert _select(ids=[7, 3]) == [3, 7]
    assert _select(where={"group": "blue"}) == list(range(1, 100, 4))
    nines = [i for i in range(100) if i % 10 == 9 and FRAME["group"][i]]
    assert _select(where={"group": ["red", "blue"], "followers": {"min": 9}}) == nines
    assert _select(ids=[0, 1, 2], where={"group": "red"}) == [0]


def test_top_breaks_ties_by_draw() -> None:
    taken = [_select(seed, top="followers", count=15) for seed in range(20)]
    for ids in taken:
        assert set(range(9, 100, 10)) <= set(ids)
        assert all(i % 10 in (8, 9) for i in ids)
    assert len({tuple(ids) for ids in taken}) > 1


def test_shares_and_counts_are_drawn_and_nested() -> None:
    assert len(_select(count=30)) == 30
    small, large = _select(share=0.2), _select(share=0.5)
    assert set(small) <= set(large)
    assert 10 < len(small) < 35
    assert _select(share=0.0) == []
    assert len(_select(share=1.0)) == 100


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ids": [100]}, "no agent_id 100; allowed: 0 to 99"),
        ({"where": {"grop": "red"}}, "did you mean 'group'"),
        ({"top": "folowers", "count": 1}, "did you mean 'followers'"),
        ({"where": {"followers": "many"}}, "does not fit"),
    ],
)
def test_errors_name_the_place(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ScenarioError, match="policies.0") as error:
        _select(**keys)
    assert message in str(error.value)


def test_shorthand_and_contradictions() -> None:
    adapter: TypeAdapter[Selection] = TypeAdapter(SelectionField)
    assert adapter.validate_python(3).ids == [3]
    assert adapter.validate_python([3, 4]).ids == [3, 4]
    for wrong in ({"top": "followers"}, {"count": 1, "share": 0.5}, {"share": 1.5}, {"share": float("nan")}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
