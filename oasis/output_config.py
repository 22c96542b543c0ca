"""``[output]``: what a run keeps on disk."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from oasis.interfaces import Parameters

__all__ = ["Kept", "OutputConfig"]

Kept = Literal["all", "sample", "none"]


class OutputConfig(Parameters):
    """What is kept of a run. Events, interviews and the world at the end always are.

    Attributes
    ----------
    impressions : {"all", "sample", "none"}
        Of which agents feeds are kept. Ten posts for each of 50,000 active agents are half a million rows a step.
    prompts : {"all", "sample", "none"}
        Of which agents prompts are kept in ``llm_calls``; answers always are.
    sample_share : float
        Share of agents that "sample" keeps, in (0, 1]; without a "sample" it has no effect. An agent is in the
        sample for the whole run, drawn from the seed, so that whole histories can be read.
    steps_per_block : int
        Steps per Parquet file. A block in progress is Arrow IPC streams.
    sync : bool
        Whether each step is forced to disk before it is marked as done (survives a power cut, not only a killed
        process).
    checkpoint_steps : int
        A checkpoint every so many steps; 0 for none. Without any, a killed run is executed again from its first step.
    checkpoint_minutes : float
        And whenever so many minutes of wall-clock time have gone by since the last; 0 for never. Neither changes a
        result.
    checkpoints_kept : int
        How many checkpoints are kept: the newest two, and others spread over the run.
    report : bool
        Whether ``report.html`` and its figures are written at the end.
    top_cascades : int
        Cascades listed in the report.
    """

    impressions: Kept = "all"
    prompts: Kept = "none"
    sample_share: float = Field(default=0.05, gt=0, le=1)
    steps_per_block: int = Field(default=60, ge=1, le=100_000)
    sync: bool = True
    checkpoint_steps: int = Field(default=60, ge=0)
    checkpoint_minutes: float = Field(default=0, ge=0, allow_inf_nan=False)
    checkpoints_kept: int = Field(default=4, ge=1, le=100_000)
    report: bool = True
    top_cascades: int = Field(default=10, ge=0, le=1000)
