"""A run from its first step to its last: the engine, its run directory, its limits and its end."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.errors import FailureLimitError, InputError, NoEndpointError, RunDirectoryError, RunStoppedError
from oasis.inference import build_client
from oasis.interfaces import InferenceClient, Question
from oasis.paths import check_absent
from oasis.records import LLM_CALLS
from oasis.runs import Recorder, RunDirectory, world_tables
from oasis.runs.journal import Journal
from oasis.runs.manifest import Status
from oasis.scenario import Intervention, Scenario
from oasis.simulation.assembly import Parts, assemble
from oasis.simulation.coverage import Coverage
from oasis.simulation.earlier import Earlier
from oasis.simulation.engine import Engine, StepResult
from oasis.simulation.interventions import check_entry, check_interventions
from oasis.simulation.provenance import provenance
from oasis.simulation.servers import Servers
from oasis.world.snapshot import write_snapshot
from oasis.world.world import World

__all__ = ["RunSummary", "Simulation"]

FINAL_STATE = "checkpoints/final"
"""Where in a run directory the world's stores lie when it has ended."""

_DISK_FLOOR = 64 * 2**20  # bytes that must be free before a step: more than a step of a small run writes


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: the manifest's main fields."""

    status: Status
    steps_done: int
    state_hash: str | None
    """None where the last step could not be written: then the world in memory is ahead of what is on disk."""
    coverage: dict[str, Any]
    tokens: dict[str, int]
    out: Path | None


class Simulation:
    """One run of a scenario.

    Building it checks everything that can be checked before the first step and writes nothing.

    Parameters
    ----------
    scenario : Scenario
    out : path, optional
        Run directory, which must not exist. Without one the run stays in memory: take what you need from each
        `StepResult`.
    batch_size : int
        Agents per slice of work. It changes memory and speed, never a result.
    inference : InferenceClient, optional
        Instead of the client that the scenario's ``[llm]`` table describes.
    earlier : Earlier, optional
        An execution that this one repeats; see `oasis.simulation.again`.

    Raises
    ------
    InputError
        For anything in the scenario, the population or `out` that cannot work.

    Examples
    --------
    >>> from oasis import Scenario, Simulation
    >>> scenario = Scenario.from_dict({"simulation": {"steps": 2}, "population": {"agents": 30}})
    >>> Simulation(scenario).run_sync().steps_done
    2
    """

    def __init__(
        self,
        scenario: Scenario,
        out: str | Path | None = None,
        *,
        batch_size: int = 20_000,
        inference: InferenceClient | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        if not isinstance(scenario, Scenario):
            raise TypeError(
                f"scenario must be a Scenario, got {type(scenario).__name__}; see Scenario.load and from_dict"
            )
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if out is not None:
            check_absent(Path(out), RunDirectoryError)
        self.scenario = scenario
        self.out = None if out is None else Path(out)
        self._earlier = earlier or Earlier()
        self._parts = assemble(scenario, needs_endpoint=inference is None and not self._earlier.offline)
        self.warnings = check_interventions(scenario, self._parts.world, self._parts.policy_names)
        asks_model = [policy.needs_inference for policy in self._parts.policies]
        if inference is None and any(asks_model):
            inference = build_client(
                scenario.llm,
                seed=scenario.simulation.seed,
                journal=self._keep_call,
                recorded=self._earlier.answers,
                keep_prompt=self._keeps_prompt,
                offline=self._earlier.offline,
            )
        self._inference = inference
        self._servers = Servers(inference)
        self._engine = Engine(self._parts, inference, batch_size)
        limits = scenario.llm
        self._coverage = Coverage(self._parts.policy_names, asks_model, limits.failure_limit, limits.failure_window)
        nobody = np.zeros(0, np.int32)
        self._coverage.add(len(self.world.users), nobody, nobody, nobody.astype(np.int16))  # registered before a step
        self._injected = list(self._earlier.injected)
        self._injected_kept = 0
        self._last_step = self._earlier.last_step or scenario.simulation.steps
        self._journal: Journal | None = None
        self._tokens = {"input": 0, "cached": 0, "output": 0}
        self._calls = 0
        self._current: asyncio.Task[StepResult] | None = None
        self._stop = False
        self._begun = False
        self._summary: RunSummary | None = None

    @property
    def world(self) -> World:
        """The world as it stands after the last step."""
        return self._parts.world

    @property
    def parts(self) -> Parts:
        """What the run is made of."""
        return self._parts

    @property
    def ended(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self._summary is not None

    @property
    def summary(self) -> RunSummary:
        """How the run ended.

        Raises
        ------
        RuntimeError
            While it has not.
        """
        if self._summary is None:
            raise RuntimeError("the run has not ended yet")
        return self._summary

    def inject(self, kind: str, **keys: Any) -> None:
        """Do something from outside at the beginning of the next step: an ``[[interventions]]`` entry without ``step``.

        Raises
        ------
        ScenarioError
        RuntimeError
            If the run has ended.

        Examples
        --------
        ``simulation.inject("post", author=3, content="Breaking news")``
        """
        if self.ended:
            raise RuntimeError("the run has ended; nothing can be injected any more")
        entry = Intervention.from_keys({"step": self.world.step + 1, "kind": kind, **keys})
        pending = [*self.scenario.interventions, *self._injected]
        check_entry(entry, f"inject {kind}", self.world, self._parts.policy_names, pending)
        self._injected.append(entry)

    async def interview(self, agents: Sequence[int], question: Question) -> pa.Table:
        """Ask agents a question between steps; return rows of `oasis.records.INTERVIEWS`. Nothing is recorded or
        changed, but with LLM agents the calls count.

        Raises
        ------
        InputError
            For an agent that does not exist.
        """
        last = len(self.world.users) - 1
        for agent in agents:
            if not 0 <= agent <= last:
                raise InputError(f"no agent {agent} to interview; allowed: 0 to {last}")
        return await self._engine.interview(question, np.asarray(agents, np.int32), self.world.step)

    def request_stop(self) -> None:
        """End the run, resumable: after the current step, or without it where it waits for a language model."""
        self._stop = True
        if self._current is not None and self._inference is not None:
            self._current.cancel()

    async def run(self, on_step: Callable[[StepResult], None] | None = None) -> RunSummary:
        """Do all steps.

        Raises
        ------
        RunStoppedError, NoEndpointError
            If the run ended early; what was done is on disk.
        """
        async with aclosing(self.steps()) as steps:
            async for result in steps:
                if on_step is not None:
                    on_step(result)
        return self.summary

    def run_sync(self, on_step: Callable[[StepResult], None] | None = None) -> RunSummary:
        """Do all steps, outside of any event loop.

        Raises
        ------
        RunStoppedError, NoEndpointError
            If the run ended early; what was done is on disk.
        RuntimeError
            Inside an event loop, as in a notebook.
        """
        if _in_event_loop():
            raise RuntimeError("an event loop is running (as in a notebook): write `await simulation.run()` instead")
        return asyncio.run(self.run(on_step))

    async def steps(self) -> AsyncGenerator[StepResult]:
        """Do one step after another; between them, `inject` and `interview` may be called.

        A consumer that leaves early ends the run as "stopped".

        Raises
        ------
        RunStoppedError, NoEndpointError
        """
        if self._begun:
            raise RuntimeError("a simulation runs once; build another one")
        self._begun = True
        recorder = self._open()
        if recorder is not None:
            self._servers.ask()
        status: Status = "failed"
        message: str | None = None
        try:
            while self.world.step < self._last_step:
                self._check_limits()
                self._keep_injected(recorder)
                if recorder is not None and (news := self._servers.news(recorder.directory.manifest.servers)):
                    recorder.update(**news)
                result = await self._step()
                last_repeated = self._earlier.compare(result.step, str(result.metrics["step_digest"]))
                if recorder is not None:
                    self._record(recorder, result)
                self._coverage.add(len(self.world.users), result.active, result.policy, result.failed)
                if last_repeated:
                    self._coverage.forget()
                yield result
                repeated = result.step in self._earlier.digests  # it did not end the run then, or was resumed after
                if not repeated and (excess := self._coverage.excess()) is not None:
                    raise FailureLimitError(f"stopped after step {result.step}: {excess}")
            if (excess := self._coverage.excess(at_end=True)) is not None:
                raise FailureLimitError(
                    f"all steps are done, but {excess}; to accept that, resume with --set llm.failure_limit=SHARE"
                )
            await self._servers.settle()
            status = "done"
        except (RunStoppedError, NoEndpointError) as error:
            status, message = "stopped", str(error)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            status, message = "stopped", f"stopped from outside after step {self.world.step}"
            raise
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._end(recorder, status, message)
            self._servers.give_up()
            if self._inference is not None:
                await self._inference.close()

    async def _step(self) -> StepResult:
        self._current = asyncio.ensure_future(self._engine.step(self._injected))
        try:
            result = await self._current
        except asyncio.CancelledError:
            if not self._stop:
                raise
            raise RunStoppedError(f"stopped on request; step {self.world.step + 1} was dropped") from None
        finally:
            self._current = None
        result.metrics.update(self._count(result.tables["llm_calls"]))
        return result

    def _keep_injected(self, recorder: Recorder | None) -> None:
        """Note in the manifest what was injected, before it happens: a killed run must be repeatable too."""
        if recorder is not None and len(self._injected) > self._injected_kept:
            recorder.update(injected=[_plain(entry) for entry in self._injected])
            self._injected_kept = len(self._injected)

    def _record(self, recorder: Recorder, result: StepResult) -> None:
        with recorder.writing():
            if self._journal is not None:
                self._journal.sync()
            recorder.record_step(result.step, self._kept(result), result.metrics)
            if self._journal is not None:
                self._journal.clear()

    def _keep_call(self, row: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(row)

    def _check_limits(self) -> None:
        """Stop before a step that must not be begun."""
        step, budget = self.world.step, self.scenario.budget
        if self._stop:
            raise RunStoppedError(f"stopped on request after step {step}")
        if budget.max_calls is not None and self._calls >= budget.max_calls:
            raise RunStoppedError(f"stopped after step {step}: budget.max_calls ({budget.max_calls}) is used up")
        used = self._tokens["input"] + self._tokens["output"]
        if budget.max_tokens is not None and used >= budget.max_tokens:
            raise RunStoppedError(f"stopped after step {step}: budget.max_tokens ({budget.max_tokens}) is used up")
        if self.out is not None and (free := shutil.disk_usage(self.out).free) < _DISK_FLOOR:
            raise RunStoppedError(
                f"stopped after step {step}: {free / 2**20:.0f} MiB are free at {self.out}; "
                f"at least {_DISK_FLOOR // 2**20} MiB are needed to keep what a step brings"
            )

    def _count(self, calls: pa.Table) -> dict[str, int]:
        sums = {name: pc.sum(calls[f"tokens_{name}"]).as_py() or 0 for name in ("in", "cached", "out")}
        for name, column in (("input", "in"), ("cached", "cached"), ("output", "out")):
            self._tokens[name] += sums[column]
        self._calls += calls.num_rows
        return {"llm_calls": calls.num_rows, **{f"tokens_{name}": value for name, value in sums.items()}}

    def _kept(self, result: StepResult) -> dict[str, pa.Table]:
        """Return the tables with the impressions that the scenario keeps."""
        tables, output = dict(result.tables), self.scenario.output
        if output.impressions == "none":
            del tables["impressions"]
        elif output.impressions == "sample":
            shown = tables["impressions"]
            tables["impressions"] = shown.filter(pa.array(self._in_sample(shown["agent_id"].to_numpy())))
        return tables

    def _keeps_prompt(self, agent: int) -> bool:
        kept = self.scenario.output.prompts
        return kept == "all" or (kept == "sample" and bool(self._in_sample(np.array([agent]))[0]))

    def _in_sample(self, agents: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        drawn = self._parts.draws.uniform("output sample", 0, self.world.users["key"][agents])
        return np.asarray(drawn < self.scenario.output.sample_share)

    def _open(self) -> Recorder | None:
        if self.out is None:
            return None
        directory = RunDirectory.create(
            self.out,
            self.scenario.with_absolute_paths().to_dict(),
            refused_rows=self._parts.refused_rows,
            world=world_tables(self.world, self._parts.policy_names),
            **provenance(self._parts),
        )
        if self._inference is not None:
            self._journal = Journal(self.out)
        output = self.scenario.output
        return Recorder(directory, steps_per_block=output.steps_per_block, sync=output.sync)

    def _end(self, recorder: Recorder | None, status: Status, message: str | None) -> None:
        """Write what a run leaves behind, whatever ended it."""
        dropped = LLM_CALLS.empty_table() if self._inference is None else self._inference.take_records()
        self._count(dropped)  # calls of a step that was not finished: they cost all the same
        steps_done = self.world.step if recorder is None else recorder.steps_done
        whole = steps_done == self.world.step
        state_hash = self.world.state_hash() if whole else None
        self._summary = RunSummary(
            status, steps_done, state_hash, self._coverage.counts(), dict(self._tokens), self.out
        )
        if recorder is None:
            return
        assert self.out is not None
        news = self._servers.news(recorder.directory.manifest.servers)
        kept = {"coverage": self._summary.coverage, "tokens": self._summary.tokens, **news}
        if not whole:  # the last step could not be written, and the world holds it
            if self._journal is not None:
                self._journal.close(remove=False)
            recorder.abandon(status, message=message, **kept)
            return
        output = self.scenario.output
        try:
            recorder.record_dropped(dropped)
            if self._journal is not None:
                self._journal.close()
            with recorder.writing():
                write_snapshot(self.world, self.out / FINAL_STATE)
            recorder.finish(
                status,
                tables=world_tables(self.world, self._parts.policy_names),
                report=output.report,
                top_cascades=output.top_cascades,
                state_hash=state_hash,
                message=message,
                **kept,
            )
        except RunStoppedError as error:
            self._summary = replace(self._summary, status="stopped")
            recorder.abandon("stopped", message=str(error), **kept)
            raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _plain(entry: Intervention) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_none=True)
