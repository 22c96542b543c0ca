"""What an earlier execution of the same steps left, for one that repeats them or goes on from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from oasis.errors import ReplayError
from oasis.inference import RecordedAnswers
from oasis.runs.divergence import first_difference
from oasis.scenario import Intervention
from oasis.simulation.point import Point
from oasis.simulation.recorded import RecordedStep, RecordedSteps

__all__ = ["Earlier"]


@dataclass(frozen=True)
class Earlier:
    """An execution to repeat.

    Attributes
    ----------
    point : Point or None
        Where to begin; None for the population at the start.
    repeat_until : int
        The last step that is executed again as it was recorded; nothing of it is recorded anew.
    steps : RecordedSteps or None
        What was recorded.
    by_answers : bool
        Whether policies decide again from `answers`, instead of by what is recorded of their decisions.
    digests : mapping
        Step to ``step_digest``.
    answers : RecordedAnswers or None
        Answers of language models, which are not asked for again.
    injected : tuple of Intervention
        What came from Python while it went on.
    offline : bool
        Whether nobody is asked: all answers are recorded ones.
    last_step : int or None
        Where to end, if before the scenario's last step.
    on_repeated : callable or None
        Called with each step that was executed again.
    """

    point: Point | None = None
    repeat_until: int = 0
    steps: RecordedSteps | None = None
    by_answers: bool = False
    digests: Mapping[int, str] = field(default_factory=dict)
    answers: RecordedAnswers | None = None
    injected: Sequence[Intervention] = ()
    offline: bool = False
    last_step: int | None = None
    on_repeated: Callable[[int], None] | None = None

    def recorded(self, step: int) -> RecordedStep | None:
        """Return what was recorded of a step that is executed again."""
        return self.steps.step(step) if self.steps is not None and step <= self.repeat_until else None

    def compare(self, step: int, digest: str, tables: Mapping[str, pa.Table]) -> None:
        """See that a step came out as it was recorded.

        Raises
        ------
        ReplayError
            Naming the first difference.
        """
        if self.digests.get(step, digest) == digest:
            return
        recorded = self.recorded(step)
        found = "its rows cannot be compared"
        if recorded is not None:
            before = {name: recorded.rows(name) for name in ("events", "impressions", "interviews")}
            found = first_difference(before, tables) or "not in its rows, but in what agents have seen or done before"
        raise ReplayError(
            f"step {step} came out differently from what was recorded: {found}"
            "; the versions of OASIS or of its libraries, the machine, or a file of the population have changed"
            " (see versions in the manifest)"
        )
