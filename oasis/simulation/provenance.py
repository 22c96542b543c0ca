"""What a run is made of, for its manifest: code, components, models and input files, each so that a change shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oasis.digests import file_digest
from oasis.inference import model_name
from oasis.interfaces import RendersPrompts
from oasis.plugins import origin
from oasis.population.parquet import FILES
from oasis.runs.provenance import code_hash, code_revision, versions
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts

__all__ = ["input_digests", "provenance"]


def provenance(parts: Parts) -> dict[str, Any]:
    """Return the fields of the manifest that say what a run is made of.

    Files are named from the root, as in `Scenario.with_absolute_paths`.
    """
    asks = any(policy.needs_inference for policy in parts.policies)
    return {
        "versions": versions(),
        "code_revision": code_revision(),
        "code_hash": code_hash(),
        "components": _components(parts),
        "embedder": _embedder(parts),
        "model": model_name(parts.scenario.llm) if asks else None,
        "prompt_templates": _templates(parts),
        "inputs": input_digests(parts.scenario.with_absolute_paths()),
    }


def input_digests(scenario: Scenario) -> dict[str, str]:
    """Return path to SHA-256 of the files that a scenario names; of folders, those that are read. Those that are
    missing are left out."""
    return {str(path): file_digest(path) for named in scenario.named_files for path in _files(Path(named))}


def _files(named: Path) -> Iterator[Path]:
    if named.is_file():
        yield named
    elif (named / FILES[0]).is_file():
        yield from (named / name for name in FILES if (named / name).is_file())
    elif named.is_dir():  # of a third party's component: all of it
        yield from (p for p in sorted(named.rglob("*")) if p.is_file() and not p.name.startswith("."))


def _components(parts: Parts) -> dict[str, dict[str, str]]:
    scenario = parts.scenario
    swaps = [e.arguments.get("recommender") for e in scenario.interventions if e.kind == "swap_recommender"]
    used: dict[str, list[Any]] = {
        "platforms": [scenario.platform.kind],
        "recommenders": [scenario.recsys.kind or parts.platform.default_recommender, *swaps],
        "policies": [entry.kind for entry in scenario.policies],
        "activations": [scenario.activation.kind],
        "embedders": [scenario.recsys.embedder] if parts.world.has_embeddings else [],
    }
    return {
        group: {name: origin(group, name) for name in sorted({str(name) for name in names})}
        for group, names in used.items()
    }


def _embedder(parts: Parts) -> str | None:
    if not parts.world.has_embeddings:
        return None
    embedder = parts.world.embeddings.embedder
    return f"{embedder.name} {embedder.version} {embedder.dimensions}"


def _templates(parts: Parts) -> str | None:
    texts: dict[str, Mapping[str, str]] = {}
    for entry, policy in zip(parts.scenario.policies, parts.policies, strict=True):
        if isinstance(policy, RendersPrompts):
            texts[entry.kind] = dict(policy.prompt_templates())
    if not texts:
        return None
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
