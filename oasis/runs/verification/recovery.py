"""What can be recovered of a run, and how."""

from __future__ import annotations

from collections.abc import Sequence

from oasis.records import STEP_TABLES
from oasis.runs.manifest import MANIFEST
from oasis.runs.verification.evidence import Evidence
from oasis.runs.verification.findings import Check

__all__ = ["recovery", "steps_whole"]


def steps_whole(ev: Evidence, checks: Sequence[Check]) -> int:
    """Return the last step up to which nothing is wrong with any record."""
    steps = [problem.step for check in checks for problem in check.problems if problem.step is not None]
    return max(0, min([ev.steps_done, *(step - 1 for step in steps)]))


def recovery(ev: Evidence, checks: Sequence[Check], whole: int) -> tuple[str, ...]:
    """Return what can be recovered, a sentence each; of a run in which nothing is wrong, how it can go on."""
    problems = [problem for check in checks for problem in check.problems]
    run = ev.path
    lines: list[str] = []
    if not problems:
        if ev.state in ("killed", "stopped", "failed"):
            begins = f"no step is done: `oasis resume {run}` begins with the first"
            lines.append(f"steps 1 to {whole} are whole: `oasis resume {run}` goes on" if whole else begins)
        return tuple(lines)
    readable = ev.manifest is not None
    if not readable:
        lines.append(f"without {MANIFEST} neither resume, replay nor branch can work: put back a copy of it")
    if whole == ev.steps_done and whole:
        lines.append(f"events, impressions, calls and interviews of all {whole} steps are whole")
    elif whole:
        lines.append(f"events, impressions, calls and interviews of steps 1 to {whole} of {ev.steps_done} are whole")
    elif ev.steps_done:
        lines.append("no step is whole in all its records")
    goes_on = readable and ev.state in ("killed", "stopped", "failed")
    if goes_on:
        how = f"goes on from step {whole}: what lies behind it is executed again"
        lines.append(f"`oasis resume {run}` {how if whole else 'executes all steps again'}")
    derived = sorted({p.file for p in problems if p.step is None and _is_derived(p.file)})
    if readable and whole and (not goes_on or whole < ev.steps_done):
        made = f", with {_some(derived)} made again" if derived and whole == ev.steps_done else ""
        lines.append(f"`oasis branch {run} --at-step {whole}` goes on from there in a directory of its own{made}")
    lines += _checkpoints(ev, whole)
    lines += _calls(ev, checks)
    if readable:
        lines.append(f"`oasis run --from-manifest {run}` makes the whole run again")
    return tuple(lines)


def _checkpoints(ev: Evidence, whole: int) -> list[str]:
    if not ev.damaged_checkpoints:
        return []
    damaged = ", ".join(str(step) for step in ev.damaged_checkpoints)
    before = [step for step in ev.checkpoints if step <= whole]
    instead = f"the one of step {max(before)}" if before else "the first step, executing all steps again"
    return [f"the checkpoint of step {damaged} is damaged: resume and branch begin from {instead}"]


def _calls(ev: Evidence, checks: Sequence[Check]) -> list[str]:
    """Say whether answers of language models are all there."""
    if "llm_calls" in ev.broken:
        return []
    said = [p for check in checks for p in check.problems if p.file.startswith(("llm_calls", "current/llm_calls"))]
    if said:
        return []
    answers = sum(ev.read(part, ["step"]).num_rows for part in ev.parts.get("llm_calls", []))
    if not answers:
        return []
    return [f"all {answers:,} calls of language models are whole: no server is asked for them again"]


def _is_derived(file: str) -> bool:
    first = file.partition("/")[0]
    return first not in (*STEP_TABLES, MANIFEST, "checkpoints", "current", "initial", "journal.jsonl", ".")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
