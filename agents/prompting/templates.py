"""The templates in ``agents/prompts``, and the parts of prompts that are the same for all agents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2

from oasis.actions import READ_ACTIONS, TEXT_ACTIONS, Action
from oasis.agents.prompting.options import ALONE, takes_number

__all__ = ["choice_rules", "render", "rules", "sources"]


_NAMES = {"x": "X", "reddit": "Reddit"}
_HINTS: Mapping[Action, str] = {
    Action.CREATE_GROUP: "a name",
}
"""What an action's name does not say by itself."""


@cache
def _environment() -> jinja2.Environment:
    # Plain text, not HTML: what agents wrote is quoted by `oasis.agents.prompting.quoting` before it comes here.
    return jinja2.Environment(
        loader=jinja2.PackageLoader("oasis.agents", "prompts"),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def render(template: str, **values: Any) -> str:
    """Return a template of ``agents/prompts`` filled in, without white space at its ends."""
    return _environment().get_template(template).render(values).strip()


def sources() -> dict[str, str]:
    """Return the text of every template by its name."""
    environment = _environment()
    assert environment.loader is not None
    return {name: environment.loader.get_source(environment, name)[0] for name in environment.list_templates()}


def choice_rules(platform: str) -> str:
    """Return the system message of choices among letters."""
    return render("choose.j2", platform=_NAMES.get(platform, platform))


def rules(platform: str, allowed: Sequence[Action], max_actions: int, max_turns: int, max_content: int) -> str:
    """Return the system message: the same bytes for every agent and step of a policy."""
    acts = [a for a in sorted(allowed) if a not in ALONE]
    reads = [a for a in sorted(allowed) if a in READ_ACTIONS] if max_turns > 1 else []
    example = min(acts, key=lambda a: (a != Action.CREATE_COMMENT, not takes_number(a)), default=Action.DO_NOTHING)
    return render(
        "rules.j2",
        platform=_NAMES.get(platform, platform),
        example=_example(example),
        acts=_by_form([*acts, Action.DO_NOTHING]),
        reads=_by_form(reads),
        max_actions=max_actions,
        max_turns=max_turns,
        max_content=max_content,
    )


def _by_form(actions: Sequence[Action]) -> dict[str, list[str]]:
    """Return the names of actions with their hints, by what they need: nothing, ``n``, ``content``, both."""
    found: dict[str, list[str]] = {}
    for action in actions:
        needs = ["n"] * takes_number(action) + ["content"] * (action in TEXT_ACTIONS)
        hint = f" ({_HINTS[action]})" if action in _HINTS else ""
        found.setdefault(", ".join(needs), []).append(f"{action.label}{hint}")
    return found


def _example(action: Action) -> str:
    item: dict[str, Any] = {"action": action.label}
    if takes_number(action):
        item["n"] = 4
    if action in TEXT_ACTIONS:
        item["content"] = "..."
    return json.dumps({"actions": [item]}, separators=(",", ":"))
