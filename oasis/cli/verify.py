"""``oasis verify``: whether a run is whole, and what can be recovered where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from oasis.runs.text_table import one_line
from oasis.runs.verification import Check, Verification
from oasis.runs.verification import verify as verify_run

__all__ = ["verify"]

_LISTED = 20  # problems of a check on a screen


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with all problems.")
@click.pass_context
def verify(context: click.Context, run: Path, as_json: bool) -> None:
    """Check every file of a RUN, in whatever state it is: hashes, schemas, references, counts, digests.

    Says what is damaged and what can be recovered; changes nothing. Exit status: 0 whole, 1 damaged, 2 not a run.
    """
    found = verify_run(run)
    click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2) if as_json else _text(found))
    context.exit(0 if found.ok else 1)


def _text(found: Verification) -> str:
    count = len(found.problems)
    verdict = "whole" if found.ok else f"DAMAGED: {count:,} problem{'s' if count != 1 else ''}"
    lines = [f"{one_line(str(found.path), 200)}: {found.state}, {found.steps_done:,} steps done: {verdict}", ""]
    width = max(len(check.name) for check in found.checks)
    for check in found.checks:
        lines += _check_lines(check, width)
    if found.recovery:
        lines += ["", "what can be recovered" if not found.ok else "how it goes on"]
        lines += [f"  {one_line(line, 400)}" for line in found.recovery]
    return "\n".join(lines)


def _check_lines(check: Check, width: int) -> list[str]:
    state = {True: "ok", False: "DAMAGED", None: "-"}[check.ok]
    lines = [f"{state:<7}  {check.name:<{width}}  {one_line(check.about, 200)}"]
    lines += [f"         {one_line(f'{p.file}: {p.text}', 400)}" for p in check.problems[:_LISTED]]
    if len(check.problems) > _LISTED:
        lines.append(f"         ... and {len(check.problems) - _LISTED:,} more; --json lists all")
    lines += [f"         note: {one_line(note, 400)}" for note in check.notes]
    return lines
