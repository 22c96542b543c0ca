"""Components by name, found through entry points: the built-in ones through the same door as anybody's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import ValidationError

from oasis.errors import PluginError, ScenarioError, nearest
from oasis.interfaces import Parameters

__all__ = ["GROUPS", "available", "load", "parse_parameters"]

GROUPS = ("platforms", "recommenders", "policies", "activations", "embedders", "experiments")

_SINGULAR = {group: group.removesuffix("s") for group in GROUPS} | {"policies": "policy"}
_EXPECTED = {"model_type": "a table", "dict_type": "a table", "list_type": "a list"}

_P = TypeVar("_P", bound=Parameters)
Loc = tuple[int | str, ...]


def available(group: str) -> tuple[str, ...]:
    """Return the names of the installed components of a group, sorted."""
    return tuple(sorted({e.name for e in entry_points(group=f"oasis.{group}")}))


def load(group: str, name: str) -> Any:
    """Return the component class registered as `name` in entry point group ``oasis.<group>``.

    Raises
    ------
    PluginError
        If there is none; the message names the nearest one.
    """
    for entry in entry_points(group=f"oasis.{group}"):
        if entry.name == name:
            return entry.load()
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
