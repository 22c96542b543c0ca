"""What a verification found: checks, their problems, and what can be recovered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Check", "Problem", "Unreadable", "Verification"]


class Unreadable(Exception):
    """A file that cannot be read, or holds something else than it should; the message says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be.

    Attributes
    ----------
    file : str
        Path within the run directory.
    text : str
        What is wrong, in numbers.
    step : int or None
        The first step whose records it concerns; None where it concerns no record of a step.
    """

    file: str
    text: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
    ok : bool or None
        None where it could not be decided; `about` says why.
    about : str
        What was looked at, in numbers.
    problems : tuple of Problem
    notes : tuple of str
        What is no damage and worth knowing: what a killed process left unfinished.
    """

    name: str
    ok: bool | None
    about: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found out about a run directory.

    Attributes
    ----------
    path : Path
    state : str
        ``done``, ``running``, ``stopped``, ``failed``, ``killed``; ``unknown`` without a manifest.
    steps_done : int
        Steps that the run says are on disk.
    steps_whole : int
        The last step up to which nothing is wrong with any record.
    checks : tuple of Check
        In the order in which they were made.
    recovery : tuple of str
        What can be recovered, and how.
    """

    path: Path
    state: str
    steps_done: int
    steps_whole: int
    checks: tuple[Check, ...]
    recovery: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged."""
        return not self.problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order of the checks."""
        return tuple(problem for check in self.checks for problem in check.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "run": str(self.path),
            "ok": self.ok,
            "state": self.state,
            "steps_done": self.steps_done,
            "steps_whole": self.steps_whole,
            "checks": [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "about": check.about,
                    "problems": [{"file": p.file, "text": p.text, "step": p.step} for p in check.problems],
                    "notes": list(check.notes),
                }
                for check in self.checks
            ],
            "recovery": list(self.recovery),
        }
