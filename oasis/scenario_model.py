"""A scenario decided for by a language model that is named from outside."""

from __future__ import annotations

from typing import Any

from oasis.errors import ScenarioError
from oasis.scenario import Scenario

__all__ = ["with_model"]


def with_model(scenario: Scenario, endpoint: str | None, model: str | None, share: float | None) -> Scenario:
    """Return the scenario with a language model from outside.

    Where no policy is ``llm``, all agents of choice policies (or a drawn `share` of all agents) become ``llm``.

    Raises
    ------
    ScenarioError
        For a share where the scenario says itself which agents are ``llm``.
    """
    values = scenario.to_dict()
    if endpoint is not None:
        values["llm"] |= {"endpoints": [endpoint], "backend": "server"}
    if model is not None:
        values["llm"]["model"] = model
    if (endpoint or share is not None) and not any(p.kind == "llm" for p in scenario.policies):
        entries: list[dict[str, Any]] = values["policies"]
        if share is not None:
            entries.insert(0, {"kind": "llm", "share": share})
        else:
            for entry in entries:
                if entry["kind"] == "choice":
                    entry.update(kind="llm", parameters={})
    elif share is not None:
        raise ScenarioError("--llm-share: the scenario says itself which agents are llm; change its [[policies]]")
    return Scenario.from_dict(values)
