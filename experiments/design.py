"""What an experiment is, declared before it runs: arms, replicates, outcomes, families and margins, in one TOML."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from oasis.errors import ScenarioError, nearest
from oasis.experiments.event import EventConfig, EventQuestion
from oasis.interfaces import Parameters
from oasis.plugins import available, explain
from oasis.scenario import Scenario

__all__ = ["Arm", "DataConfig", "Design", "ExperimentConfig", "Outcome", "QuickConfig"]

Values = dict[str, Any]


class ExperimentConfig(Parameters):
    """``[experiment]``.

    Attributes
    ----------
    kind : str
        What measures its runs: an entry point of ``oasis.experiments``.
    baseline : str
        The arm that all others are compared with.
    replicates : int
        Seeds of each arm; replicate r has the same seed in all arms, so they share every draw that they can.
    level : float
        Confidence level of intervals.
    method : {"t", "bootstrap-t"}
        How intervals of paired differences are made.
    population : {"per-replicate", "shared"}
        A generated one is made anew from each replicate's seed, or once, from the experiment's.
    keep_runs : bool
        Whether run directories stay when they have been measured; else their manifests and metrics do.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    kind: str
    title: str
    question: str
    baseline: str
    replicates: int = Field(default=10, ge=1, le=10_000)
    seed: int = Field(default=0, ge=0, lt=2**62)
    level: float = Field(default=0.95, gt=0.5, lt=1)
    method: Literal["t", "bootstrap-t"] = "t"
    population: Literal["per-replicate", "shared"] = "per-replicate"
    keep_runs: bool = True

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in (kinds := available("experiments")):
            raise ValueError(f"no kind of experiment {value!r}{nearest(value, kinds)}; there are {', '.join(kinds)}")
        return value


class QuickConfig(Parameters):
    """``[quick]``: what ``--quick`` changes."""

    replicates: int = Field(default=5, ge=1)
    set: Values = {}


class DataConfig(Parameters):
    """``[data]``: what ``--data`` changes, since a real population needs other settings than a generated one.

    Attributes
    ----------
    replicates : int or None
        Instead of the experiment's.
    set : dict
        Keys of the scenario, of all arms, to values; after those of ``[quick]``.
    """

    replicates: int | None = Field(default=None, ge=1)
    set: Values = {}


class Arm(Parameters):
    """``[[arms]]``: the scenario with some keys changed.

    Attributes
    ----------
    role : {"arm", "baseline", "twin"}
        A baseline is what a result must beat; it is shown beside the arms. A twin is another arm with one thing
        changed, which outcomes of that arm are measured with; it is compared with nothing else.
    against : str or None
        The arm that it is compared with, instead of the experiment's baseline; its own name: with none.
    deciders : {"any", "choice", "llm"}
        With whom the arm is there: ``choice`` where what it changes is of the choice model, so that it goes where a
        language model decides for all agents; ``llm`` where it is there only then.
    anonymised : bool
        Whether language models are shown what ``[event]`` declares instead of the event's names. Where no language
        model decides for anybody the arm is left out.
    set : dict
        Keys of the scenario, as with ``--set``, to values.
    """

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    title: str = ""
    role: Literal["arm", "baseline", "twin"] = "arm"
    against: str | None = None
    deciders: Literal["any", "choice", "llm"] = "any"
    anonymised: bool = False
    set: Values = {}


class Outcome(Parameters):
    """``[[outcomes]]``: a number that each run gives.

    Attributes
    ----------
    family : str or None
        Comparisons of outcomes of one family have their q together; without one the outcome is described, not tested.
    margin : float or None
        Arms that differ by less are the same for practical purposes: tested for equivalence.
    arms : str
        Names of the arms that have it, with ``*`` and ``?`` as in file names; others are not compared by it.
    null : float or None
        A value that each arm is compared with by itself, where the outcome is an effect already.
    """

    name: str = Field(min_length=1)
    label: str
    unit: str = ""
    family: str | None = None
    margin: float | None = Field(default=None, gt=0)
    arms: str = Field(default="*", min_length=1)
    null: float | None = None


class Design(Parameters):
    """An experiment as declared.

    Attributes
    ----------
    scenario : dict
        Tables of a scenario, that of all arms.
    parameters : dict
        Of the kind.
    event : EventConfig or None
        The real event that it is about: language models are asked before the runs what they know of it.
    sweep : dict
        Key of the scenario to values: each combination is an experiment of its own within this one.
    """

    experiment: ExperimentConfig
    quick: QuickConfig = QuickConfig()
    data: DataConfig = DataConfig()
    parameters: Values = {}
    event: EventConfig | None = None
    scenario: Values
    arms: list[Arm] = Field(min_length=1)
    sweep: dict[str, list[Any]] = {}
    outcomes: list[Outcome] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (("arms", [a.name for a in self.arms]), ("outcomes", [o.name for o in self.outcomes])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what}: {twice[0]!r} is there twice")
        arms = [arm.name for arm in self.arms]
        if (base := self.experiment.baseline) not in arms:
            raise ValueError(f"experiment.baseline: no arm {base!r}{nearest(base, arms)}; there are {', '.join(arms)}")
        for arm in self.arms:
            if arm.against is not None and arm.against not in arms:
                hint = nearest(arm.against, arms)
                raise ValueError(f"arms: {arm.name!r} is against {arm.against!r}{hint}; there are {', '.join(arms)}")
            if arm.anonymised and (self.event is None or not self.event.names):
                raise ValueError(
                    f"arms: {arm.name!r} is anonymised, and there is nothing to replace; give [event] names, such as"
                    ' names = { "Real Name" = "Other Name" }'
                )
        for outcome in self.outcomes:
            if not fnmatch.filter(arms, outcome.arms):
                raise ValueError(f"outcomes: {outcome.name!r} is of arms {outcome.arms!r}; there are {', '.join(arms)}")
        if empty := sorted(key for key, values in self.sweep.items() if not values):
            raise ValueError(f"sweep.{empty[0]}: has no values")
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file.

        Raises
        ------
        ScenarioError
            Naming file, line or key, and what is allowed.
        """
        try:
            return cls.from_dict(tomllib.loads(path.read_text("utf-8")), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "experiment") -> Self:
        """Build from nested dictionaries, and check that every arm is a scenario.

        Raises
        ------
        ScenarioError
        """
        try:
            design = cls.model_validate(dict(values))
        except ValidationError as error:
            raise ScenarioError(explain(error, _allowed, f"{where}: ")) from None
        for arm in design.arms:
            try:
                design.arm_scenario(arm)
            except ScenarioError as error:
                raise ScenarioError(f"{where}: arm {arm.name!r}: {error}") from None
        return design

    def arm_scenario(self, arm: Arm, changes: Mapping[str, Any] | None = None) -> Scenario:
        """Return the scenario of an arm, `changes` of all arms applied first."""
        base = {**self.scenario, "simulation": {"name": arm.name, **self.scenario.get("simulation", {})}}
        return Scenario.from_dict(base).with_values({**(changes or {}), **arm.set})

    @property
    def asks_model(self) -> bool:
        """Whether its own scenario lets a language model decide for all agents."""
        return {entry.get("kind") for entry in self.scenario.get("policies", [])} == {"llm"}

    def left_out(
        self, deciders: Literal["choice", "llm"], named: bool = False, changes: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Return the arms that `decided_by` leaves out, each with the reason.

        Parameters
        ----------
        named : bool
            Whether a language model that is named from outside decides for some.
        changes : mapping, optional
            Keys of the scenario, of all arms, to values.
        """
        found = {}
        for arm in self.arms:
            if arm.deciders not in ("any", deciders):
                needed = (
                    "the choice model" if arm.deciders == "choice" else "a language model that decides for all agents"
                )
                found[arm.name] = f"it needs {needed}"
            elif arm.anonymised and not (named or deciders == "llm" or self._asks_some(arm, changes)):
                found[arm.name] = "it is anonymised, and there is no language model that could know the names"
        return found

    def _asks_some(self, arm: Arm, changes: Mapping[str, Any] | None) -> bool:
        return any(policy.kind == "llm" for policy in self.arm_scenario(arm, changes).policies)

    def decided_by(
        self, deciders: Literal["choice", "llm"], named: bool = False, changes: Mapping[str, Any] | None = None
    ) -> Self:
        """Return the design with the arms that are there where all agents are decided for by one of the two.

        Parameters are those of `left_out`.

        Raises
        ------
        ScenarioError
            If an arm that others are compared with is not among them.
        """
        out = self.left_out(deciders, named, changes)
        arms = [arm for arm in self.arms if arm.name not in out]
        there = {arm.name for arm in arms}
        for name in [self.experiment.baseline, *(arm.against for arm in arms if arm.against is not None)]:
            if name not in there:
                raise ScenarioError(
                    f"arms: {name!r}, which others are compared with, is left out with {deciders} agents: {out[name]}"
                )
        return self.model_copy(update={"arms": arms})

    def replicates(self, quick: bool, data: bool) -> int:
        """Return how many seeds each arm has where nothing else is asked for."""
        if quick:
            return self.quick.replicates
        return (self.data.replicates if data else None) or self.experiment.replicates

    def changes(self, quick: bool, data: bool) -> Values:
        """Return keys of the scenario to values: what ``--quick`` and ``--data`` change in all arms."""
        return {**(self.quick.set if quick else {}), **(self.data.set if data else {})}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types; ``Design.from_dict`` of them is this design."""
        return self.model_dump(mode="json")


def _allowed(location: tuple[int | str, ...]) -> tuple[str, ...]:
    models: dict[str, type[Parameters]] = {"experiment": ExperimentConfig, "quick": QuickConfig, "data": DataConfig}
    models |= {"arms": Arm, "outcomes": Outcome, "event": EventConfig}
    if location[:2] == ("event", "questions"):
        return tuple(EventQuestion.model_fields)
    model = models.get(str(location[0])) if len(location) > 1 else None
    return tuple((model or Design).model_fields)
