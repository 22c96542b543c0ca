"""What made a run: versions of the software, the processor, the revision of the code, hashes of files."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite.binding
import numpy as np

from oasis.digests import sources_digest

__all__ = ["code_hash", "code_revision", "hash_files", "versions"]

_PACKAGES = (
    "oasis-sim", "numpy", "numba", "llvmlite", "polars", "pyarrow", "scipy", "wordllama", "tokenizers", "xllamacpp"
)  # fmt: skip
_OF_NO_RESULT = (
    *("cli", "testing", "experiments"),
    *(f"runs/{folder}" for folder in ("comparison", "export", "verification")),
    *(f"runs/{name}" for name in ("figure_data.py", "figures.py", "inspection.py", "report.html.j2", "report.py")),
    *(f"runs/{name}" for name in ("effects.py", "summary.py", "text_table.py")),
)
"""What only looks at runs."""


def versions() -> dict[str, str]:
    """Return versions of the interpreter and of what takes part in results, and the processor.

    ``cpu`` is what compiled code was made for; the state hash is promised for one set of ``cpu_features``.
    """
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["cpu"] = llvmlite.binding.get_host_cpu_name()
    found["cpu_features"] = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))
    return found


@cache
def code_hash() -> str:
    """Return the SHA-256 of OASIS's own sources, but for what only looks at runs; as this process found them."""
    return sources_digest(Path(__file__).parents[1], _OF_NO_RESULT)


@cache
def code_revision() -> str | None:
    """Return the Git revision of the code, with ``+changes`` where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        revision = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+changes" if changed else "")


def hash_files(directory: Path, leave_out: frozenset[str]) -> dict[str, str]:
    """Return the SHA-256 of every file in a directory by its path there, but for hidden files and those of `leave_out`
    (files and folders at the top)."""
    hashes = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and not path.name.startswith(".") and name.partition("/")[0] not in leave_out:
            with open(path, "rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
