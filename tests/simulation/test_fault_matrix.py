"""Each way in which servers fail, through a whole run: what the attempts say, how the run ends, and that nothing is
lost or done twice. `docs/llm.md` shows the same table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from oasis import Scenario, Simulation, open_run
from oasis.errors import NoEndpointError
from oasis.inference import asking as asking_module
from oasis.inference import endpoints as endpoints_module
from oasis.runs.verification import verify
from oasis.simulation import StepResult
from oasis.simulation.again import replay, resume
from oasis.testing.servers import StubServer

STEPS = 4
SHORT_S = 0.5
RETRY_AFTER_S = 0.1
GOES_ON, STOPS = "goes on", "stops, resumable"
DOCUMENT = Path(__file__).parents[2] / "docs/llm.md"


@dataclass(frozen=True)
class Row:
    """A fault and its expected outcome.

    Attributes
    ----------
    what : str
        As it is in the document.
    says : str
        What the errors of failed attempts hold; nothing where none fails.
    ends : str
        `GOES_ON` or `STOPS`.
    fault : str
        What the stub shows (or, in braces, answers): to the first asking of every third question, or, of a row that
        stops the run, to each request of its second half.
    setting : dict
        Of the stub.
    decodings : tuple of str
        By which it is run.
    """

    what: str
    says: str
    ends: str = GOES_ON
    fault: str = ""
    setting: dict[str, Any] = field(default_factory=dict)
    decodings: tuple[str, ...] = ("json",)

    @property
    def shown(self) -> str | None:
        """What the stub's script returns."""
        return self.fault if self.fault.startswith("{") else f"<{self.fault}>" if self.fault else None

    def sometimes(self, body: dict[str, Any], nth: int) -> str | None:
        """Be the stub's script, of a fault that passes."""
        return self.shown if nth == 0 and sum(map(ord, str(body["messages"]))) % 3 == 0 else None


BOTH = ("json", "choice")
HANGS = {"hang_s": 20.0}
MATRIX = (
    Row("answers a twentieth of all questions 20 times as late", "", setting={"spike_share": 0.05, "delay_s": 0.01}),
    Row("429 with `Retry-After`", "overloaded: HTTP 429: too many requests", fault="429", decodings=BOTH),
    Row("503 with `Retry-After`", "overloaded: HTTP 503: at capacity", fault="503_retry"),
    Row("503 without", "overloaded: HTTP 503: Loading model", fault="503"),
    Row("500", "server: HTTP 500: the engine is dead", fault="500"),
    Row("resets the connection (RST)", "connection: ", fault="reset", decodings=BOTH),
    Row("closes the connection in the middle of a response", "connection: ", fault="cut_body"),
    Row("sends nothing", "timeout: no answer within 0.5 s", fault="hang", setting=HANGS),
    Row(
        "sends the response byte by byte, longer than `timeout_s`",
        "timeout: no answer within 0.5 s",
        fault="slow_loris",
        setting=HANGS,
    ),
    Row("truncated JSON", "malformed: the response is not JSON", fault="cut_json"),
    Row("no JSON at all", "malformed: the response is not JSON", fault="not_json"),
    Row("JSON that is no chat completion", "malformed: no choices[0].message.content", fault="wrong_shape"),
    Row("an answer outside the schema", "no action 'fly'; allowed:", fault='{"actions":[{"action":"fly"}]}'),
    Row("an answer that is cut at `max_tokens`", "(the answer was cut at max_tokens)", fault="cut_answer"),
    Row("knows the key no more (401), from some moment on", "denied: HTTP 401", STOPS, "401", decodings=BOTH),
    Row("knows the model no more (404), from some moment on", "denied: HTTP 404", STOPS, "404"),
)
OF_ENDPOINTS = (
    Row("one of three endpoints dies in the middle and comes back", "connection: "),
    Row("all of three endpoints die in the middle", "connection: ", STOPS),
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(endpoints_module, "COOL_DOWN_S", 0.02)


def scenario(urls: list[str], decoding: str, timeout_s: float = 20.0) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": STEPS, "seed": 3},
            "population": {"agents": 24, "mean_active": 0.4},
            "policies": [{"kind": "llm", "parameters": {"decoding": decoding}}],
            "llm": {"endpoints": urls, "model": "stub", "timeout_s": timeout_s, "concurrency": 6},
            "output": {"report": False, "sync": False, "prompts": "all"},
        }
    )


class Whole:
    """Runs without faults, made when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.get = cache(self._make)

    def _make(self, decoding: str) -> Path:
        path = self._folder / decoding
        with StubServer() as server:
            Simulation(scenario([server.url], decoding), path).run_sync()
        accounted(path, [server])
        return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    return Whole(tmp_path_factory.mktemp("whole"))


def accounted(path: Path, servers: list[StubServer], *, exact: bool = True) -> None:
    """See that each activation has one decision, each question one answer, and each request its row."""
    run = open_run(path)
    assert verify(path).ok
    coverage, events = run.manifest.coverage, run.events.filter(pl.col("agent_id") >= 0).collect()
    assert coverage.decided_by == {"llm": coverage.decisions}
    assert events.select("step", "agent_id").unique().height == coverage.decisions
    assert events.select("step", "seq").is_unique().all()
    calls = run.llm_calls.collect().with_columns(pl.col("purpose", "status").cast(pl.String))
    question = ["step", "agent_id", "turn", "purpose", "prompt_hash"]
    ok = calls.filter(pl.col("status") == "ok")
    assert ok.select(question).is_unique().all()
    deciding = ok.filter(pl.col("agent_id") >= 0)
    assert set(deciding.select("step", "agent_id").rows()) == set(events.select("step", "agent_id").rows())
    asked = calls.filter(pl.col("reused").is_null())
    by_question = asked.group_by(question).agg(pl.col("attempt").sort(), pl.col("status").sort_by("attempt").last())
    assert all(attempts == list(range(1, len(attempts) + 1)) for attempts in by_question["attempt"].to_list())
    assert set(by_question["status"]) == {"ok"}
    received = sum(len(server.requests) for server in servers)
    unseen = asked["error"].str.contains("^(cancelled|connection|timeout):").sum()  # may not have reached a server
    assert asked.height == received if exact else received <= asked.height <= received + unseen
    assert asked.filter(pl.col("status") != "ok")["error"].null_count() == 0


def same(path: Path, reference: Path) -> None:
    """See that a run came out as the one without faults."""
    run, wanted = open_run(path), open_run(reference)
    assert (run.manifest.status, run.manifest.state_hash) == ("done", wanted.manifest.state_hash)
    assert run.events.collect().equals(wanted.events.collect())
    assert replay(path) == wanted.manifest.state_hash


def errors(path: Path, but: tuple[str, ...] = ("cancelled:", "timeout:")) -> list[str]:
    """Return what failed attempts say; those out of time may be a busy machine's."""
    rows = open_run(path).llm_calls.filter(pl.col("status") != "ok").collect()
    return [error for error in rows["error"].to_list() if not error.startswith(but)]


@pytest.mark.parametrize(
    ("row", "decoding"),
    [pytest.param(r, d, id=f"{r.what}-{d}") for r in MATRIX for d in r.decodings if r.ends == GOES_ON],
)
def test_what_a_run_survives(row: Row, decoding: str, whole: Whole, tmp_path: Path) -> None:
    timeout_s = SHORT_S if row.setting == HANGS else 20.0
    with StubServer(script=row.sometimes, retry_after=f"{RETRY_AFTER_S}", **row.setting) as server:
        Simulation(scenario([server.url], decoding, timeout_s), tmp_path / "run").run_sync()
        if row.fault == "slow_loris":  # the connections are closed, or the server would be at it for `hang_s`
            assert eventually(lambda: server.in_flight == 0)
    said = errors(tmp_path / "run", ("cancelled:",))
    assert bool(said) == bool(row.fault)
    assert len(said) >= sum(server.failed.values())
    assert all(row.says in error for error in said), said
    if row.fault in ("429", "503_retry"):
        patient(server)
    accounted(tmp_path / "run", [server])
    same(tmp_path / "run", whole.get(decoding))


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + HANGS["hang_s"] / 2
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def patient(server: StubServer) -> None:
    """See that no question that was put off, at its first asking, came again before the time."""
    times: dict[str, list[float]] = {}
    for at, content in server.arrived:
        times.setdefault(content, []).append(at)
    again = [at[1] - at[0] for at in times.values() if len(at) > 1]
    assert len(again) >= sum(server.failed.values()) > 0
    assert min(again) >= RETRY_AFTER_S


@pytest.mark.parametrize(
    ("row", "decoding"),
    [pytest.param(r, d, id=f"{r.what}-{d}") for r in MATRIX for d in r.decodings if r.ends == STOPS],
)
def test_what_stops_a_run(row: Row, decoding: str, whole: Whole, tmp_path: Path) -> None:
    last = open_run(whole.get(decoding)).llm_calls.filter(pl.col("reused").is_null()).collect().height // 2

    def second_half(body: dict[str, Any], nth: int) -> str | None:
        return row.shown if len(bad.requests) > last else None

    with StubServer(script=second_half, delay_s=0.01) as bad, pytest.raises(NoEndpointError) as caught:
        Simulation(scenario([bad.url], decoding), tmp_path / "run").run_sync()
    stopped_well(tmp_path / "run", caught.value, row.says)
    with StubServer() as good:
        resume(tmp_path / "run", [f'llm.endpoints=["{good.url}"]']).run_sync()
    accounted(tmp_path / "run", [bad, good], exact=False)
    same(tmp_path / "run", whole.get(decoding))


def stopped_well(path: Path, error: NoEndpointError, says: str) -> None:
    """See that a run ended resumable, in the server's words, without a decision that failed."""
    manifest = open_run(path).manifest
    assert error.exit_code == 1
    assert (manifest.status, manifest.message) == ("stopped", str(error))
    assert says in str(error)
    assert 0 < manifest.steps_done < STEPS
    assert (manifest.coverage.llm_failed, manifest.coverage.llm_invalid) == (0, 0)
    assert all(says in error for error in errors(path))


def test_a_key_that_is_changed_during_a_run(whole: Whole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def expire(body: dict[str, Any], nth: int) -> str | None:
        if len(server.requests) >= 15:
            server.api_key = "sk-new-0123456789"
        return None

    monkeypatch.setenv("MATRIX_KEY", "sk-old-0123456789")
    with StubServer(script=expire, api_key="sk-old-0123456789") as server:
        values = scenario([server.url], "json").to_dict()
        values["llm"]["api_key_env"] = "MATRIX_KEY"
        with pytest.raises(NoEndpointError) as caught:
            Simulation(Scenario.from_dict(values), tmp_path / "run").run_sync()
        words = r"denied: HTTP 401: Incorrect API key provided: Bearer [api key]."
        stopped_well(tmp_path / "run", caught.value, words)
        monkeypatch.setenv("MATRIX_KEY", "sk-new-0123456789")
        resume(tmp_path / "run").run_sync()
    accounted(tmp_path / "run", [server], exact=False)
    same(tmp_path / "run", whole.get("json"))


def stepwise(path: Path, servers: list[StubServer], on_step: Callable[[StepResult], None]) -> None:
    Simulation(scenario([server.url for server in servers], "json", 2 * SHORT_S), path).run_sync(on_step)


def test_one_of_three_dies_and_comes_back(whole: Whole, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(StubServer(delay_s=0.01)) for _ in range(3)]
        counts: list[list[int]] = []

        def on_step(result: StepResult) -> None:
            counts.append([len(server.requests) for server in servers])
            if result.step == 1:
                servers[0].stop()
            if result.step == 3:
                servers[0].start()
                time.sleep(SHORT_S / 2)  # the longest wait before a probe

        stepwise(tmp_path / "run", servers, on_step)
    first, *_, third, fourth = counts
    assert first[0] == third[0] < fourth[0]  # idle while it was dead, used again after
    assert all(fourth[i] > third[i] > first[i] for i in (1, 2))
    said = errors(tmp_path / "run")
    assert said
    assert all(OF_ENDPOINTS[0].says in error for error in said)
    accounted(tmp_path / "run", servers, exact=False)
    same(tmp_path / "run", whole.get("json"))


def test_all_of_three_die(whole: Whole, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(StubServer()) for _ in range(3)]

        def on_step(result: StepResult) -> None:
            if result.step == 2:
                for server in servers:
                    server.stop()

        with pytest.raises(NoEndpointError) as caught:
            stepwise(tmp_path / "run", servers, on_step)
        assert all(f"{server.url}: connection: " in str(caught.value) for server in servers)
        stopped_well(tmp_path / "run", caught.value, OF_ENDPOINTS[1].says)
        for server in servers:
            server.start()
        resume(tmp_path / "run").run_sync()
        accounted(tmp_path / "run", servers, exact=False)
    same(tmp_path / "run", whole.get("json"))


def test_the_document_has_this_table() -> None:
    table = DOCUMENT.read_text("utf-8").split("| the server |", 1)[1].split("\n\n")[0].splitlines()[2:]
    shown = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]
    says = [row.says.strip().replace(f"{SHORT_S:g} s", "... s") for row in (*MATRIX, *OF_ENDPOINTS)]
    wanted = [(row.what, s and f"`{s}`", row.ends) for row, s in zip((*MATRIX, *OF_ENDPOINTS), says, strict=True)]
    assert shown == wanted
