"""A table of actions, read and checked row by row number.

Axes: ``s`` rows, sorted by (step, agent), rows of one agent and step in the order given.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.actions import TARGETS, TEXT_ACTIONS, USER_ACTIONS, TargetKind
from oasis.errors import ScenarioError, nearest

__all__ = ["COLUMNS", "Script", "read_script", "script_of_rows"]

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

COLUMNS = ("step", "agent_id", "action", "target_id", "arg_id", "content")
"""``target_id`` -2 means "what this agent's first action of this step created", -3 its second, and so on."""
_NEEDED = COLUMNS[:3]
_NAMES = {action.label: action for action in USER_ACTIONS}
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Script:
    """Columns of the table, and where each row was written."""

    step: I32
    agent_id: I32
    action: I16
    target_id: I32
    arg_id: I32
    content: pa.LargeStringArray
    source: str
    line: I64

    def where(self, row: int) -> str:
        """Return the place of a row, for messages."""
        return f"{self.source}: row {self.line[row]}"

    def step_rows(self, step: int) -> I64:
        """Return the rows of a step."""
        start, end = np.searchsorted(self.step, (step, step + 1))
        return np.arange(start, end)

    def rows_of(self, step: int, agents: I32) -> tuple[I64, I64]:
        """Return (count, first row) of each agent's rows in a step."""
        rows = self.step_rows(step)
        first = int(rows[0]) if len(rows) else 0
        mine = self.agent_id[first : first + len(rows)]
        start = np.searchsorted(mine, agents, side="left")
        end = np.searchsorted(mine, agents, side="right")
        return (end - start).astype(np.int64), (start + first).astype(np.int64)


def read_script(path: str | Path) -> Script:
    """Read a CSV (with a header line) or Parquet file.

    Raises
    ------
    ScenarioError
        If the file is missing or malformed, naming the row.
    """
    path = Path(path)
    try:
        rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else _csv_rows(path)
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file; a script is a CSV or Parquet file of actions") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from None
    return script_of_rows(rows, str(path))


def script_of_rows(rows: Sequence[Mapping[str, Any]], source: str) -> Script:
    """Check rows and return them as a script.

    Raises
    ------
    ScenarioError
        Naming `source`, the row (from 1, without the header), what was got and what is allowed.
    """
    checked = [_checked(row, f"{source}: row {number}") for number, row in enumerate(rows, 1)]
    numbers = np.asarray([r[:5] for r in checked], np.int64).reshape(-1, 5)
    order = np.lexsort((numbers[:, 1], numbers[:, 0]))
    numbers = numbers[order]
    content = pa.array([checked[i][5] for i in order], pa.large_string())
    script = Script(
        step=numbers[:, 0].astype(np.int32),
        agent_id=numbers[:, 1].astype(np.int32),
        action=numbers[:, 2].astype(np.int16),
        target_id=numbers[:, 3].astype(np.int32),
        arg_id=numbers[:, 4].astype(np.int32),
        content=content,
        source=source,
        line=order + 1,
    )
    _check_own_creations(script)
    return script


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        rows: list[dict[str, Any]] = []
        try:
            header = next(reader, None)
            if not header:
                raise ScenarioError(f"{path}: is empty; the first line must name the columns: {', '.join(COLUMNS)}")
            repeated = [name for name in header if header.count(name) > 1]
            if repeated:
                raise ScenarioError(f"{path}, line 1: column {repeated[0]!r} stands twice")
            for cells in reader:
                if not cells:  # an empty line
                    continue
                if len(cells) != len(header):
                    raise ScenarioError(
                        f"{path}: row {len(rows) + 1} (line {reader.line_num}) has {len(cells)} cells, "
                        f"the header has {len(header)}"
                    )
                rows.append({name: cell if cell != "" else None for name, cell in zip(header, cells, strict=True)})
        except csv.Error as error:
            raise ScenarioError(
                f"{path}: row {len(rows) + 1} (up to line {reader.line_num}): not a CSV row: {error}"
            ) from None
    return rows


def _checked(row: Mapping[str, Any], where: str) -> tuple[int, int, int, int, int, str | None]:
    for name in row:
        if name not in COLUMNS:
            raise ScenarioError(
                f"{where}: unknown column {name!r}{nearest(name, COLUMNS)}; allowed: {', '.join(COLUMNS)}"
            )
    for name in _NEEDED:
        if row.get(name) is None:
            raise ScenarioError(f"{where}: {name} is missing; each row needs {', '.join(_NEEDED)}")
    label = str(row["action"])
    if label not in _NAMES:
        raise ScenarioError(f"{where}: unknown action {label!r}{nearest(label, _NAMES)}; allowed: {', '.join(_NAMES)}")
    action = _NAMES[label]
    step = _whole(row["step"], "step", 1, where)
    agent = _whole(row["agent_id"], "agent_id", 0, where)
    kind, target = TARGETS[action], row.get("target_id")
    if kind is TargetKind.NONE and target is not None:
        raise ScenarioError(f"{where}: {label} takes no target_id, got {target!r}")
    if kind is not TargetKind.NONE and target is None:
        raise ScenarioError(f"{where}: {label} needs target_id, the id of a {kind.label}")
    target_id = -1 if target is None else _whole(target, "target_id", -_INT32, where)
    if target is not None and target_id == -1:
        raise ScenarioError(f"{where}: target_id is -1; ids are 0 or more, own creations of the step -2 or less")
    arg = row.get("arg_id")
    arg_id = -1 if arg is None else _whole(arg, "arg_id", 0, where)
    text = row.get("content")
    content = None if text is None else str(text)
    if action in TEXT_ACTIONS and not (content and content.strip()):
        raise ScenarioError(f"{where}: {label} needs content, a text")
    if action not in TEXT_ACTIONS and content is not None:
        raise ScenarioError(f"{where}: {label} takes no content, got {content[:40]!r}")
    return step, agent, int(action), target_id, arg_id, content


def _whole(value: Any, name: str, low: int, where: str) -> int:
    number: int | None = None
    if isinstance(value, str):
        number = int(value) if re.fullmatch(r"\s*-?[0-9]{1,12}\s*", value) else None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if number is None or not low <= number <= _INT32:
        least = "a whole number" if low < 0 else f"a whole number from {low}"
        raise ScenarioError(f"{where}: {name} must be {least}, got {value!r}")
    return number


def _check_own_creations(script: Script) -> None:
    if not len(script.step):
        return
    same = (np.diff(script.step) == 0) & (np.diff(script.agent_id) == 0)
    start = np.flatnonzero(np.r_[True, ~same])
    rank = np.arange(len(script.step)) - np.repeat(start, np.diff(np.r_[start, len(script.step)]))
    wrong = np.flatnonzero((script.target_id <= -2) & (-2 - script.target_id >= rank))
    if len(wrong):
        row = int(wrong[0])
        wanted = -2 - script.target_id[row]
        raise ScenarioError(
            f"{script.where(row)}: target_id {script.target_id[row]} means what action {wanted} (from 0) of this agent "
            f"and step created, but this is action {rank[row]}"
        )
