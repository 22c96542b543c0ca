"""The scenario: one TOML file from which a run is made."""

from __future__ import annotations

import copy
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from oasis.actions import USER_ACTIONS, Action
from oasis.baseline_config import BaselineConfig
from oasis.budget_config import BudgetConfig
from oasis.errors import ScenarioError, nearest
from oasis.inference_config import LLMConfig
from oasis.interfaces import Parameters
from oasis.output_config import OutputConfig
from oasis.plugins import explain
from oasis.selection import SelectionField

__all__ = [
    "ActivationConfig",
    "BaselineConfig",
    "BudgetConfig",
    "Intervention",
    "PlatformConfig",
    "PolicyConfig",
    "PopulationConfig",
    "RecsysConfig",
    "Scenario",
    "SimulationConfig",
    "parse_override",
]


_NAME_BYTES = 200  # a file name may have 255, and hidden names beside the run's are made of it


class SimulationConfig(Parameters):
    """``[simulation]``: how long, how finely, from which seed."""

    name: str = "run"
    seed: int = 0
    steps: int = Field(ge=1, lt=2**31)
    step_minutes: float = Field(default=3.0, gt=0)
    start: datetime = Field(default=datetime(2024, 1, 1, tzinfo=UTC), strict=False)
    warmup_steps: int = Field(default=0, ge=0)

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not value.strip() or value.startswith(".") or len(value.encode("utf-8", "replace")) > _NAME_BYTES:
            raise ValueError(
                f"must be 1 to {_NAME_BYTES} bytes that do not begin with a dot, got {value!r:.200}: "
                "the run's folder has this name"
            )
        if wrong := [c for c in value if c in "/\\" or not c.isprintable()]:
            raise ValueError(f"must hold no {wrong[0]!r}, got {value!r}: the run's folder has this name")
        return value

    @field_validator("start", mode="before")
    @classmethod
    def _is_date(cls, value: Any) -> Any:
        if not isinstance(value, str | date):  # a datetime is a date
            raise ValueError(f"must be a date and time such as 2024-01-01T00:00:00Z, got {value!r:.200}")
        return value

    @field_validator("start")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            _ = self.start.astimezone(UTC) + timedelta(minutes=self.step_minutes) * self.steps
        except OverflowError:
            raise ValueError(
                f"{self.steps} steps of {self.step_minutes:g} minutes from {self.start:%Y-%m-%d} go beyond the years 1 "
                "to 9999; set fewer steps, a smaller step_minutes, or another start"
            ) from None
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})")
        return self


class PlatformConfig(Parameters):
    """``[platform]``: which platform, which of its actions, which rules."""

    kind: str = "x"
    actions: list[str] | None = None
    rules: dict[str, Any] = {}

    @field_validator("actions")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        names = [a.label for a in USER_ACTIONS]
        for name in value or []:
            if name not in names:
                raise ValueError(f"unknown action {name!r}{nearest(name, names)}; allowed: {', '.join(names)}")
        if value is not None and not value:
            raise ValueError("at least one action must be allowed")
        return value

    @property
    def allowed(self) -> tuple[Action, ...] | None:
        """The allowed actions, None for the platform's default subset."""
        return None if self.actions is None else tuple(Action[name.upper()] for name in self.actions)


class RecsysConfig(Parameters):
    """``[recsys]``: which recommender fills feeds; `embedder` where one is needed."""

    kind: str | None = None
    size: int = Field(default=10, ge=1, le=1000)
    parameters: dict[str, Any] = {}
    embedder: str = "wordllama"


class PopulationConfig(Parameters):
    """``[population]``: who there is. Further keys are the source's own (see the docs of populations)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str = "generate"
    path: str | None = None
    activity_path: str | None = None
    mean_active: float = Field(default=0.05, gt=0, le=1)
    agents: int | None = None

    @property
    def further(self) -> dict[str, Any]:
        """Keys beyond the common ones."""
        return dict(self.model_extra or {})


class ActivationConfig(Parameters):
    """``[activation]``: who acts when."""

    kind: str = "hourly"
    parameters: dict[str, Any] = {}


class PolicyConfig(Parameters):
    """One ``[[policies]]`` entry. Entries take agents in order, each from those still without a policy;
    one without `select` and `share` takes the rest."""

    kind: str
    name: str | None = None
    select: SelectionField | None = None
    share: float | None = Field(default=None, ge=0, le=1)
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.select is not None and self.share is not None:
            raise ValueError("give select or share, not both; a share of what is selected is select.share")
        return self


class Intervention(Parameters):
    """One ``[[interventions]]`` entry: a change from outside at `step` (and every `every` steps until `until`).

    `agents` are those it concerns (authors, followers, the banned, the interviewed); `posts`, `comments` and `users`
    what it is done to; the remaining keys are arguments of its kind.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    step: int = Field(ge=1)
    kind: str
    every: int | None = Field(default=None, ge=1)
    until: int | None = Field(default=None, ge=1)
    agents: SelectionField | None = None
    posts: SelectionField | None = None
    comments: SelectionField | None = None
    users: SelectionField | None = None

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> Self:
        """Build from the keys of an entry.

        Raises
        ------
        ScenarioError
        """
        try:
            return cls.model_validate(dict(keys))
        except ValidationError as error:
            raise ScenarioError(explain(error, tuple(cls.model_fields), "intervention")) from None

    @model_validator(mode="before")
    @classmethod
    def _singular(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for short, full in _SINGULAR.items():
            if short in values:
                if full in values:
                    raise ValueError(f"give {short} or {full}, not both")
                values[full] = values.pop(short)
        return values

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until is not None and self.every is None:
            raise ValueError("until needs every: without it the intervention happens once, at step")
        if self.until is not None and self.until < self.step:
            raise ValueError(f"until ({self.until}) is before step ({self.step})")
        return self

    @model_serializer(mode="wrap")
    def _with_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keep arguments that are None, also where None is left out: they clear something."""
        cleared = {key: None for key, value in self.arguments.items() if value is None}
        return {**handler(self), **cleared}

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that belong to the kind."""
        return dict(self.model_extra or {})

    def happens_at(self, step: int) -> bool:
        """Return whether this intervention is due at `step`."""
        if step < self.step or (self.until is not None and step > self.until):
            return False
        return step == self.step if self.every is None else (step - self.step) % self.every == 0


_SINGULAR = {"agent": "agents", "author": "agents", "post": "posts", "comment": "comments", "user": "users"}


class Scenario(Parameters):
    """A run's whole description.

    Examples
    --------
    >>> scenario = Scenario.from_dict({"simulation": {"steps": 3}, "population": {"agents": 50}})
    >>> scenario.simulation.step_minutes
    3.0
    """

    simulation: SimulationConfig
    platform: PlatformConfig = PlatformConfig()
    recsys: RecsysConfig = RecsysConfig()
    population: PopulationConfig = PopulationConfig()
    activation: ActivationConfig = ActivationConfig()
    policies: list[PolicyConfig] = [PolicyConfig(kind="choice")]
    llm: LLMConfig = LLMConfig()
    interventions: list[Intervention] = []
    baseline: BaselineConfig | None = None
    output: OutputConfig = OutputConfig()
    budget: BudgetConfig = BudgetConfig()

    @field_validator("policies")
    @classmethod
    def _shares(cls, value: list[PolicyConfig]) -> list[PolicyConfig]:
        total = sum(policy.share or 0 for policy in value)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares add up to {total:g}; each is of all agents, so they must not exceed 1")
        return value

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Read a scenario file; relative paths in it are taken from its folder.

        Parameters
        ----------
        overrides : sequence of str
            ``table.key=value`` each, the value in TOML (a bare word is a string).

        Raises
        ------
        ScenarioError
            Naming the file, the line or key, what was got and what is allowed.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ScenarioError(f"{path}: no such scenario file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: cannot be read: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{path}: not valid TOML: {error}") from None
        _anchor(values, path.parent)
        values.setdefault("simulation", {})
        if isinstance(values["simulation"], dict):
            values["simulation"].setdefault("name", path.stem)
        for override in overrides:
            _override(values, override)
        try:
            return cls.from_dict(values)
        except ScenarioError as error:
            raise ScenarioError(f"{path}: " + str(error).replace("\n", f"\n{path}: ")) from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested dictionaries, as in the TOML file.

        Raises
        ------
        ScenarioError
        """
        if not isinstance(values, Mapping):
            raise ScenarioError(f"a scenario is a table of tables, got {type(values).__name__}")
        _check_finite(values, "")
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ScenarioError(explain(error, _keys_at, "")) from None

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries of JSON types; ``Scenario.from_dict`` of them is this scenario."""
        return self.model_dump(mode="json", exclude_none=True)

    def with_overrides(self, overrides: Sequence[str]) -> Self:
        """Return a scenario with ``table.key=value`` applied, as with ``--set``.

        Raises
        ------
        ScenarioError
        """
        values = self.to_dict()
        for override in overrides:
            _override(values, override)
        return type(self).from_dict(values)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a scenario with ``table.key`` set to a value, for each item; a list or table is taken whole.

        Raises
        ------
        ScenarioError
        """
        changed = self.to_dict()
        for key, value in values.items():
            _put(changed, key, copy.deepcopy(value), f"set {key!r}")
        return type(self).from_dict(changed)

    def with_absolute_paths(self) -> Self:
        """Return this scenario with its files named from the root, so that it means the same in any folder."""
        values = self.to_dict()
        _anchor(values, Path.cwd())
        return type(self).from_dict(values)

    @property
    def named_files(self) -> dict[str, str]:
        """The files and folders that the scenario names: population, scripts, model. Key to path as it is written."""
        return {where: table[key] for where, table, key in _named_files(self.to_dict())}

    def decisive(self) -> dict[str, Any]:
        """Return the values that results follow from: all but the run's name, what is kept of it, how servers are
        reached, and where files lie."""
        values = self.to_dict()
        for _, table, key in _named_files(values):
            table[key] = ""
        del values["output"], values["simulation"]["name"]
        for key in ("endpoints", "api_key_env", "concurrency", "timeout_s"):
            values["llm"].pop(key, None)
        return values

    def with_changes(self, **tables: Mapping[str, Any]) -> Self:
        """Return a scenario with keys of tables replaced, e.g. ``with_changes(simulation={"seed": 2})``."""
        values = self.to_dict()
        for table, changes in tables.items():
            values[table] = {**values.get(table, {}), **changes}
        return type(self).from_dict(values)


_PATHS = (
    ("population", "path"),
    ("population", "activity_path"),
    ("population", "history"),
    ("llm", "model_path"),
    ("baseline", "rates_from"),
)


def _named_files(values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (place as in ``--set``, table, key) of every file that a scenario names."""
    places = [(table, values.get(table), key) for table, key in _PATHS]
    policies = values.get("policies")
    entries = enumerate(policies if isinstance(policies, list) else ())
    owners = [(name, values.get(name)) for name in ("recsys", "activation")]
    for name, owner in [*owners, *((f"policies.{number}", entry) for number, entry in entries)]:
        parameters = owner.get("parameters") if isinstance(owner, dict) else None
        if isinstance(parameters, dict):
            keys = [key for key in parameters if key == "path" or key.endswith("_path")]
            places += [(f"{name}.parameters", parameters, key) for key in keys]
    for name, table, key in places:
        if isinstance(table, dict) and isinstance(table.get(key), str):
            yield f"{name}.{key}", table, key


def _anchor(values: dict[str, Any], folder: Path) -> None:
    for _, table, key in _named_files(values):
        table[key] = str(folder / os.path.expanduser(table[key]))  # an absolute one stays


def _override(values: dict[str, Any], override: str) -> None:
    key, value = parse_override(override)
    _put(values, key, value, f"--set {override}")


def parse_override(override: str) -> tuple[str, Any]:
    """Return key and value of ``table.key=value``, as of ``--set``.

    Raises
    ------
    ScenarioError
    """
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not all(part.strip() for part in key.split(".")):
        raise ScenarioError(f"{where}: must be KEY=VALUE, e.g. --set simulation.steps=20")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": text}
    if len(parsed) != 1:
        raise ScenarioError(f"{where}: must be one KEY=VALUE; give --set once for each key")
    return key.strip(), parsed["value"]


def _put(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    parts = [part.strip() for part in key.split(".")]
    place: Any = values
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        at: Any = part
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise ScenarioError(f"{where}: {'.'.join(parts[:i])} has entries 0 to {len(place) - 1}")
            at = int(part)
        elif i == 1 and parts[0] in _LISTS and not place:
            raise ScenarioError(f"{where}: the scenario lists no {parts[0]}; write them into its file")
        elif not isinstance(place, dict):
            raise ScenarioError(f"{where}: {'.'.join(parts[:i])} is a value, not a table")
        if last:
            place[at] = value
        else:
            place = place[at] if isinstance(place, list) else place.setdefault(at, {})


_LISTS = ("policies", "interventions")


def _check_finite(value: Any, where: str) -> None:
    """Refuse NaN and infinity anywhere: no table means anything by them, and JSON cannot hold them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ScenarioError(f"{where}: must be a finite number, got {value}")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        _check_finite(part, f"{where}.{key}" if where else str(key))


def _keys_at(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return the keys that the table allows in which `location` stands."""
    model: type[BaseModel] = Scenario
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for a in get_args(annotation) if (model := _model_in(a)) is not None), None)
