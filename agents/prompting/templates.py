"""The templates in ``agents/prompts``, and the parts of prompts that are the same for all agents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

from oasis.actions import READ_ACTIONS, TEXT_ACTIONS, Action
from oasis.agents.prompting.options import DESCRIPTIONS

__all__ = ["render", "rules", "sources"]


@dataclass(frozen=True)
class _Line:
    example: str
    description: str


@cache
def _environment() -> jinja2.Environment:
    # Plain text, not HTML: what agents wrote is quoted by `oasis.agents.prompting.quoting` before it comes here.
    return jinja2.Environment(
        loader=jinja2.PackageLoader("oasis.agents", "prompts"),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Return a template of ``agents/prompts`` filled in, without white space at its ends."""
    return _environment().get_template(template).render(values).strip()


def sources() -> dict[str, str]:
    """Return the text of every template by its name."""
    environment = _environment()
    assert environment.loader is not None
    return {name: environment.loader.get_source(environment, name)[0] for name in environment.list_templates()}


def rules(platform: str, allowed: Sequence[Action], max_actions: int, max_turns: int, max_content: int) -> str:
    """Return the system message: the same bytes for every agent and step of a policy."""
    lines = {a: _Line(_example(a), DESCRIPTIONS[a][1]) for a in sorted({*allowed, Action.DO_NOTHING})}
    reads = [line for a, line in lines.items() if a in READ_ACTIONS] if max_turns > 1 else []
    return render(
        "rules.j2",
        platform={"x": "X", "reddit": "Reddit"}.get(platform, platform),
        actions=[line for a, line in lines.items() if a not in READ_ACTIONS and a is not Action.DO_NOTHING],
        reads=reads,
        max_actions=max_actions,
        max_turns=max_turns,
        max_content=max_content,
    )


def _example(action: Action) -> str:
    item: dict[str, Any] = {"action": action.label}
    if DESCRIPTIONS[action][0]:
        item[DESCRIPTIONS[action][0]] = "N"
    if action in TEXT_ACTIONS:
        item["content"] = "..."
    return json.dumps(item, separators=(",", ":")).replace('"N"', "N")
