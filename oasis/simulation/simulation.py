"""A run from its first step to its last: the engine, its run directory, its limits and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.errors import BudgetError, FailureLimitError, InputError, NoEndpointError, RunStoppedError
from oasis.inference import build_client
from oasis.interfaces import InferenceClient, Question
from oasis.records import LLM_CALLS
from oasis.runs import world_tables
from oasis.runs.manifest import Status
from oasis.scenario import Intervention, Scenario
from oasis.simulation.assembly import Parts, assemble
from oasis.simulation.calls import CallCounts
from oasis.simulation.collecting import seldom_collected
from oasis.simulation.coverage import Coverage
from oasis.simulation.earlier import Earlier
from oasis.simulation.engine import Engine, StepResult
from oasis.simulation.interventions import check_entry, check_interventions
from oasis.simulation.load import ServerLoad
from oasis.simulation.place import NewPlace, Place
from oasis.simulation.point import Point
from oasis.simulation.servers import Servers
from oasis.simulation.storage import Storage
from oasis.world.snapshot import EMBEDDINGS, store_tables
from oasis.world.world import World

__all__ = ["RunSummary", "Simulation"]


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: the manifest's main fields."""

    status: Status
    steps_done: int
    state_hash: str | None
    """None where a step broke off or could not be written: then the world in memory is not what is on disk."""
    coverage: dict[str, Any]
    tokens: dict[str, int]
    out: Path | None


class Simulation:
    """One run of a scenario.

    Building it checks everything that can be checked before the first step and writes nothing.

    Parameters
    ----------
    scenario : Scenario
    out : path or Place, optional
        Run directory, which must not exist. Without one the run stays in memory: take what you need from each
        `StepResult`.
    batch_size : int
        Agents per slice of work. It changes memory and speed, never a result.
    inference : InferenceClient, optional
        Instead of the client that the scenario's ``[llm]`` table describes.
    earlier : Earlier, optional
        An execution that this one repeats or goes on from; see `oasis.simulation.again` and `branching`.

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
        out: str | Path | Place | None = None,
        *,
        batch_size: int = 8_192,
        inference: InferenceClient | None = None,
        earlier: Earlier | None = None,
    ) -> None:
        if not isinstance(scenario, Scenario):
            raise TypeError(
                f"scenario must be a Scenario, got {type(scenario).__name__}; see Scenario.load and from_dict"
            )
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        self._place = NewPlace(Path(out)) if isinstance(out, str | Path) else out
        self.out = None if self._place is None else self._place.path
        self._earlier = earlier or Earlier()
        needs_endpoint = inference is None and not self._earlier.offline
        self._parts = assemble(scenario, needs_endpoint, self._earlier.point)
        self.scenario = scenario = self._parts.scenario
        self.warnings = check_interventions(scenario, self._parts.world, self._parts.policy_names)
        self._calls = CallCounts(scenario.budget)
        if self._earlier.answers is not None:
            self._calls.owe(self._earlier.answers.rows())
        asks_model = [policy.needs_inference for policy in self._parts.policies]
        if inference is None and any(asks_model):
            inference = build_client(
                scenario.llm,
                seed=scenario.simulation.seed,
                journal=self._keep_calls,
                recorded=self._earlier.answers,
                keep_prompt=self._keeps_prompt,
                offline=self._earlier.offline,
                meter=self._calls,
            )
        self._inference = inference
        self._servers = Servers(inference)
        self._engine = Engine(self._parts, inference, batch_size)
        limits = scenario.llm
        self._coverage = Coverage(self._parts.policy_names, asks_model, limits.failure_limit, limits.failure_window)
        if (point := self._earlier.point) is not None:
            self._coverage.load(point.coverage, point.active)
            self._calls.load(point.calls)
        nobody = np.zeros(0, np.int32)
        self._coverage.add(len(self.world.users), nobody, nobody, nobody.astype(np.int16))  # registered before a step
        self._injected = list(self._earlier.injected)
        self._injected_kept = 0
        self._last_step = self._earlier.last_step or scenario.simulation.steps
        self._storage: Storage | None = None
        self._current: asyncio.Task[StepResult] | None = None
        self._stop = False
        self._begun = False
        self._summary: RunSummary | None = None

    @property
    def world(self) -> World:
        """The world as it stands after the last step."""
        return self._parts.world

    @property
    def place(self) -> Place | None:
        """Where the run is kept."""
        return self._place

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

    @property
    def server_load(self) -> list[ServerLoad]:
        """How servers of language models do, of a run with a directory: cache hits since it began, queues by now."""
        return self._servers.loads

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
        done = max(self.world.step, self._earlier.repeat_until)
        entry = Intervention.from_keys({"step": done + 1, "kind": kind, **keys})
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

        Steps that are only executed again, of a run that goes on, are not handed out.

        A consumer that leaves early ends the run as "stopped".

        Raises
        ------
        RunStoppedError, NoEndpointError
        """
        if self._begun:
            raise RuntimeError("a simulation runs once; build another one")
        self._begun = True
        status: Status = "failed"
        message: str | None = None
        repeated = self._earlier.repeat_until
        try:
            if self.world.step >= repeated:
                self._open()
            while self.world.step < self._last_step:
                self._check_limits()
                self._keep_news()
                result = await self._step()
                step = result.step
                self._earlier.compare(step, str(result.metrics["step_digest"]), result.tables)
                if step > repeated and self._storage is not None:
                    self._storage.keep_step(step, self._kept(result), result.metrics)
                self._coverage.add(len(self.world.users), result.active, result.policy, result.failed)
                if step == repeated:
                    self._open()
                elif self._storage is not None and self._storage.checkpoint_due(step):
                    self._storage.keep_point(self.point())
                if step > repeated:
                    yield result
                elif self._earlier.on_repeated is not None:
                    self._earlier.on_repeated(step)
                # What failed up to there did not end the run, or it was resumed after.
                judged = step > repeated and not self._earlier.offline
                if judged and (excess := self._coverage.excess()) is not None:
                    raise FailureLimitError(f"stopped after step {step}: {excess}")
            if not self._earlier.offline and (excess := self._coverage.excess(at_end=True)) is not None:
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
            self._end(status, message)
            self._servers.give_up()
            if self._inference is not None:
                await self._inference.close()

    def point(self) -> Point:
        """Return where the run stands, valid until its next step: what a checkpoint holds."""
        tables = store_tables(self.world)
        if self.world.has_embeddings:
            tables[EMBEDDINGS] = self.world.embeddings.to_arrow()
        coverage, active = self._coverage.state()
        engine = self._engine
        return Point(
            self.world.step, engine.digest.hex(), engine.swapped, coverage, active, self._calls.state(), tables
        )

    async def _step(self) -> StepResult:
        recorded = self._earlier.recorded(self.world.step + 1)
        decided = None if self._earlier.by_answers else recorded
        self._current = asyncio.ensure_future(self._engine.step(self._injected, decided))
        try:
            with seldom_collected():
                result = await self._current
        except asyncio.CancelledError:
            if not self._stop:
                raise
            raise RunStoppedError(f"stopped on request; step {self.world.step + 1} was dropped") from None
        except BudgetError as error:
            raise BudgetError(f"stopped in step {self.world.step + 1}: {error}") from None
        finally:
            self._current = None
        calls = result.tables["llm_calls"] if decided is None else decided.rows("llm_calls")
        result.metrics.update(self._calls.add(calls))
        return result

    def _open(self) -> None:
        """Make the run directory ready for the next step, if the run is kept in one."""
        if self._place is not None:
            whole = self._place.checkpoint
            self._storage = Storage(self._place.make(self._parts), self.scenario.output, whole)
            self._servers.ask(self._storage.manifest.server_load)
            if self.world.step:  # so that what comes next is repeated from here
                self._storage.keep_point(self.point())
        if self._earlier.repeat_until:
            self._coverage.forget()

    def _keep_news(self) -> None:
        """Note in the manifest what was injected, before it happens, and what servers said of themselves."""
        if self._storage is None:
            return
        news = self._servers.news(self._storage.manifest.servers)
        if len(self._injected) > self._injected_kept:
            news["injected"] = [_plain(entry) for entry in self._injected]
            self._injected_kept = len(self._injected)
        if news:
            self._storage.update(**news)

    def _keep_calls(self, rows: Iterable[Mapping[str, Any]]) -> None:
        if self._storage is not None:
            self._storage.keep_calls(rows)

    def _check_limits(self) -> None:
        """Stop before a step that must not be begun."""
        step = self.world.step
        if self._stop:
            raise RunStoppedError(f"stopped on request after step {step}")
        if step < self._earlier.repeat_until:
            return
        if (excess := self._calls.excess()) is not None:
            raise BudgetError(f"stopped after step {step}: {excess}")
        if self._storage is not None:
            self._storage.check_space()

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

    def _end(self, status: Status, message: str | None) -> None:
        """Write what a run leaves behind, whatever ended it."""
        storage, step = self._storage, self.world.step
        steps_done = storage.steps_done if storage is not None else max(step, self._earlier.repeat_until)
        whole = steps_done == step and not self._engine.torn
        point = self.point() if whole and storage is not None else None
        if storage is not None:
            dropped = storage.dropped()
        else:
            dropped = LLM_CALLS.empty_table() if self._inference is None else self._inference.take_records()
        # Calls of a step that was not finished cost all the same; those of one that was are counted.
        self._calls.add(dropped.filter(pc.greater(dropped["step"], step)))
        state_hash = self.world.state_hash() if whole else None
        coverage, tokens = self._coverage.counts(), dict(self._calls.tokens)
        never_opened = storage is None and self._place is not None
        if status == "stopped" or not never_opened:
            self._summary = RunSummary(status, steps_done, state_hash, coverage, tokens, self.out)
        if storage is None:
            if self._place is not None:  # all is as it was
                self._place.leave()
            return
        counts = {"coverage": coverage, "tokens": tokens, **self._servers.news(storage.manifest.servers)}
        counts |= self._servers.load()
        if point is None:  # the world holds what is not on disk: of a step that broke off, or could not be written
            storage.abandon(status, message=message, **counts)
            return
        tables = world_tables(self.world, self._parts.policy_names)
        try:
            storage.finish(status, point, dropped, tables, state_hash=state_hash, message=message, **counts)
        except RunStoppedError as error:
            self._summary = replace(self.summary, status="stopped")
            storage.abandon("stopped", message=str(error), **counts)
            raise


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _plain(entry: Intervention) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_none=True)
