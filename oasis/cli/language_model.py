"""Options that name a language model."""

from __future__ import annotations

import json
from pathlib import Path

import click

from oasis.errors import ScenarioError
from oasis.scenario import Scenario
from oasis.scenario_model import llm_changes

__all__ = ["changed_keys", "check_asked", "endpoint_option", "model_option", "model_path_option"]

endpoint_option = click.option(
    "--llm", "endpoint", metavar="URL", help="OpenAI-compatible server (http://...), or 'local': none, in this process."
)
model_option = click.option("--model", metavar="NAME", help="Model that the server knows by this name.")
model_path_option = click.option(
    "--model-path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="GGUF file to run in this process (implies --llm local).",
)


def changed_keys(endpoint: str | None, model_path: Path | None = None) -> list[str]:
    """Return `llm_changes` as ``KEY=VALUE``, for runs that go on."""
    changes = llm_changes(endpoint, None, model_path)
    return [f"llm.{key}={json.dumps(value)}" for key, value in changes.items() if value is not None]


def check_asked(scenario: Scenario, model: str | None) -> None:
    """Refuse a `model` from outside that no agent would be decided for by.

    Raises
    ------
    ScenarioError
    """
    if model is not None and not any(policy.kind == "llm" for policy in scenario.policies):
        raise ScenarioError("--model: no agent is decided for by a language model; give --llm URL too, or --llm-share")
