"""Numbers that stand beside the records: the metrics of each step, decision coverage and tokens of the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import Outcome
from oasis.records import TOKENS
from oasis.runs.manifest import MANIFEST
from oasis.runs.verification.evidence import Evidence, ids
from oasis.runs.verification.findings import Problem
from oasis.runs.verification.happenings import ACTIONS, Events, action
from oasis.runs.verification.whole_files import Found

__all__ = ["check_coverage", "check_metrics", "check_tokens", "keeps_all_impressions"]

I64 = npt.NDArray[np.int64]


def check_metrics(ev: Evidence, events: Events) -> Found:
    """The numbers of each step are those of its rows."""
    metrics = ev.tables["metrics"]
    problems, compared = [], 0
    for name, table, wanted in _expected(ev, events):
        if name not in metrics.columns:
            continue
        compared += 1
        got = metrics[name].cast(pl.Float64, strict=False).fill_null(-1).to_numpy()
        wrong = np.flatnonzero(got != wanted)
        if len(wrong):
            at = int(wrong[0])
            text = f"step {at + 1}: {table} have {name} {wanted[at]:,}, the metrics {got[at]:,.0f}"
            text += f" ({len(wrong):,} such steps)"
            confirmed = ev.calls_confirmed if table == "llm_calls" else ev.records_confirmed
            problems.append(Problem(ev.metrics_file(), text) if confirmed else ev.problem(table, at + 1, text))
    if ev.ended and "follows" not in ev.broken and "follows_total" in metrics.columns and ev.steps_done:
        rows, total = ev.tables["follows"].height, metrics["follows_total"][-1]
        if rows != total:
            problems.append(Problem(ev.world_file("follows"), f"has {rows:,} rows, by metrics {total:,}"))
    return f"{compared} columns of metrics against the rows of {ev.steps_done:,} steps", problems, []


def check_coverage(ev: Evidence, events: Events) -> Found:
    """Decisions by policy, failures, agents registered and active."""
    assert ev.manifest is not None
    coverage = ev.manifest.coverage
    mine = ~events.outside
    failed = np.isin(events.action, action("no_decision"))
    frame = pl.DataFrame(
        {
            "step": events.step[mine],
            "agent": events.agent[mine],
            "policy": events.policy[mine],
            "failed": np.where(failed, events.outcome, -1)[mine],
        }
    )
    decisions = frame.group_by("step", "agent").agg(pl.col("policy").first(), pl.col("failed").max())
    made = decisions.filter(pl.col("failed") < 0).group_by("policy").len().to_dict(as_series=False)
    by_policy = {events.policies[code]: n for code, n in zip(made["policy"], made["len"], strict=True)}
    counted: dict[str, Any] = {
        "registered": len(events.made("users")),
        "active": frame["agent"].n_unique(),
        "decisions": decisions.height,
        "llm_failed": decisions.filter(pl.col("failed") == Outcome.LLM_FAILED).height,
        "llm_invalid": decisions.filter(pl.col("failed") == Outcome.LLM_INVALID).height,
    }
    said = {name: getattr(coverage, name) for name in counted}
    for name in sorted({*by_policy, *coverage.decided_by}):
        counted[f"decided_by {name}"] = by_policy.get(name, 0)
        said[f"decided_by {name}"] = coverage.decided_by.get(name, 0)
    problems = [
        Problem(MANIFEST, f"coverage: {name} is {said[name]:,}, by events {n:,}")
        for name, n in counted.items()
        if said[name] != n
    ]
    return f"{decisions.height:,} decisions of {counted['active']:,} agents", problems, []


def check_tokens(ev: Evidence) -> Found:
    """Tokens are those of all attempts, dropped steps included."""
    assert ev.manifest is not None
    sums = dict.fromkeys(TOKENS, 0)
    count = 0
    for part in [*ev.parts["llm_calls"], *ev.dropped]:
        rows = _paid(ev.read(part))
        count += rows.num_rows
        for name, column in TOKENS.items():
            sums[name] += int(pc.sum(rows[column]).as_py() or 0)
    problems = [
        Problem(MANIFEST, f"tokens: {name} is {getattr(ev.manifest.tokens, name):,}, by llm_calls {total:,}")
        for name, total in sums.items()
        if getattr(ev.manifest.tokens, name) != total
    ]
    return f"{sums['input']:,} in, {sums['output']:,} out, of {count:,} attempts", problems, []


def keeps_all_impressions(ev: Evidence) -> bool:
    """Return whether the run has kept every impression from its first step on."""
    manifest = ev.manifest
    if manifest is None:
        return False
    scenarios = [manifest.scenario, *(past.scenario for past in manifest.past)]
    kept = [s["output"].get("impressions", "all") if isinstance(s.get("output"), dict) else "all" for s in scenarios]
    return set(kept) == {"all"} and "output.impressions" not in str(manifest.resumed)


def _expected(ev: Evidence, events: Events) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Yield metrics by name, the table that they are counted in, and their values by step."""
    n = ev.steps_done
    mine, accepted = ~events.outside, events.accepted
    failed = np.isin(events.action, action("no_decision"))

    def count(rows: npt.NDArray[np.bool_]) -> I64:
        return np.bincount(events.step[rows] - 1, minlength=n)

    yield "active", "events", np.bincount((events.activations >> 32) - 1, minlength=n)
    yield "actions", "events", count(mine & ~failed)
    yield "failed_decisions", "events", count(mine & failed)
    yield "rejected", "events", count(mine & ~accepted)
    for code, name in enumerate(ACTIONS):
        yield f"accepted_{name}", "events", count(mine & accepted & (events.action == code))
    for name, kind in (("registered", "users"), ("posts_total", "posts"), ("comments_total", "comments")):
        made = events.made(kind)
        yield name, "events", made.base + np.cumsum(np.bincount(events.step[made.rows] - 1, minlength=n))
    yield from _follows_total(ev, count(events.having(("follow",))) - count(events.having(("unfollow",))))
    if keeps_all_impressions(ev) and "impressions" not in ev.broken:
        feeds, viewers = np.zeros(n, np.int64), np.zeros(n, np.int64)
        for _, table in ev.rows("impressions", ["step", "agent_id", "turn"]):
            step, agent, turn = (ids(table[name]) for name in ("step", "agent_id", "turn"))
            step, agent = step[turn == 0], agent[turn == 0]
            feeds += np.bincount(step - 1, minlength=n)
            begins = np.r_[True, (np.diff(step) != 0) | (np.diff(agent) != 0)][: len(step)]
            viewers += np.bincount(step[begins] - 1, minlength=n)
        yield "impressions", "impressions", feeds
        yield "agents_shown", "impressions", viewers
    if "llm_calls" not in ev.broken:
        yield from _calls(ev, n)


def _follows_total(ev: Evidence, change: I64) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """How many there were before step 1 is not recorded, so that follows from the first of these numbers."""
    metrics = ev.tables["metrics"]
    if len(change) and metrics.schema.get("follows_total", pl.String).is_integer():
        before = int(metrics["follows_total"][0] or 0) - int(change[0])
        yield "follows_total", "events", before + np.cumsum(change)


def _calls(ev: Evidence, n: int) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    calls = np.zeros(n, np.int64)
    tokens = {column: np.zeros(n, np.int64) for column in TOKENS.values()}
    for _, table in ev.rows("llm_calls"):
        calls += np.bincount(ids(table["step"]) - 1, minlength=n)
        paid = _paid(table)
        step = ids(paid["step"]) - 1
        for column, sums in tokens.items():
            np.add.at(sums, step, np.maximum(ids(paid[column]), 0))
    yield "llm_calls", "llm_calls", calls
    for column, sums in tokens.items():
        yield column, "llm_calls", sums


def _paid(table: pa.Table) -> pa.Table:
    """Return the calls without answers that another run paid for."""
    if "reused" not in table.column_names:
        return table
    return table.filter(pc.invert(pc.fill_null(table["reused"], False)))
