"""Asking the agents of a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oasis.errors import InputError, OasisError, RunDirectoryError
from oasis.inference import build_client
from oasis.interfaces import Question
from oasis.runs import open_run
from oasis.runs.directory import write_parquet
from oasis.scenario import Scenario
from oasis.simulation.assembly import assemble
from oasis.simulation.engine import Engine
from oasis.simulation.point import Point
from oasis.simulation.rebuild import newest_point

__all__ = ["AFTERWARDS", "interview_run"]

AFTERWARDS = "interviews_afterwards.parquet"
"""Answers to questions asked after the end; not part of the run, so not among the manifest's files."""


async def interview_run(
    directory: Path, agents: list[int], question: Question, llm: Mapping[str, Any] = MappingProxyType({})
) -> pa.Table:
    """Ask agents of a recorded run, as they are at its end; append the answers to `AFTERWARDS`.

    Parameters
    ----------
    llm : mapping, optional
        Keys of ``[llm]`` that change the scenario's.

    Returns
    -------
    pyarrow.Table
        Rows of `oasis.records.INTERVIEWS`.

    Raises
    ------
    RunDirectoryError
        If the run has no final state, or `directory` is no run.
    InputError
        For an agent that does not exist.
    OasisError
        If the answers cannot be kept.
    """
    manifest = open_run(directory).manifest
    scenario = Scenario.from_dict(manifest.scenario)
    scenario = scenario.with_changes(llm=llm)
    if manifest.status == "running":
        raise RunDirectoryError(f"{directory}: the run has not ended, so its agents' last state is not on disk")
    try:
        parts = assemble(scenario, point=_last_point(directory, manifest.steps_done))
    except RunDirectoryError as error:
        raise RunDirectoryError(f"{directory}: the last state of its agents cannot be read: {error}") from None
    for agent in agents:
        if not 0 <= agent < len(parts.world.users):
            raise InputError(f"no agent {agent} in {directory}; allowed: 0 to {len(parts.world.users) - 1}")
    asks = any(policy.needs_inference for policy in parts.policies)
    client = build_client(scenario.llm, seed=scenario.simulation.seed) if asks else None
    try:
        asked = np.unique(np.asarray(agents, np.int32))
        answers = await Engine(parts, client).interview(question, asked, parts.world.step)
    finally:
        if client is not None:
            await client.close()
    path = directory / AFTERWARDS
    try:
        write_parquet(
            pa.concat_tables([pq.read_table(path, schema=answers.schema), answers]) if path.exists() else answers, path
        )
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise OasisError(f"{path}: the answers cannot be kept: {reason}") from None
    return answers


def _last_point(directory: Path, step: int) -> Point:
    damage: list[str] = []
    found = newest_point(directory, step, damage=damage)
    if found is None or found[0].step < step:
        raise RunDirectoryError("; ".join(damage) or f"there is no checkpoint of step {step}")
    return found[0]
