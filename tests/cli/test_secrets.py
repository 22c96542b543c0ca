"""No key reaches a file, a message or a log, whatever a server repeats and whichever command is given."""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from click.testing import CliRunner

from oasis import open_run
from oasis.cli import main
from oasis.inference import asking as asking_module
from oasis.testing.servers import StubServer

KEY = "sk-Zq9/x+7=Kd&2wPv"
IN_URL = "hunter2hunter2"
SCENARIO = """
[simulation]
steps = 3
seed = 2
[population]
agents = 12
mean_active = 0.5
[[policies]]
kind = "llm"
[[interventions]]
step = 2
kind = "interview"
agents = [1, 2]
question = "How are you?"
[llm]
endpoints = ["URL"]
model = "stub"
api_key_env = "SECRETS_TEST_KEY"
timeout_s = 5
failure_limit = 1.0
[output]
prompts = "all"
"""
DRIVER = """
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("numba").setLevel(logging.INFO)  # it tells of each instruction that it compiles
logging.captureWarnings(True)
import aiohttp
import oasis.inference.http
import oasis.inference.asking
oasis.inference.asking.FIRST_WAIT_S = 0.01
from oasis.cli import main
for planted, words in json.load(sys.stdin):
    exec(planted)
    try:
        main(words, standalone_mode=False)
    except BaseException:
        traceback.print_exc()
    print("->", words[0], flush=True)
"""
IN_THE_TRANSPORT = """
real = aiohttp.ClientSession.request
def request(self, *given, **named):
    raise LookupError(f"{given} {named}")
aiohttp.ClientSession.request = request
"""
IN_THE_PARSER = """
aiohttp.ClientSession.request = real
def parse_completion(body):
    raise ZeroDivisionError(str(body))
oasis.inference.http.parse_completion = parse_completion
"""


def notations(secret: str) -> list[str]:
    codes = "".join(f"\\u{ord(c):04x}" for c in secret)
    encoded = base64.b64encode(secret.encode()).decode()
    return [secret, quote(secret, safe=""), html.escape(secret), codes, secret.replace("/", "\\/"), encoded]


def traces() -> set[bytes]:
    """Return what must be found nowhere: eight characters of the key in whatever notation."""
    parts = set()
    for form in (*notations(KEY), *notations(f"Bearer {KEY}")[-1:]):
        begin = 10 if form == notations(f"Bearer {KEY}")[-1] else 0  # the begin of that is "Bearer "
        parts |= {form[i : i + 8].encode() for i in range(begin, len(form) - 7)}
    return parts | {IN_URL.encode()}


class Echo(StubServer):
    """Repeats what it was authorised by in all that it says, in one notation after the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.turn = count()
        self.expires_at: int | None = None
        self.watched: Path | None = None
        self.seen: list[bytes] = []

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        if self.watched is not None and self.watched.exists():
            self.seen.append(self.watched.read_bytes())
        number = next(self.turn)
        given = request.headers["Authorization"]
        said = notations(given)[number // 8 % 6]
        headers = {"Server": given, "X-Key": given, "Retry-After": given, "Location": f"/{quote(given)}"}
        asked = json.dumps(self.requests[-1])
        answer = json.dumps({"answer": f"It is {said}"})
        if "create_post" in asked:
            answer = json.dumps({"actions": [{"action": "create_post", "content": f"It is {said}"}]})
        if '"actions"' in answer and number % 8 == 0:
            answer = json.dumps({"actions": [{"action": said}]})
        done = {"choices": [{"message": {"content": answer}, "finish_reason": said}], "id": said, "model": said}
        if self.expires_at is not None and number >= self.expires_at:
            return web.json_response({"error": {"message": f"{said} has expired"}}, status=401, headers=headers)
        if number % 8 == 1:
            return web.json_response({"error": {said: said}}, status=500, headers=headers, reason=given)
        if number % 8 == 2:
            return web.Response(text=f"<html>{said}", status=(200, 302, 429)[number // 8 % 3], headers=headers)
        if number % 8 == 3:
            return web.json_response({"choices": [said]}, headers=headers)
        if number % 8 == 4 and request.transport is not None:
            request.transport.write(f"HTTP/1.1 200 OK\r\nbroken {given}\r\n {given}\r\n\r\n".encode())
            request.transport.close()
        return web.json_response(done, headers=headers)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        given = request.headers["Authorization"]
        rows = [{"id": "stub", "owned_by": given, "root": quote(given)}, {"id": given}]
        if request.path == "/metrics":
            return web.Response(text=f"vllm:num_requests_running 3.0\n# {given}")
        page = {"/v1/models": {"data": rows}, "/version": {"version": notations(given)[-1]}}.get(request.path, given)
        return web.json_response(page, headers={"Server": given})


def everything(folder: Path) -> dict[Path, bytes]:
    """Return the contents of all files below a folder, those of columns in plain."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[path] = path.read_bytes()
        if path.suffix == ".parquet":
            found[path] += str(pq.read_table(path).to_pylist()).encode()
            found[path] += str(pq.read_schema(path).metadata).encode()
        if path.suffix in (".arrow", ".arrows"):
            with pa.memory_map(str(path)) as file:
                opened = pa.ipc.open_stream(file) if path.suffix == ".arrows" else pa.ipc.open_file(file)
                found[path] += str(opened.read_all().to_pylist()).encode()
    return found


def leaks(content: bytes) -> set[bytes]:
    return {trace for trace in traces() if trace in content}


def test_no_key_anywhere(tmp_path: Path) -> None:
    scenario, run = tmp_path / "case.toml", str(tmp_path / "run")
    with Echo() as server:
        scenario.write_text(SCENARIO.replace("URL", server.url))
        commands = [
            ["doctor", str(scenario)],
            ["doctor", str(scenario), "--json"],
            ["estimate", str(scenario)],
            ["run", str(scenario), "--out", run, "--set", "output.steps_per_block=1"],
            ["verify", run],
            ["inspect", run],
            ["inspect", run, "--agent", "1", "--json"],
            ["inspect", run, "--step", "2"],
            ["interview", run, "Well?", "--agent", "1"],
            ["replay", run],
            *(["export", run, "--to", to, "--out", f"{tmp_path}/{to}", "--handles"] for to in ("csv", "sqlite")),
            ["run", str(scenario), "--out", f"{run}-json", "--json"],
        ]
        planted = [
            (IN_THE_TRANSPORT, ["run", str(scenario), "--out", f"{run}-transport"]),
            (IN_THE_PARSER, ["run", str(scenario), "--out", f"{run}-parser"]),
        ]
        out = drive([("", words) for words in commands] + planted)
        asked = len(server.requests)
    for what in ("DEBUG:asyncio", "LookupError", "ZeroDivisionError", "Traceback", "[api key]", "3 running"):
        assert what in out
    assert out.count("\n-> ") == len(commands) + len(planted)
    assert not leaks(out.encode())
    contents = everything(tmp_path)
    assert {path: found for path, content in contents.items() if (found := leaks(content))} == {}
    assert {p.suffix for p in contents} >= {".arrow", ".csv", ".html", ".json", ".parquet"}
    assert out.count("Traceback") == 1
    done = open_run(run)
    assert done.manifest.status == "done"
    assert "[api key]" in str(done.manifest.servers)
    calls = done.llm_calls.collect()
    assert asked > calls.height > 20
    for column in ("prompt", "response", "error"):
        assert calls[column].str.contains("[api key]", literal=True).any()
    assert done.posts.collect()["content"].str.contains("[api key]", literal=True).any()


def invoke(*words: str) -> str:
    """Return what a command prints."""
    result = CliRunner().invoke(main, words)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.output


def test_a_run_that_stops_keeps_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_TEST_KEY", KEY)
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.01)
    scenario, run = tmp_path / "case.toml", str(tmp_path / "run")
    with Echo() as server:
        server.expires_at, server.watched = 20, Path(run) / "journal.jsonl"
        scenario.write_text(SCENARIO.replace("URL", server.url).replace("prompts", "report = false\nprompts"))
        out = invoke("run", str(scenario), "--out", run)
        assert "has expired" in out
        assert "[api key]" in str(open_run(run).manifest.message)
        found = everything(tmp_path)
        server.expires_at = None
        out += invoke("resume", run)
    assert open_run(run).manifest.status == "done"
    assert not leaks(out.encode())
    assert b"[api key]" in b"".join(server.seen)
    assert not any(map(leaks, [*server.seen, *found.values(), *everything(tmp_path).values()]))


def test_answers_that_are_not_applied_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_TEST_KEY", KEY)
    monkeypatch.setattr(asking_module, "FIRST_WAIT_S", 0.01)
    scenario, run, kept = tmp_path / "case.toml", str(tmp_path / "run"), tmp_path / "kept"
    with Echo() as server:
        plain = SCENARIO.replace("URL", server.url).replace('kind = "llm"', 'kind = "choice"')
        scenario.write_text(plain.replace("prompts", "report = false\nprompts"))
        out = invoke("run", str(scenario), "--out", run)
        out += invoke("shadow", run, "--share", "1", "--out", str(kept))
    assert "log loss per occasion" in out
    assert "[api key]" in str(pq.read_table(kept / "llm_calls.parquet").to_pylist())
    assert not leaks(out.encode())
    assert {path: found for path, content in everything(tmp_path).items() if (found := leaks(content))} == {}


@pytest.mark.parametrize("url", [f"http://me:{IN_URL}@127.0.0.1:1/v1", f"http://127.0.0.1:1/v1?api_key={IN_URL}"])
def test_no_key_of_a_url(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_TEST_KEY", KEY)
    scenario = tmp_path / "case.toml"
    scenario.write_text(SCENARIO.replace("URL", url))
    words = [["run", str(scenario)], ["doctor", str(scenario)], ["estimate", str(scenario)]]
    plain = tmp_path / "plain.toml"
    plain.write_text(SCENARIO.replace("URL", "http://127.0.0.1:1"))
    for command in ("run", "estimate", "doctor"):
        words.append([command, str(plain), "--llm", url])
    words += [
        ["run", str(plain), "--set", f'llm.endpoints=["{url}"]'],
        ["run", str(plain), "--set", f"llm.endpoints={url}"],
    ]
    out = "".join(invoke(*each) for each in words)
    assert out.count("Error: ") == len(words)
    assert IN_URL not in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["case.toml", "plain.toml"]


def drive(commands: list[tuple[str, list[str]]]) -> str:
    """Return all that commands print, one after another in a process that logs whatever it can."""
    environment = {**os.environ, "SECRETS_TEST_KEY": KEY, "PYTHONASYNCIODEBUG": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(commands),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        env=environment,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
