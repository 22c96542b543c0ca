"""Making a recorded run again from its manifest, and saying whether it came out the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oasis.errors import RunDirectoryError
from oasis.paths import check_outside
from oasis.runs import Manifest, Run, open_run
from oasis.scenario import Scenario
from oasis.simulation.assembly import Parts
from oasis.simulation.branching import branch_to
from oasis.simulation.earlier import Earlier
from oasis.simulation.provenance import differences, input_differences, provenance
from oasis.simulation.rebuild import injected
from oasis.simulation.simulation import Simulation

__all__ = ["Outcome", "Rerun"]


@dataclass(frozen=True)
class Outcome:
    """How a run that was made again compares.

    Attributes
    ----------
    same : bool or None
        Whether it came out as recorded; None where there is nothing to compare.
    failed : bool
        Whether it had to, and did not.
    text : str
    first_different_step : int or None
        Where both runs have their steps at hand.
    """

    same: bool | None
    failed: bool
    text: str
    first_different_step: int | None = None


class Rerun:
    """A recorded run that is made again, with the interventions that came from Python while it went on.

    Parameters
    ----------
    recorded : path
        A run directory, or a manifest.
    change : callable, optional
        ``change(scenario) -> scenario``.

    Attributes
    ----------
    manifest : Manifest
    scenario : Scenario
        What to run.
    another : bool
        Whether `change` made it another run: one that need not come out the same.

    Raises
    ------
    RunDirectoryError
        If there is no manifest, it is of a branch and alone, or an input file is missing or was changed.
    ScenarioError
        If the scenario is none any more, or none after `change`.
    """

    def __init__(self, recorded: str | Path, change: Callable[[Scenario], Scenario] | None = None) -> None:
        path = Path(recorded)
        alone = os.path.isfile(path)  # unlike Path.is_file, never an error
        self._run = None if alone else path
        self.manifest = Manifest.read_file(path) if alone else Manifest.read(path)
        parent, past = self.manifest.parent, self.manifest.past
        if past and self._run is None:
            of = "another run" if parent is None else f"{parent.name!r} ({parent.path})"
            raise RunDirectoryError(
                f"{path}: is a branch of {of}, and its past is made of more than a scenario: give its run directory"
            )
        self._past_steps = past[-1].last_step if past else 0
        before = Scenario.from_dict(self.manifest.scenario)
        self.scenario = before if change is None else change(before)
        other_files = self.scenario.named_files != before.named_files
        found = input_differences(self.manifest, self.scenario)
        if found and not other_files:
            raise RunDirectoryError(
                f"{path}: "
                + "; ".join(found)
                + "; bring back the files that the run was made from, or name others with "
                "--set KEY=PATH"
            )
        self.another = bool(found) or self.scenario.decisive() != before.decisive()

    def simulation(self, out: Path) -> Simulation:
        """Return the run to make, in `out`. Of a branch, the past is taken from the recorded one, not made again."""
        if self._run is not None and self._past_steps:
            run = open_run(self._run)
            return branch_to(self.scenario, run, self._past_steps, out, reuse_answers=False)[0]
        return Simulation(self.scenario, out, earlier=Earlier(injected=injected(self.manifest)))

    def warnings(self, parts: Parts) -> list[str]:
        """Return a sentence for each thing that is another than when the run was recorded."""
        return [] if self.another else differences(self.manifest, provenance(parts))

    def check_out(self, out: Path) -> None:
        """Refuse to write into the recorded run.

        Raises
        ------
        RunDirectoryError
        """
        if self._run is not None:
            check_outside(out, self._run, RunDirectoryError)

    def outcome(self, made: Path) -> Outcome:
        """Compare the run that was made again."""
        was, now = self.manifest, Manifest.read(made)
        if self.another:
            return Outcome(None, False, f"another run than {was.name!r} as recorded, so the two are not compared")
        last, first = self._compare_steps(made)
        if first is None and was.status != "done":
            end = f"the recorded run was not done ({was.status})"
            if last == 0:
                return Outcome(None, False, f"{end}, and its steps are not at hand, so there is nothing to compare")
            return Outcome(True, False, f"the same as recorded up to step {last}; {end}")
        if first is None and was.state_hash == now.state_hash:
            return Outcome(True, False, "the same as recorded")
        differs = [] if first is None else [f"step {first} is the first to differ"]
        if was.status == "done":
            differs.append(f"the state hash is {now.state_hash}, recorded was {was.state_hash}")
        text = f"not the same as recorded: {'; '.join(differs)}"
        if was.model is None:
            return Outcome(False, True, text, first)
        text += (
            f"; {was.model} was asked again and may answer differently: 'oasis replay' repeats a run with its recorded "
            "answers"
        )
        return Outcome(False, False, text, first)

    def _compare_steps(self, made: Path) -> tuple[int, int | None]:
        """Return the last step that both have (0 where those recorded are not at hand), and the first that differs."""
        if self._run is None:
            return 0, None
        try:
            before = _digests(open_run(self._run))
        except RunDirectoryError:  # its tables are missing or damaged, which `oasis verify` would say
            return 0, None
        after = _digests(open_run(made))
        both = sorted(before.keys() & after.keys())
        return max(both, default=0), next((step for step in both if before[step] != after[step]), None)


def _digests(run: Run) -> dict[int, str]:
    metrics = run.metrics.collect()
    if "step_digest" not in metrics.columns:
        return {}
    return dict(metrics.select("step", "step_digest").iter_rows())
