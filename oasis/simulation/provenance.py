"""What a run is made of, for its manifest, and what of it is different now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oasis.digests import file_digest
from oasis.errors import RunDirectoryError
from oasis.inference import model_name
from oasis.interfaces import RendersPrompts
from oasis.plugins import origin
from oasis.population.parquet import FILES
from oasis.runs.manifest import Manifest
from oasis.runs.provenance import code_hash, code_revision, versions
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts
from oasis.simulation.baselines import deciding

__all__ = ["differences", "input_differences", "provenance"]

_ALWAYS = ("oasis-sim", "numpy", "numba", "llvmlite", "polars", "pyarrow", "scipy")
_EMBEDDING = ("wordllama", "tokenizers")
_LOCAL = ("xllamacpp",)


def provenance(parts: Parts) -> dict[str, Any]:
    """Return the fields of the manifest that say what a run is made of.

    Files are named from the root, as in `Scenario.with_absolute_paths`.

    Raises
    ------
    RunDirectoryError
        If an input file cannot be read any more.
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
        "inputs": _inputs(parts.scenario.with_absolute_paths()),
    }


def differences(recorded: Manifest, now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that a run was made of and that is another now.

    Only what can change results counts: not the names of system and processor, nor the Git revision of the same code.
    What a manifest does not tell, as those of earlier versions, is not compared.

    Parameters
    ----------
    recorded : Manifest
    now : mapping
        Fields as `provenance` gives them; ``servers`` (as `oasis.inference.Client.describe` gives them) may be added.
    """
    same_version = recorded.versions.get("oasis-sim") == now["versions"].get("oasis-sim")
    found = _versions(recorded, now["versions"])
    if same_version and _differ(recorded.code_hash, now["code_hash"]):
        version = now["versions"]["oasis-sim"]
        found.append(f"the code of oasis-sim {version} was changed: {_arrow(recorded.code_hash, now['code_hash'])}")
    found += _plugins(recorded.components, now["components"])
    if recorded.code_hash is not None:  # so the manifest has the fields below, which are null where nothing is used
        for field, name in (("embedder", "the embedder"), ("model", "llm.model")):
            was, is_now = getattr(recorded, field), now[field]
            if was != is_now:
                found.append(f"{name} was {was or 'none'}, is {is_now or 'none'}")
        if recorded.prompt_templates != now["prompt_templates"]:
            change = _arrow(recorded.prompt_templates, now["prompt_templates"])
            found.append(f"the prompt templates were changed: {change}")
    found += _input_differences(recorded, now["inputs"])
    return found + _servers(recorded, now.get("servers", ()))


def input_differences(recorded: Manifest, scenario: Scenario) -> list[str]:
    """Return a sentence for each input file of `scenario` that is missing, new, or another than was recorded.

    Raises
    ------
    RunDirectoryError
        If a file cannot be read.
    """
    return _input_differences(recorded, _inputs(scenario.with_absolute_paths()))


def _inputs(scenario: Scenario) -> dict[str, str]:
    """Return path to SHA-256 of the files that a scenario names; of folders, those that are read."""
    try:
        named = map(Path, scenario.named_files.values())
        return {str(path): file_digest(path) for name in named for path in _files(name)}
    except OSError as error:
        raise RunDirectoryError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _files(named: Path) -> Iterator[Path]:
    if named.is_file():
        yield named
    elif (named / FILES[0]).is_file():
        yield from (named / name for name in FILES if (named / name).is_file())
    elif named.is_dir():  # of a third party's component: all of it
        yield from (p for p in sorted(named.rglob("*")) if p.is_file() and not p.name.startswith("."))


def _place(scenario: Scenario, path: str) -> str:
    """Return the key of the scenario that names a file or its folder."""
    named = scenario.named_files
    return next((key for key, name in named.items() if name == path or Path(name) in Path(path).parents), "input")


def _components(parts: Parts) -> dict[str, dict[str, str]]:
    scenario = parts.scenario
    swaps = [e.arguments.get("recommender") for e in scenario.interventions if e.kind == "swap_recommender"]
    used: dict[str, list[Any]] = {
        "platforms": [scenario.platform.kind],
        "recommenders": [scenario.recsys.kind or parts.platform.default_recommender, *swaps],
        "policies": [entry.kind for entry in deciding(scenario)],
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
    texts: list[tuple[str, Mapping[str, str]]] = []
    for entry, policy in zip(deciding(parts.scenario), parts.policies, strict=True):
        if isinstance(policy, RendersPrompts):
            texts.append((entry.kind, dict(policy.prompt_templates())))
    if not texts:
        return None
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()


def _versions(recorded: Manifest, now: Mapping[str, str]) -> list[str]:
    was = recorded.versions
    counted = [*_ALWAYS, *(_EMBEDDING if recorded.embedder else ())]
    if recorded.model and recorded.scenario.get("llm", {}).get("backend") == "local":
        counted += _LOCAL
    found = []
    if "python" in was and was["python"].split(".")[:2] != now["python"].split(".")[:2]:
        found.append(f"Python was {was['python']}, is {now['python']}")
    for name in counted:
        if name in was and was[name] != now.get(name):
            found.append(f"{name} was {was[name]}, " + (f"is {now[name]}" if name in now else "is not installed"))
    features = was.get("cpu_features")
    if features is not None and set(features.split()) != set(now["cpu_features"].split()):
        found.append(f"the processor's features were {features or 'none'}, are {now['cpu_features'] or 'none'}")
    return found


def _plugins(was: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> list[str]:
    found = []
    for group, names in was.items():
        others = now.get(group, {})
        if names.keys() != others.keys():
            found.append(f"{group} were {', '.join(names) or 'none'}, are {', '.join(others) or 'none'}")
        for name in names.keys() & others.keys():
            before, after = names[name], others[name]
            ours = before.startswith("oasis-sim ") and after.startswith("oasis-sim ")  # compared already
            if before != after and not ours:
                found.append(f"{name} (of {group}) was from {before}, is from {after}")
    return sorted(found)


def _input_differences(recorded: Manifest, now: Mapping[str, str]) -> list[str]:
    if recorded.code_hash is None:
        return []
    scenario = Scenario.from_dict(recorded.scenario)
    found = []
    for path in sorted(recorded.inputs.keys() | now.keys()):
        was, is_now = recorded.inputs.get(path), now.get(path)
        place = _place(scenario, path)
        if is_now is None and was not in now.values():  # a copy elsewhere is as good
            found.append(f"{place}: {path} is missing")
        elif was is None and is_now not in recorded.inputs.values():
            found.append(f"{place}: {path} was not there")
        elif was is not None and is_now is not None and was != is_now:
            found.append(f"{place}: {path} was changed: {_arrow(was, is_now)}")
    return found


def _servers(recorded: Manifest, now: Any) -> list[str]:
    """Compare what servers report of their model; which of them is asked is free."""
    before = {str(s["reported"]): s for s in recorded.servers if s.get("reported")}
    found = []
    for server in now:
        reported = server.get("reported")
        if before and reported and str(reported) not in before:
            found.append(f"{server['endpoint']} reports the model {reported}, before it was {', '.join(before)}")
    return found


def _differ(was: str | None, now: str | None) -> bool:
    return was is not None and was != now


def _arrow(was: str | None, now: str | None) -> str:
    return " -> ".join("none" if digest is None else f"sha256 {digest[:12]}" for digest in (was, now))
