"""All runs of an experiment, several at a time, each in a process of its own; what is done stays done."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from oasis.errors import OasisError, RunStoppedError
from oasis.experiments.closed_book import ask_closed_book
from oasis.experiments.folder import OUTCOMES, POPULATION, ExperimentFolder
from oasis.experiments.interfaces import Cell
from oasis.experiments.work import make_cell
from oasis.kernels.threads import available
from oasis.plugins import load
from oasis.population import load_population
from oasis.population.parquet import write_population
from oasis.runs.process import WriterLock

__all__ = ["Failure", "OnCell", "default_jobs", "run_experiment"]

LARGE = 200_000
"""Agents from which on a run has the machine to itself: a million take 7 GB (docs/scale.md)."""

OnCell = Callable[[int, int], None]
"""Called with how many runs are done, and how many there are."""


@dataclass(frozen=True)
class Failure:
    """A run that failed, and why."""

    cell: Cell
    message: str


def default_jobs(experiment: ExperimentFolder) -> int:
    """Return how many runs to make at a time: as many as there are cores, one where runs are large."""
    agents = max((experiment.base_scenario(cell).population.agents or 0) for cell in experiment.cells)
    return 1 if agents >= LARGE else max(1, min(available(), len(experiment.cells)))


def run_experiment(experiment: ExperimentFolder, jobs: int, on_cell: OnCell | None = None) -> list[Failure]:
    """Make all runs that are not done, and return those that failed; others go on where one fails.

    Raises
    ------
    RunDirectoryError
        If another process writes the same experiment.
    InferenceError
        If a language model is to be asked about the experiment's event and none answers.
    RunStoppedError
        On SIGINT or SIGTERM, when the runs in work have ended in order.
    """
    lock = WriterLock.acquire(experiment.path)
    try:
        _ask(experiment)
        if experiment.shares_population:
            _make_population(experiment)
        with _threads(max(1, available() // jobs)):
            return _make(experiment, jobs, on_cell or (lambda done, total: None))
    finally:
        lock.release(remove=True)


def _make(experiment: ExperimentFolder, jobs: int, on_cell: OnCell) -> list[Failure]:
    cells = experiment.cells
    left = [i for i, cell in enumerate(cells) if not (experiment.place(cell) / OUTCOMES).exists()]
    done = len(cells) - len(left)
    on_cell(done, len(cells))
    if not left:
        return []
    failures: list[Failure] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(left)), context, initializer=_settle) as pool, _interruptible():
        work = {pool.submit(make_cell, experiment.path, i): i for i in left}
        try:
            for future in _completed(work):
                message = _message(future)
                if message is not None:
                    failures.append(Failure(cells[work[future]], message))
                done += 1
                on_cell(done, len(cells))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _stop(multiprocessing.active_children())
            raise RunStoppedError(
                f"{experiment.path}: stopped on request; the same command goes on where this ended"
            ) from None
    return failures


def _completed(work: dict[Future[str | None], int]) -> Iterator[Future[str | None]]:
    """Yield what is done as it is; awake now and then, so that signals are heard."""
    left = set(work)
    while left:
        ready, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
        yield from sorted(ready, key=work.__getitem__)


def _message(future: Future[str | None]) -> str | None:
    try:
        return future.result()
    except BrokenProcessPool:
        return "its process ended without a word (killed, or out of memory); the same command takes it up again"
    except OasisError as error:
        return str(error)


def _ask(experiment: ExperimentFolder) -> None:
    """Ask models what they know before any run is made."""
    with _interruptible():
        try:
            ask_closed_book(experiment)
        except KeyboardInterrupt:
            raise RunStoppedError(f"{experiment.path}: stopped on request before the first run") from None


def _make_population(experiment: ExperimentFolder) -> None:
    """Generate the population of all runs, from the experiment's seed, with what its recommender needs embedded."""
    place = experiment.path / POPULATION
    if place.exists():
        return
    scenario = experiment.base_scenario(experiment.cells[0])
    p = scenario.population
    seed = experiment.design.experiment.seed
    found = load_population("generate", agents=p.agents, seed=seed, mean_active=p.mean_active, **p.further)
    write_population(found, place, load("embedders", scenario.recsys.embedder)())


def _settle() -> None:
    """Be deaf to signals until a run handles them: the process that started this one passes them on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(children: Sequence[multiprocessing.process.BaseProcess]) -> None:
    for child in children:
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)
    for child in children:
        child.join()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Take SIGTERM for SIGINT."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give processes that are started so many threads each."""
    names = ("OASIS_THREADS", "POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
