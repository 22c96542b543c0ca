"""The decorator of kernels: compiled when first called, kept on disk in the user's cache folder.

Not beside the source, as is Numba's default: a package folder may be read-only, and what a cache leaves in it
outlives an uninstall. The folder is named after all kernel sources, because a kernel that calls another keeps its
compiled code, which Numba does not refresh when the other changes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit
from platformdirs import user_cache_path

__all__ = ["cache_folder", "kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def cache_folder() -> Path | None:
    """Return where compiled kernels are kept: ``$NUMBA_CACHE_DIR`` or a folder of the user; None if not writable."""
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    folder = user_cache_path("oasis", appauthor=False) / f"kernels-{sources.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


def kernel(*, inline: bool = False) -> Callable[[Function], Function]:
    """Compile a function with Numba; threads may run beside it. `inline` copies it into its callers."""

    def decorate(function: Function) -> Function:
        folder, before = cache_folder(), config.CACHE_DIR
        config.CACHE_DIR = "" if folder is None else str(folder)
        try:
            compiled: Function = njit(cache=folder is not None, nogil=True, inline="always" if inline else "never")(
                function
            )
        finally:
            config.CACHE_DIR = before
        return compiled

    return decorate
