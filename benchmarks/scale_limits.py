"""What the machine can do at most, and how far a step is from it; measured limits as JSON on stdout.

    python benchmarks/scale_limits.py

Measured are a memory copy (bytes read and written), a float32 matrix product, the byte products of
`oasis.kernels.products` where the processor has them, and a file that is written and forced to disk. Each number is
the best of several.

`of_limit` gives, for each phase of a step, the least that must be moved and computed, and the time of that at these
limits. Bytes are read plus written; a random read costs a cache line of 64 bytes. With ``n`` active agents, ``N``
registered, ``r`` posts in their feeds, ``w`` posts that may be shown, ``T`` distinct texts in the pool, ``d``
dimensions, ``f`` follows an agent, ``g`` and ``e`` places in the rings of what was seen and engaged with, ``a`` events,
``t`` new texts, ``s`` bytes of the streams:

| phase | bytes | operations |
|---|---|---|
| activate | N * (key 8 + probability 4 + result 1) | |
| recommend, `interest` | w * (columns 28 + row 32) + n * (f * (4 + 64) + 4 g + e d) + T d | 2 n T d byte products |
| recommend, `hot` | w * (columns 24 + score 8) + 4 n g | |
| recommend, observe in it | r * (post, root, author, flags: 4 lines of 64) | |
| decide | r * (2 * 8 * features + 4 lines of 64) | |
| commit | a * (row 40 + 10 lines of 64) + 8 r | |
| embed | t * (16 tokens * 4 d + d) | |
| tables | 3 s (written, read twice: digest and metrics) + 8 N (stance, twice) | |
| record | 2 s, and s to disk | |
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from oasis.agents.choice.model import FEATURES
from oasis.kernels.products import WIDTH, has_byte_products, pack, products, shifted
from oasis.kernels.threads import available, each, in_parts

LINE, TOKENS = 64, 16
_HELD = 24  # left vectors whose products stay in the cache


def machine_limits(megabytes: int = 512) -> dict[str, float]:
    """Return bytes or operations per second by name; `megabytes` is the size of the arrays copied."""
    threads = available()
    source = np.ones(megabytes << 20, np.uint8)
    target = np.zeros_like(source)
    halves = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    side = 2048 if megabytes >= 256 else 512
    left, right, out = (np.ones((side, side), np.float32) for _ in range(3))
    found = {
        "copy_1_thread": 2 * source.nbytes / _best(lambda: np.copyto(target, source)),
        "copy": 2 * source.nbytes / _best(lambda: each(halves, lambda pair: np.copyto(pair[1], pair[0]))),
        "float32": 2 * side**3 / _best(lambda: np.matmul(left, right, out=out)),
        "disk": source.nbytes / _best(lambda: _write(source), 2),
    }
    if has_byte_products():
        found |= _byte_products(n=side, texts=10 * side, d=256)
    return found


def _byte_products(n: int, texts: int, d: int) -> dict[str, float]:
    panels, starts = pack(np.ones((texts, d), np.int8))
    vectors = shifted(np.ones((n // _HELD * _HELD, d), np.int8))

    def work(blocks: slice) -> None:
        dots = np.empty((_HELD, len(panels) * WIDTH), np.int32)
        for block in range(blocks.start, blocks.stop):
            products(vectors[block * _HELD : (block + 1) * _HELD], panels, starts, dots)

    blocks = len(vectors) // _HELD
    work(slice(0, 1))
    operations = 2.0 * len(vectors) * len(panels) * WIDTH * d
    alone = operations / _best(lambda: work(slice(0, blocks)))
    together = operations / _best(lambda: in_parts(blocks, work, rows_worth_a_thread=1))
    return {"bytes_1_thread": alone, "bytes": together}


def _write(data: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "block", "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def _best(work: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def of_limit(setting: dict[str, Any], limits: dict[str, float]) -> list[dict[str, Any]]:
    """Return a row per phase: bytes, operations, seconds at the limits, seconds measured, the first over the second.

    Parameters
    ----------
    setting : dict
        One of `scale.measure`.
    limits : dict
        Of `machine_limits`.
    """
    c = setting["counts"]
    n, rows, d = setting["active"], setting["feed_rows"], c["dimensions"]
    stream, window = c["stream_bytes"], c["posts_in_window"]
    if setting["recommender"] == "interest":
        per_agent = c["follows_per_agent"] * (4 + LINE) + 4 * c["seen_width"] + c["engaged_width"] * d
        recommend = window * 60 + n * per_agent + c["pool_texts"] * d
    else:
        recommend = window * 32 + n * 4 * c["seen_width"]
    moved = {
        "activate": setting["registered"] * 13,
        "recommend": recommend + rows * 4 * LINE,
        "decide": rows * (16 * len(FEATURES) + 4 * LINE),
        "commit": c["events"] * (40 + 10 * LINE) + 8 * rows,
        "embed": c["new_texts"] * (TOKENS * 4 * d + d),
        "tables": 3 * stream + 8 * setting["registered"],
        "record": 2 * stream,
    }
    multiplied = 2.0 * n * c["pool_texts"] * d
    table = []
    for phase, moves in moved.items():
        operations = multiplied if phase == "recommend" else 0.0
        least = moves / limits["copy"] + operations / limits.get("bytes", limits["float32"])
        least += stream / limits["disk"] if phase == "record" else 0.0
        measured = setting["seconds"][phase]
        table.append(
            {
                "phase": phase,
                "megabytes": round(moves / 1e6, 3),
                "giga_operations": round(operations / 1e9, 3),
                "limit_s": round(least, 6),
                "measured_s": measured,
                "of_limit": round(least / measured, 3) if measured else None,
            }
        )
    return table


if __name__ == "__main__":
    print(json.dumps({name: round(value / 1e9, 2) for name, value in machine_limits().items()}, indent=2))
