"""Both built-in platforms pass the public conformance suite."""

from __future__ import annotations

from collections.abc import Sequence

from oasis.actions import Action
from oasis.interfaces import Platform
from oasis.platforms.reddit import Reddit
from oasis.platforms.x import X
from oasis.testing.platform import PlatformTests


class TestX(PlatformTests):
    def make(self, actions: Sequence[Action] | None = None, **rules: object) -> Platform:
        return X.from_parameters(actions, rules)


class TestReddit(PlatformTests):
    def make(self, actions: Sequence[Action] | None = None, **rules: object) -> Platform:
        return Reddit.from_parameters(actions, rules)
