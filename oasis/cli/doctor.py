"""``oasis doctor``: what works here, and what to do about what does not."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
from numba import njit

from oasis.errors import OasisError
from oasis.inference import build, check_endpoint, local_model_report
from oasis.inference_config import LLMConfig
from oasis.plugins import GROUPS, available, load
from oasis.scenario import Scenario

__all__ = ["Check", "checks", "doctor"]


@dataclass(frozen=True)
class Check:
    """One line of the report: ``ok``, ``missing`` (optional and not there) or ``failed``."""

    what: str
    state: str
    detail: str


@click.command()
@click.argument("scenario", required=False, type=click.Path(path_type=Path))
@click.option("--llm", "endpoint", metavar="URL", help="Server to ask.")
@click.option("--model", metavar="NAME", help="Model to ask it for.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per check.")
def doctor(scenario: Path | None, endpoint: str | None, model: str | None, as_json: bool) -> None:
    """Check this installation, its optional parts, and language models.

    Endpoints are those of a SCENARIO or of --llm; each is asked for its models and two short questions, which show
    what it can do of what each way of deciding needs. Exit status 1 if a check failed; optional parts that are missing
    do not count.
    """
    config = Scenario.load(scenario).llm if scenario else LLMConfig()
    endpoints = [endpoint] if endpoint else list(config.endpoints)
    found = checks(endpoints, model or config.model, build.api_key(config))
    for check in found:
        if as_json:
            click.echo(json.dumps(asdict(check)))
        else:
            colour = {"ok": "green", "missing": "yellow", "failed": "red"}[check.state]
            click.echo(f"{click.style(f'{check.state:8}', fg=colour)}{check.what:23} {check.detail}")
    if any(check.state == "failed" for check in found):
        raise click.exceptions.Exit(1)


def checks(endpoints: list[str], model: str | None, api_key: str | None) -> list[Check]:
    """Return all checks; endpoints are asked, nothing else uses the network."""
    found = [
        Check("oasis", "ok", f"{version('oasis-sim')} on Python {platform.python_version()}"),
        Check("machine", "ok", f"{os.cpu_count()} cores, {_memory()}"),
        _kernels(),
        *(Check(group, "ok", ", ".join(available(group))) for group in GROUPS if available(group)),
        _embedder(),
        _local_model(),
    ]
    for url in endpoints:
        report = asyncio.run(check_endpoint(url, model, api_key))
        latency = "" if report.latency_ms is None else f" ({report.latency_ms:.0f} ms)"
        found.append(Check(report.url, "ok" if report.ok else "failed", report.message + latency))
        found += [Check(f"  {f.what}", "ok" if f.ok else "missing", f.message) for f in report.findings]
    if not endpoints:
        found.append(Check("endpoints", "missing", "none asked; give --llm URL, or a scenario with endpoints"))
    return found


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    except (ValueError, OSError):
        return "memory unknown"


def _kernels() -> Check:
    compiled = njit(lambda x: x + 1)
    works = compiled(np.int64(1)) == 2
    return Check("kernels", "ok" if works else "failed", f"Numba {version('numba')} compiles")


def _embedder() -> Check:
    try:
        embedder = load("embedders", "wordllama")()
    except OasisError as error:
        return Check("embedder", "failed", str(error))
    return Check("embedder", "ok", f"{embedder.name} {embedder.version}, {embedder.dimensions} dimensions, no network")


def _local_model() -> Check:
    report = local_model_report()
    return Check("llama.cpp (optional)", "ok" if report["ready"] else "missing", str(report["advice"]))
