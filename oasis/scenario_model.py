"""A scenario decided for by a language model that is named from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oasis.errors import ScenarioError
from oasis.inference import find_weights
from oasis.scenario import Scenario

__all__ = ["LOCAL", "deciding_parameters", "llm_changes", "with_model"]

LOCAL = "local"
"""What is given instead of a URL for a model in this process."""


def llm_changes(endpoint: str | None, model: str | None = None, model_path: Path | None = None) -> dict[str, Any]:
    """Return the keys of ``[llm]`` that the options change; a file is checked.

    Raises
    ------
    ScenarioError
        For a file and a server.
    InputError
        If the file is missing, or no GGUF file.
    """
    changes: dict[str, Any] = {}
    if model_path is not None:
        if endpoint not in (None, LOCAL):
            raise ScenarioError("--model-path: a server loads its own model; give --llm local, or leave it out")
        endpoint = LOCAL
    if endpoint == LOCAL:
        changes = {"backend": "local", "endpoints": []}
        if model_path is not None:
            changes["model_path"] = str(find_weights(str(model_path)).resolve())
    elif endpoint is not None:
        changes = {"backend": "server", "endpoints": [endpoint], "model_path": None}
    return changes if model is None else {**changes, "model": model}


def deciding_parameters(llm: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of agents that the model of an ``[llm]`` table decides for, where nobody says any.

    The packaged model decides by scores, for it chooses at chance.
    """
    packaged = llm.get("backend") == "local" and llm.get("model_path") is None
    return {"decoding": "score"} if packaged else {}


def with_model(
    scenario: Scenario,
    endpoint: str | None,
    model: str | None,
    share: float | None,
    model_path: Path | None = None,
    *,
    as_declared: bool = False,
) -> Scenario:
    """Return the scenario with a language model from outside.

    Where no policy is ``llm``, all agents of choice policies (or a drawn `share` of all agents) become ``llm``. With
    the packaged model they decide by scores, for it chooses at chance.

    Parameters
    ----------
    as_declared : bool
        Leave the policies as they are though none is ``llm``, for others like it say which agents are.

    Raises
    ------
    ScenarioError
        For a share where the scenario says itself which agents are ``llm``.
    """
    values = scenario.to_dict()
    values["llm"] |= llm_changes(endpoint, model, model_path)
    named = endpoint is not None or model_path is not None
    declared = as_declared or any(p.kind == "llm" for p in scenario.policies)
    if (named or share is not None) and not declared:
        entries: list[dict[str, Any]] = values["policies"]
        parameters = deciding_parameters(values["llm"])
        if share is not None:
            entries.insert(0, {"kind": "llm", "share": share, "parameters": parameters})
        else:
            for entry in entries:
                if entry["kind"] == "choice":
                    entry.update(kind="llm", parameters=parameters)
    elif share is not None:
        raise ScenarioError("--llm-share: the scenario says itself which agents are llm; change its [[policies]]")
    return Scenario.from_dict(values)
