"""What is public is listed, sorted and there."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import oasis

PUBLIC = [
    "OasisError",
    "Question",
    "Run",
    "RunSummary",
    "Scenario",
    "Simulation",
    "StepResult",
    "branch",
    "compare",
    "lineage",
    "open_run",
    "replay",
    "resume",
    "verify",
]
MODULES = sorted(m.name for m in pkgutil.walk_packages(oasis.__path__, "oasis."))


def test_the_top_level_is_pinned() -> None:
    assert oasis.__all__ == PUBLIC
    assert all(getattr(oasis, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = oasis.no_such_name


@pytest.mark.parametrize("name", MODULES)
def test_modules_list_their_names(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    names = getattr(module, "__all__", [])
    assert all(hasattr(module, listed) for listed in names)
    assert len(names) == len(set(names))
