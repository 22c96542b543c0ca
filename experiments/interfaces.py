"""What a kind of experiment is: how its runs are set up, what is measured in each, and what is said of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import polars as pl

from oasis.runs import Run
from oasis.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from oasis.experiments.results import Results

__all__ = ["Cell", "Criterion", "Kind", "Measured", "Section", "Setting"]


@dataclass(frozen=True)
class Cell:
    """One run of an experiment.

    Attributes
    ----------
    arm : str
    point : mapping
        Key of the scenario to value, where the experiment sweeps over some.
    replicate : int
        From 1.
    seed : int
        The same in all arms of a replicate.
    """

    arm: str
    point: Mapping[str, Any]
    replicate: int
    seed: int

    @property
    def path(self) -> Path:
        """The folder within the experiment's."""
        point = ",".join(f"{key.rsplit('.', 1)[-1]}={value}" for key, value in self.point.items())
        return Path("cells", *([point.replace("/", "_")] if point else []), self.arm, f"{self.replicate:03d}")


@dataclass(frozen=True)
class Setting:
    """What an experiment was started with.

    Attributes
    ----------
    parameters : mapping
        ``[parameters]`` of the design.
    data : Path or None
        A folder with real data.
    """

    parameters: Mapping[str, Any]
    data: Path | None = None


@dataclass(frozen=True)
class Measured:
    """What a run gave.

    Attributes
    ----------
    outcomes : mapping
        Name to number; None or NaN where it is not defined in this run.
    tables : mapping
        Name to frame, kept beside the outcomes: curves, distributions.
    """

    outcomes: Mapping[str, float | None]
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of the report: words, then a table, then a figure.

    Attributes
    ----------
    name : str
        Of the figure's and table's files; letters, digits and ``_``.
    printed : bool
        Whether the table is printed at the end of ``oasis experiment run`` too.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    table: pl.DataFrame | None = None
    figure: Figure | None = None
    printed: bool = False


@dataclass(frozen=True)
class Criterion:
    """What a judge model is asked of texts that agents wrote (`oasis.experiments.judging`).

    Attributes
    ----------
    compare : str
        Which of two texts, A and B, has more of it.
    rate : str
        How much of it one text has, from 1 to 10.
    more, less : str
        What more of it is, and less, as in "more for the risk".
    """

    compare: str
    rate: str
    more: str
    less: str


class Kind(Protocol):
    """A phenomenon. Found by name through the entry points ``oasis.experiments``; subclassed, made without arguments.

    Attributes
    ----------
    design : Path
        The declared experiment: a TOML file for `oasis.experiments.design.Design`.
    outcomes : frozenset of str
        Names of all that it measures or derives.
    limits : sequence of str
        What the numbers do not say, in plain words.
    criterion : Criterion or None
        By what a judge model reads the texts of its table ``answers``; without one nothing is judged.
    """

    design: ClassVar[Path]
    outcomes: ClassVar[frozenset[str]]
    limits: ClassVar[Sequence[str]]
    criterion: ClassVar[Criterion | None] = None

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Return the scenario of a run: what real data bring, and what is drawn anew for each replicate.

        Draws are functions of ``cell.seed`` and not of the arm, so that arms share them.

        Raises
        ------
        InputError
            For data that are not there or wrong.
        """
        ...

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Return what a finished run gave."""
        ...

    def derived(self, results: Results, setting: Setting) -> pl.DataFrame | None:
        """Return outcomes that come out of several runs of a replicate: ``arm``, ``replicate``, ``outcome``, ``value``.

        By default there are none.
        """
        return None

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Return what the report says beside the declared comparisons."""
        ...
