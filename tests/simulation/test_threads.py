"""The number of threads changes no result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = """
[simulation]
name = "threads"
seed = 5
steps = 4
[platform]
kind = "{platform}"
[population]
source = "generate"
agents = {agents}
mean_active = 0.7
mean_follows = 20
[[policies]]
kind = "choice"
[output]
report = false
"""


def run(folder: Path, platform: str, threads: str, agents: int) -> subprocess.CompletedProcess[str]:
    scenario = folder / f"{platform}.toml"
    scenario.write_text(SCENARIO.format(platform=platform, agents=agents))
    command = [
        sys.executable,
        "-c",
        "import oasis.cli; oasis.cli.main()",
        "run",
        str(scenario),
        "--out",
        str(folder / f"{platform}-{threads}"),
    ]
    environment = {**os.environ, "OASIS_THREADS": threads, "COLUMNS": "200"}
    return subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["x", "reddit"])
def test_the_hash_does_not_depend_on_threads(tmp_path: Path, platform: str) -> None:
    hashes = []
    for threads in ("1", "2", "3"):
        done = run(tmp_path, platform, threads, 20_000)
        assert done.returncode == 0, done.stderr
        hashes.append(json.loads((tmp_path / f"{platform}-{threads}" / "manifest.json").read_text())["state_hash"])
    assert len(set(hashes)) == 1, hashes


@pytest.mark.parametrize("threads", ["0", "two"])
def test_a_wrong_number_of_threads_is_refused(tmp_path: Path, threads: str) -> None:
    done = run(tmp_path, "x", threads, 20)
    assert done.returncode == 2
    assert "OASIS_THREADS" in done.stderr
    assert "allowed: a number of threads, 1 or more" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / f"x-{threads}").exists()
