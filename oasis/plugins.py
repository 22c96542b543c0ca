"""Components by name, found through entry points: the built-in ones through the same door as anybody's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from oasis.digests import sources_digest
from oasis.errors import PluginError, ScenarioError, nearest
from oasis.interfaces import Parameters

__all__ = ["GROUPS", "available", "load", "origin", "parse_parameters"]

GROUPS = ("platforms", "recommenders", "policies", "activations", "embedders", "experiments")

_SINGULAR = {group: group.removesuffix("s") for group in GROUPS} | {"policies": "policy"}
_EXPECTED = {"model_type": "a table", "dict_type": "a table", "list_type": "a list"}

_P = TypeVar("_P", bound=Parameters)
Loc = tuple[int | str, ...]


def available(group: str) -> tuple[str, ...]:
    """Return the names of the installed components of a group, sorted."""
    return tuple(sorted({entry.name for entry in _entries(group)}))


def load(group: str, name: str) -> Any:
    """Return the component class registered as `name` in entry point group ``oasis.<group>``.

    Raises
    ------
    PluginError
        If there is none; the message names the nearest one.
    """
    return _entry(group, name).load()


def origin(group: str, name: str) -> str:
    """Return what a component came from: distribution and version, and of one that is not ours the hash of its code.

    A plug-in that is being written changes long before its version does.

    Raises
    ------
    PluginError
        If there is none.
    """
    entry = _entry(group, name)
    came_from = "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    package = entry.module.partition(".")[0]
    if package == "oasis" or (code := _sources_of(package)) is None:
        return came_from
    return f"{came_from}, code {sources_digest(code)[:16]}"


def _sources_of(package: str) -> Path | None:
    """Return a top-level package's folder, or the file of a module; None where there is none of its own."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # ValueError: a module that was made by hand
        return None
    if spec is None or spec.origin is None or not (source := Path(spec.origin)).is_file():
        return None
    return source.parent if spec.submodule_search_locations else source


def _entries(group: str) -> Sequence[EntryPoint]:
    return _installed(group, tuple((place, _changed(place)) for place in sys.path))


def _changed(place: str) -> int:
    try:
        return os.stat(place or ".").st_mtime_ns  # an installation makes or removes a folder in it
    except OSError:
        return 0


@lru_cache(maxsize=2 * len(GROUPS))
def _installed(group: str, path: tuple[tuple[str, int], ...]) -> Sequence[EntryPoint]:
    """Return the entry points on `path`: to look for them takes milliseconds, and a run asks a dozen times."""
    return tuple(entry_points(group=f"oasis.{group}"))


def _entry(group: str, name: str) -> EntryPoint:
    for entry in _entries(group):
        if entry.name == name:
            return entry
    names = available(group)
    raise PluginError(f"no {_SINGULAR[group]} named {name!r}{nearest(name, names)}; available: {', '.join(names)}")


def parse_parameters(model: type[_P], values: Mapping[str, Any], where: str) -> _P:
    """Validate a component's parameters.

    Raises
    ------
    ScenarioError
        Naming `where`, the key, what was got, what is allowed, and for an unknown key the nearest right one.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ScenarioError(explain(error, tuple(model.model_fields), where)) from None


def explain(error: ValidationError, known: Sequence[str] | Callable[[Loc], Sequence[str]], where: str) -> str:
    """Return one line per problem of a pydantic error.

    Parameters
    ----------
    known : sequence of str, or callable
        The allowed keys, or a function of the place of an unknown key that returns them.
    """
    lines = []
    for problem in error.errors():
        location = problem["loc"]
        place = ".".join(map(str, [*([where] if where else []), *location])) or "scenario"
        if problem["type"] == "extra_forbidden":
            allowed = sorted(known(location) if callable(known) else known)
            lines.append(f"{place}: unknown key{nearest(str(location[-1]), allowed)}; allowed: {', '.join(allowed)}")
        elif problem["type"] == "missing":
            lines.append(f"{place}: is missing")
        elif problem["type"] == "value_error":  # our own: it says what was got, where that is no secret
            lines.append(f"{place}: {problem['ctx']['error']}")
        else:
            message = problem["msg"].removeprefix("Input ")
            if problem["type"] in _EXPECTED:
                message = f"should be {_EXPECTED[problem['type']]}"
            lines.append(f"{place}: {message[0].lower()}{message[1:]}, got {problem['input']!r:.200}")
    return "\n".join(lines)
