"""An experiment's folder: what was asked for, and which of its runs are done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from oasis.errors import InputError, OasisError, RunDirectoryError, ScenarioError, nearest
from oasis.experiments.cells import cells_of
from oasis.experiments.deciding import llm_agents, said_llm_agents, says_who_asks
from oasis.experiments.design import Arm, Design
from oasis.experiments.event import with_names_replaced
from oasis.experiments.interfaces import Cell, Kind, Setting
from oasis.interfaces import Parameters
from oasis.plugins import load
from oasis.runs import open_run
from oasis.runs.manifest import write_atomically
from oasis.runs.provenance import code_hash, code_revision, versions
from oasis.scenario import Scenario
from oasis.scenario_model import with_model
from oasis.simulation.assembly import assemble
from oasis.simulation.baselines import with_rates
from oasis.simulation.components import build_components

__all__ = ["FILE", "OUTCOMES", "CellState", "ExperimentFolder", "Request"]

FILE, OUTCOMES, RUN, ERROR = "experiment.json", "outcomes.json", "run", "error.txt"
POPULATION = "population"
State = Literal["waiting", "begun", "failed", "done"]


class Request(Parameters):
    """What an experiment was started with, beside its design.

    Attributes
    ----------
    changes : dict
        Keys of the scenario to values, for all arms: of ``--quick`` and ``--set``.
    left_out : dict
        Arms of the design as it was given that are not there with these agents, each with the reason.
    """

    replicates: int = Field(ge=1)
    quick: bool = False
    changes: dict[str, Any] = {}
    data: str | None = None
    endpoint: str | None = None
    model: str | None = None
    model_path: str | None = None
    llm_share: float | None = None
    left_out: dict[str, str] = {}

    @property
    def fixed(self) -> set[str]:
        """Keys of the scenario that it gives, so that they are not swept over."""
        keys = set(self.changes)
        if self.model is not None:
            keys.add("llm.model")
        if self.endpoint is not None or self.model_path is not None:
            keys |= {"llm.backend", "llm.endpoints", "llm.model_path"}
        return keys


@dataclass(frozen=True)
class CellState:
    """How far a run is."""

    cell: Cell
    state: State
    steps_done: int
    steps: int
    error: str | None = None


class ExperimentFolder:
    """A folder with ``experiment.json``; runs are in ``cells/``.

    Attributes
    ----------
    path : Path
    design : Design
    request : Request
    """

    def __init__(self, path: Path, design: Design, request: Request, made_by: Mapping[str, Any]) -> None:
        self.path, self.design, self.request, self.made_by = path, design, request, dict(made_by)
        self.kind: Kind = load("experiments", design.experiment.kind)()
        data = None if request.data is None else Path(request.data)
        self.setting = Setting(design.parameters, data)

    @classmethod
    def begin(cls, path: Path, design: Design, request: Request) -> Self:
        """Make a folder, or take up one that was begun with the same design and request.

        Every arm's scenario is made first, so that bad input leaves nothing behind.

        Raises
        ------
        InputError
            If something in design, request or data is wrong, or the folder holds something else.
        """
        made_by = {"versions": versions(), "code_revision": code_revision(), "code_hash": code_hash()}
        folder = cls(path, design, request, made_by)
        unknown = sorted({o.name for o in design.outcomes} - folder.kind.outcomes)
        if unknown:
            known = sorted(folder.kind.outcomes)
            raise ScenarioError(
                f"outcomes: {unknown[0]!r} is not measured by kind {design.experiment.kind!r}"
                f"{nearest(unknown[0], known)}; it measures {', '.join(known)}"
            )
        firsts = [(cell, folder.scenario(cell)) for cell in folder.cells if cell.replicate == 1]
        for cell, scenario in firsts:
            _check_components(cell, scenario)
        if (path / FILE).exists():
            folder._check_same(cls.open(path))
            return folder
        for cell, scenario in firsts[: len(design.arms)]:
            if folder._arm(cell).anonymised and not folder.shares_population:
                folder._check_names(cell, scenario)
        if path.exists() and any(path.iterdir()):
            raise RunDirectoryError(f"{path}: is there and holds no experiment; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        asked = {"design": design.to_dict(), "request": request.model_dump(mode="json")}
        content = {"schema_version": 1, **asked, **made_by}
        write_atomically(path / FILE, json.dumps(content, indent=2, ensure_ascii=False).encode())
        return folder

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an experiment.

        Raises
        ------
        RunDirectoryError
            If there is none, or its file is damaged.
        """
        try:
            content = json.loads((path / FILE).read_text("utf-8"))
            design, request = Design.from_dict(content.pop("design")), Request.model_validate(content.pop("request"))
        except FileNotFoundError:
            raise RunDirectoryError(f"{path}: no experiment (there is no {FILE})") from None
        except OSError as error:
            raise RunDirectoryError(f"{path / FILE}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, ValidationError, ScenarioError) as error:
            raise RunDirectoryError(f"{path / FILE}: is damaged: {str(error)[:300]}") from None
        return cls(path, design, request, content)

    @cached_property
    def cells(self) -> list[Cell]:
        """All runs."""
        return cells_of(self.design, self.request.replicates, self.request.fixed)

    @property
    def sweep(self) -> dict[str, list[Any]]:
        """The keys that are swept over: those of the design that the request does not fix."""
        return {key: values for key, values in self.design.sweep.items() if key not in self.request.fixed}

    @property
    def shares_population(self) -> bool:
        """Whether all runs take a population that was generated once."""
        chosen = self.design.scenario.get("population", {}).get("source", "generate")
        return self.design.experiment.population == "shared" and chosen == "generate"

    def base_scenario(self, cell: Cell) -> Scenario:
        """Return the scenario of a run as declared, before its kind prepares it and a population is shared."""
        made = self.design.arm_scenario(self._arm(cell), {**self.request.changes, **cell.point})
        name = "-".join([self.design.experiment.name, cell.arm, str(cell.replicate)])
        return made.with_changes(simulation={"seed": cell.seed, "name": name}, output={"report": False})

    def scenario(self, cell: Cell) -> Scenario:
        """Return the scenario of a run."""
        made = self.kind.prepare(self.with_model(self.base_scenario(cell)), cell, self.setting)
        if self.shares_population and made.population.source == "generate":
            shared = {"source": "parquet", "path": str((self.path / POPULATION).resolve())}
            made = made.with_values({"population": shared})
        event = self.design.event
        if event is not None and self._arm(cell).anonymised:
            made = with_names_replaced(made, event.names)
        return made.with_absolute_paths()

    def with_model(self, scenario: Scenario) -> Scenario:
        """Return a scenario with the language model that the request names.

        Where any arm says itself which agents are ``llm``, it decides for no others, in no arm.
        """
        r = self.request
        file = None if r.model_path is None else Path(r.model_path)
        return with_model(scenario, r.endpoint, r.model, r.llm_share, file, as_declared=self._says_who_asks)

    @cached_property
    def _says_who_asks(self) -> bool:
        return says_who_asks(self.design, self.request.changes, self.request.fixed)

    @cached_property
    def llm_agents(self) -> str | None:
        """Which agents of which arms a language model decides for, in words; None where it does for none."""
        found: dict[str, list[str | None]] = {arm.name: [] for arm in self.design.arms}
        for cell in self.cells:
            if cell.replicate == 1:
                found[cell.arm].append(llm_agents(self.with_model(self.base_scenario(cell))))
        return said_llm_agents(found)

    def place(self, cell: Cell) -> Path:
        """Return the folder of a run and what was measured in it."""
        return self.path / cell.path

    def state(self, cell: Cell) -> CellState:
        """Return how far a run is; never raises for what a process that was killed left behind."""
        place, steps = self.place(cell), self.base_scenario(cell).simulation.steps
        if (place / OUTCOMES).exists():
            return CellState(cell, "done", steps, steps)
        done = 0
        if (place / RUN).exists():
            try:
                done = open_run(place / RUN).steps_done
            except OasisError:
                done = 0
        if (place / ERROR).exists():
            return CellState(cell, "failed", done, steps, (place / ERROR).read_text("utf-8"))
        return CellState(cell, "begun" if (place / RUN).exists() else "waiting", done, steps)

    def _arm(self, cell: Cell) -> Arm:
        return next(arm for arm in self.design.arms if arm.name == cell.arm)

    def _check_names(self, cell: Cell, scenario: Scenario) -> None:
        """Find now, not in the run, what stands for a name and is in the population's texts already."""
        try:
            assemble(scenario, needs_endpoint=False)
        except ScenarioError as error:
            raise ScenarioError(f"arm {cell.arm!r}: {error}") from None

    def _check_same(self, other: ExperimentFolder) -> None:
        mine = {"design": self.design.to_dict(), **self.request.model_dump(mode="json")}
        theirs = {"design": other.design.to_dict(), **other.request.model_dump(mode="json")}
        for name, value in mine.items():
            if theirs[name] != value:
                got = "" if name == "design" else f": {theirs[name]!r}, now {value!r}"
                raise RunDirectoryError(
                    f"{self.path}: was begun with another {name}{got}; go on with the same, or choose another --out"
                )
        if other.made_by.get("code_hash") != self.made_by["code_hash"]:
            raise RunDirectoryError(
                f"{self.path}: was begun by another version of the code; its runs would not be comparable with new"
                " ones; choose another --out"
            )


def _check_components(cell: Cell, scenario: Scenario) -> None:
    """Find now, not in the run, a component that there is not, or a parameter that it does not take."""
    try:
        build_components(with_rates(scenario))
    except InputError as error:
        point = "".join(f", {key} = {value}" for key, value in cell.point.items())
        raise ScenarioError(f"arm {cell.arm!r}{point}: {error}") from None
