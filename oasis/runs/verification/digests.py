"""Digests made again from what is on disk: of each step from its rows, of the world from the last checkpoint."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pyarrow as pa

from oasis.actions import TargetKind
from oasis.records import LATER, STEP_TABLES
from oasis.runs.checkpoints import CHECKPOINTS, read_checkpoint
from oasis.runs.manifest import MANIFEST
from oasis.runs.tables import world_tables
from oasis.runs.verification.evidence import Evidence, ids
from oasis.runs.verification.findings import Problem
from oasis.runs.verification.happenings import Events
from oasis.runs.verification.whole_files import Found
from oasis.world.ring import Ring
from oasis.world.snapshot import ATTRIBUTES, EMBEDDINGS, restore
from oasis.world.store import digest_table
from oasis.world.world import ENGAGED_WIDTH, SEEN_WIDTH, World

__all__ = ["check_digests", "check_end"]

_DIGESTED = ("events", "impressions", "interviews")
_ENGAGING = ("like_post", "repost", "quote_post", "create_comment")
_NO_STORE = frozenset({ATTRIBUTES, EMBEDDINGS, "run@active"})


def check_digests(ev: Evidence, events: Events) -> Found:
    """Each step's digest follows from the one before and the step's rows, as `oasis.simulation.engine` makes it."""
    recorded, stances = ev.digests(), ev.stance_digests()
    rows = {name: _Steps(ev, name) for name in _DIGESTED}
    seen, engaged = Ring(SEEN_WIDTH), Ring(ENGAGED_WIDTH)
    for ring in (seen, engaged):
        ring.resize(len(events.made("users")))
    root = events.roots
    engaging = events.having(_ENGAGING) & ~events.outside & (events.kind == TargetKind.POST)
    bounds = np.searchsorted(events.step, np.arange(1, ev.steps_done + 2))
    digest, wrong = b"", []
    for step in range(1, ev.steps_done + 1):
        tables = {name: part.of(step) for name, part in rows.items()}
        shown = tables["impressions"]
        agent, post = ids(shown["agent_id"]), ids(shown["post_id"])
        agent, post = agent[post >= 0], post[post >= 0]
        seen.push(agent.astype(np.int32), root[post].astype(np.int32))
        of_step = np.arange(bounds[step - 1], bounds[step])
        did = of_step[engaging[of_step]]
        did = did[np.argsort(events.agent[did], kind="stable")]
        engaged.push(events.agent[did].astype(np.int32), root[events.target[did]].astype(np.int32))
        active = np.unique(events.agent[of_step][~events.outside[of_step]])
        chain = hashlib.blake2b(digest, digest_size=16)
        for name in _DIGESTED:
            chain.update(digest_table(tables[name].drop_columns(list(LATER.get(name, ())))))
        chain.update(seen.content(active))
        chain.update(engaged.content(active))
        chain.update(stances.get(step, b""))
        digest = chain.digest()
        if digest.hex() != recorded.get(step):
            wrong.append((step, digest.hex()))
    about = f"of {ev.steps_done:,} steps, made again from their rows"
    if not wrong:
        return about, [], []
    step, made = wrong[0]
    text = f"step {step}: its rows and those before give the digest {made}, recorded is {recorded.get(step)}"
    if len(wrong) < ev.steps_done - step + 1:  # digests after it are right, and they hold this one
        return about, [Problem(ev.metrics_file(), text)], []
    files = [ev.file_of(name, step) for name in _DIGESTED]
    file = next((file for file in files if file in ev.damaged), files[0])
    return about, [Problem(file, text, step)], []


def check_end(ev: Evidence) -> Found:
    """The state hash, and the world's tables, are those of the world in the checkpoint of the last step."""
    assert ev.manifest is not None
    checkpoint = read_checkpoint(ev.path / CHECKPOINTS / f"{ev.steps_done:06d}")
    world = World()
    restore(world, checkpoint.tables, checkpoint.step)
    stores = {name: table for name, table in checkpoint.tables.items() if name not in _NO_STORE and "@" not in name}
    stores["follows"] = world.follows.to_arrow()
    digest = hashlib.blake2b(checkpoint.step.to_bytes(8, "little"), digest_size=32)
    for name, table in sorted(stores.items()):
        digest.update(name.encode() + digest_table(table))
    problems = []
    if digest.hexdigest() != ev.manifest.state_hash:
        text = f"state_hash is {ev.manifest.state_hash}, the last checkpoint gives {digest.hexdigest()}"
        problems.append(Problem(MANIFEST, text))
    for name, table in world_tables(world, _policies(ev, world)).items():
        problems += _differences(ev, name, pl.DataFrame(table))
    return f"state hash and world's tables by the checkpoint of step {ev.steps_done}", problems, []


def _policies(ev: Evidence, world: World) -> list[str]:
    """Return the names of policies by index, as ``users`` has them."""
    labels = ev.tables["users"]["policy"].cast(pl.String)
    codes = world.users["policy"][: len(labels)]
    names = [""] * (int(codes.max(initial=-1)) + 1)
    at, first = np.unique(codes, return_index=True)
    for code, row in zip(at.tolist(), first.tolist(), strict=True):
        if code >= 0:
            names[code] = labels[row] or ""
    return names


def _differences(ev: Evidence, name: str, wanted: pl.DataFrame) -> list[Problem]:
    """Return where a table of the world is not that of the checkpoint, the first column that differs."""
    found = ev.tables[name]
    if found.height != wanted.height:
        text = f"has {found.height:,} rows, the world in the checkpoint {wanted.height:,}"
        return [Problem(ev.world_file(name), text)]
    for column in wanted.columns:
        got, want = found[column], wanted[column]
        if got.dtype in (pl.Categorical, pl.Enum):
            got, want = got.cast(pl.String), want.cast(pl.String)
        rows = got.ne_missing(want).arg_true()
        if len(rows):
            row = rows[0]
            text = f"row {row}: {column} is {str(got[row])[:60]!r}, in the checkpoint {str(want[row])[:60]!r}"
            return [Problem(ev.world_file(name), f"{text} ({len(rows):,} such rows)")]
    return []


class _Steps:
    """A table's rows, step by step; one file in memory at a time."""

    def __init__(self, ev: Evidence, name: str) -> None:
        self._empty = STEP_TABLES[name].empty_table()
        self._rows = ev.rows(name)
        self._table, self._last = self._empty, 0
        self._steps = np.empty(0, np.int64)

    def of(self, step: int) -> pa.Table:
        """Return the rows of a step, which come in order."""
        while step > self._last:
            part, self._table = next(self._rows)
            self._table = self._table.cast(self._empty.schema)  # Parquet renames the values of lists
            self._last, self._steps = part.last, ids(self._table["step"])
        first, end = np.searchsorted(self._steps, [step, step + 1])
        return self._table.slice(first, end - first)
