"""What an earlier execution of the same run left, for one that repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oasis.errors import ReplayError
from oasis.inference import RecordedAnswers
from oasis.runs import Run
from oasis.runs.journal import read_journal
from oasis.scenario import Intervention

__all__ = ["Earlier", "recorded_answers"]


@dataclass(frozen=True)
class Earlier:
    """An execution to repeat.

    Attributes
    ----------
    answers : RecordedAnswers or None
        Answers of language models, which are not asked for again.
    digests : mapping
        Step to ``step_digest``.
    injected : tuple of Intervention
        What came from Python while it went on.
    offline : bool
        Whether nobody is asked: all answers are recorded ones.
    last_step : int or None
        Where to end, if before the scenario's last step.
    """

    answers: RecordedAnswers | None = None
    digests: Mapping[int, str] = field(default_factory=dict)
    injected: tuple[Intervention, ...] = ()
    offline: bool = False
    last_step: int | None = None

    @classmethod
    def to_resume(cls, run: Run, answers: RecordedAnswers) -> Earlier:
        """Return what a run that goes on repeats of `run`."""
        return cls(answers, _digests(run), _injected(run))

    @classmethod
    def to_replay(cls, run: Run) -> Earlier:
        """Return all of `run`."""
        answers = RecordedAnswers(recorded_answers(run))
        return cls(answers, _digests(run), _injected(run), offline=True, last_step=run.steps_done)

    def compare(self, step: int, digest: str) -> bool:
        """Return whether `step` is the last that was recorded.

        Raises
        ------
        ReplayError
            If it came out differently.
        """
        if self.digests.get(step, digest) != digest:
            raise ReplayError(
                f"step {step} came out differently from what was recorded: the versions of OASIS or of its libraries, "
                "the machine, or a population file have changed (see versions in the manifest)"
            )
        return step == max(self.digests, default=None)


def recorded_answers(run: Run) -> list[dict[str, object]]:
    """Return the rows of ``llm_calls`` and of the journal."""
    return [*run.llm_calls.collect().to_dicts(), *read_journal(run.path)]


def _injected(run: Run) -> tuple[Intervention, ...]:
    return tuple(Intervention.from_keys(entry) for entry in run.manifest.injected)


def _digests(run: Run) -> dict[int, str]:
    metrics = run.metrics.collect()
    if "step_digest" not in metrics.columns:
        return {}
    return dict(zip(metrics["step"].to_list(), metrics["step_digest"].to_list(), strict=True))
