"""Every built-in recommender passes the public suite, found by name like anybody's own."""

from __future__ import annotations

import pytest

from oasis.interfaces import Recommender
from oasis.plugins import available, load
from oasis.testing.recommender import RecommenderTests

NAMES = ("random", "chronological", "hot", "interest", "collaborative", "trending")


def test_all_built_in_recommenders_are_tested() -> None:
    assert set(NAMES) <= set(available("recommenders"))


class TestBuiltIn(RecommenderTests):
    @pytest.fixture(autouse=True, params=NAMES)
    def named(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def recommender(self) -> Recommender:
        recommender: Recommender = load("recommenders", self.name).from_parameters({})
        return recommender
