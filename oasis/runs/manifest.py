"""The manifest: what a run is, how far it got, and what its files hash to."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oasis.errors import RunDirectoryError

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "Coverage",
    "Load",
    "Manifest",
    "Parent",
    "Past",
    "Status",
    "Tokens",
    "write_atomically",
]

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1

Status = Literal["running", "done", "stopped", "failed"]


class Coverage(BaseModel):
    """Decision coverage: all decisions are decided by a policy, failed or invalid.

    Attributes
    ----------
    registered : int
        Agents there were.
    active : int
        Agents that acted at least once.
    decisions : int
        Activations.
    decided_by : dict
        Decisions made, by policy.
    llm_failed, llm_invalid : int
        Decisions that no model answered, or answered with nothing that fits.
    """

    model_config = ConfigDict(extra="allow")

    registered: int = 0
    active: int = 0
    decisions: int = 0
    decided_by: dict[str, int] = {}
    llm_failed: int = 0
    llm_invalid: int = 0


class Tokens(BaseModel):
    """Tokens of all calls of language models; `cached` is the part of `input` that a server reused."""

    model_config = ConfigDict(extra="allow")

    input: int = 0
    cached: int = 0
    output: int = 0


class Load(BaseModel):
    """What a server of language models did by its own metrics while the run went on, also for others that asked it.

    Attributes
    ----------
    prompt_tokens, cached_tokens : int or None
        Tokens of prompts, and those of them that were in its prefix cache.
    most_running, most_waiting : int or None
        Most requests seen in work and queued.
    """

    model_config = ConfigDict(extra="allow")

    endpoint: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    most_running: int | None = None
    most_waiting: int | None = None


class Parent(BaseModel):
    """Where a branch comes from.

    Attributes
    ----------
    run_id, name, path : str
        Of the parent; `path` is where it lay.
    step : int
        The last step that both share.
    step_digest : str
        Of that step, in both.
    """

    model_config = ConfigDict(extra="allow")

    run_id: str | None
    name: str
    path: str
    step: int
    step_digest: str


class Past(BaseModel):
    """Steps up to `last_step` were made with `scenario`."""

    model_config = ConfigDict(extra="allow")

    last_step: int
    scenario: dict[str, Any]


class Manifest(BaseModel):
    """``manifest.json``. Fields may be added, never renamed; fields of later versions are kept as they are.

    Attributes
    ----------
    status : {"running", "done", "stopped", "failed"}
        A run that was killed still says "running"; see `oasis.runs.RunDirectory.process_state`.
    state_hash : str or None
        Hex digest of the whole world at the end; independent of how files lie on disk.
    scenario : dict
        As resolved, all defaults filled in.
    files : dict
        Path within the directory to SHA-256, of all files but the manifest; filled in at the end.
    refused_rows : list of dict
        Rows of the population that were left out, each with its place and reason.
    injected : list of dict
        Interventions that came from Python while the run went on.
    code_hash : str or None
        SHA-256 of the sources that take part in results, wherever they are installed.
    components : dict
        Seam to name to the distribution and version that it came from, of every plug-in that the scenario uses.
    embedder : str or None
        Name, version and dimensions; None where nothing is embedded.
    model : str or None
        The language model's name; None where none is asked.
    prompt_templates : str or None
        SHA-256 of the templates that policies make prompts of; None where none has any.
    inputs : dict
        Path to SHA-256 of every file that the run was made from.
    servers : list of dict
        What the servers of language models said of themselves.
    predicted : dict or None
        ``calls``, ``tokens_in``, ``tokens_cached``, ``tokens_out`` to ``low``, ``expected`` and ``high``, as estimated
        before the run; None where that was not asked for.
    server_load : list of Load
        Of the servers that give metrics.
    run_id : str or None
        Random; by it branches know their parent, wherever it lies.
    parent : Parent or None
        The run that this one branched off.
    past : list of Past
        The scenarios of the steps before `scenario` took over: of a branch, those of its ancestors.
    resumed : list of dict
        Each time the run went on: after which step, when, what was changed or allowed to differ.
    message : str or None
        Why the run stopped or failed.
    started_at, finished_at : str or None
        Wall-clock time (ISO 8601, UTC); not part of any result.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=True)

    schema_version: int = SCHEMA_VERSION
    name: str
    status: Status = "running"
    seed: int
    steps_planned: int
    steps_done: int = 0
    state_hash: str | None = None
    coverage: Coverage = Field(default_factory=Coverage)
    tokens: Tokens = Field(default_factory=Tokens)
    scenario: dict[str, Any]
    versions: dict[str, str] = {}
    code_revision: str | None = None
    files: dict[str, str] = {}
    refused_rows: list[dict[str, Any]] = []
    injected: list[dict[str, Any]] = []
    code_hash: str | None = None
    components: dict[str, dict[str, str]] = {}
    embedder: str | None = None
    model: str | None = None
    prompt_templates: str | None = None
    inputs: dict[str, str] = {}
    servers: list[dict[str, Any]] = []
    predicted: dict[str, dict[str, float]] | None = None
    server_load: list[Load] = []
    run_id: str | None = None
    parent: Parent | None = None
    past: list[Past] = []
    resumed: list[dict[str, Any]] = []
    message: str | None = None
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def step_minutes(self) -> float:
        """Simulated minutes of a step."""
        return float(self.scenario.get("simulation", {}).get("step_minutes", 3.0))

    @property
    def warmup_steps(self) -> int:
        """First steps, which figures leave out."""
        return int(self.scenario.get("simulation", {}).get("warmup_steps", 0))

    @property
    def start(self) -> datetime:
        """Simulated time at step 0."""
        text = self.scenario.get("simulation", {}).get("start", "2024-01-01T00:00:00Z")
        time = datetime.fromisoformat(str(text))
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the manifest of a run directory.

        Raises
        ------
        RunDirectoryError
            If there is no such directory, or its manifest is missing or damaged.
        """
        try:
            if not directory.is_dir():
                what = "is a file, not a run directory" if directory.exists() else "no such run directory"
                raise RunDirectoryError(f"{directory}: {what}; give the directory that 'oasis run' printed")
        except OSError as error:
            raise RunDirectoryError(f"{directory}: cannot be read: {error.strerror}") from None
        try:
            return cls.read_file(directory / MANIFEST)
        except FileNotFoundError:
            raise RunDirectoryError(f"{directory}: not a run directory: it has no {MANIFEST}") from None

    @classmethod
    def read_file(cls, path: Path) -> Self:
        """Read a manifest, wherever it lies.

        Raises
        ------
        FileNotFoundError
        RunDirectoryError
            If it is damaged.
        """
        try:
            return cls.model_validate(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise RunDirectoryError(f"{path}: damaged: not UTF-8 at byte {error.start}") from None
        except json.JSONDecodeError as error:
            raise RunDirectoryError(
                f"{path}: damaged: not valid JSON at line {error.lineno}, column {error.colno}"
            ) from None
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(p) for p in problem["loc"]) or "the whole file"
            raise RunDirectoryError(f"{path}: damaged: {place}: {problem['msg']}") from None

    def write(self, directory: Path) -> None:
        """Replace the manifest of a run directory, at once."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(directory / MANIFEST, (text + "\n").encode("utf-8", "replace"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the process or the machine dies."""
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
