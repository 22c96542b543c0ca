"""What happened in a run, in numbers that the command line and the report both show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from oasis.budget_config import BudgetConfig
from oasis.records import TOKENS
from oasis.runs.cascades import cascades
from oasis.runs.effects import Effects, effects
from oasis.runs.handles import without_mentions
from oasis.runs.manifest import Manifest
from oasis.runs.reading import Run

__all__ = [
    "Summary",
    "action_counts",
    "call_counts",
    "coverage",
    "history",
    "per_decision",
    "server_lines",
    "summarise",
    "with_content",
]

_FAILED = ("llm_failed", "llm_invalid")


@dataclass(frozen=True)
class Summary:
    """A run in numbers.

    Attributes
    ----------
    state : str
        "done", "stopped", "failed", "running", or "killed": it says "running" and its process is dead.
    coverage : dict
        As in the manifest; of a run that has not ended, counted from its events.
    tokens, calls : dict
        Tokens of language models, and calls by status (``attempts`` in all).
    per_decision : dict or None
        ``calls``, ``input``, ``cached``, ``output`` of a decision that a model was asked for; None where none was.
    cost : float or None
        Of all tokens, by the scenario's prices.
    actions : polars.DataFrame
        ``action``, ``outcome``, ``count``, ``agents`` (distinct; null for the outside), most frequent first.
    outside : polars.DataFrame
        The same of agent -1.
    cascades : polars.DataFrame
        The largest, with ``content``.
    effects : Effects
        What came of the decisions.
    """

    run: Run
    state: str
    steps_done: int
    coverage: dict[str, Any]
    tokens: dict[str, int]
    calls: dict[str, int]
    per_decision: dict[str, float] | None
    cost: float | None
    actions: pl.DataFrame
    outside: pl.DataFrame
    cascades: pl.DataFrame
    effects: Effects

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        manifest = self.run.manifest
        return {
            "name": manifest.name,
            "state": self.state,
            "status": manifest.status,
            "message": manifest.message,
            "seed": manifest.seed,
            "steps_planned": manifest.steps_planned,
            "steps_done": self.steps_done,
            "state_hash": manifest.state_hash,
            "coverage": self.coverage,
            "tokens": self.tokens,
            "llm_calls": self.calls,
            "per_decision": self.per_decision,
            "cost": self.cost,
            "server_load": [load.model_dump() for load in manifest.server_load],
            "history": history(manifest),
            "refused_rows": len(manifest.refused_rows),
            "effects": self.effects.to_dict(),
            "actions": self.actions.to_dicts(),
            "outside": self.outside.to_dicts(),
            "cascades": self.cascades.to_dicts(),
        }


def summarise(run: Run, top_cascades: int = 10) -> Summary:
    """Return a run in numbers, whatever state it is in.

    Raises
    ------
    RunDirectoryError
        If a file is missing or damaged.
    """
    run.check()
    manifest = run.manifest
    counts = action_counts(run)
    outside = pl.col("outside")
    covered = manifest.coverage.model_dump() if run.ended else coverage(run)
    actions = counts.filter(~outside).drop("outside")
    tokens = manifest.tokens.model_dump() if run.ended else _tokens(run)
    return Summary(
        run,
        run.state,
        run.steps_done,
        covered,
        tokens,
        call_counts(run),
        per_decision(run),
        _prices(manifest).cost(tokens),
        actions,
        counts.filter(outside).drop("outside"),
        with_content(run, cascades(run).head(top_cascades)),
        effects(run, actions, covered["decisions"]),
    )


def action_counts(run: Run) -> pl.DataFrame:
    """Return ``outside``, ``action``, ``outcome``, ``count``, ``agents``, most frequent first."""
    return (
        run.events.with_columns(pl.col("action", "outcome").cast(pl.String), outside=pl.col("agent_id") < 0)
        .group_by("outside", "action", "outcome")
        .agg(count=pl.len(), agents=pl.col("agent_id").n_unique())
        .with_columns(agents=pl.when(~pl.col("outside")).then("agents"))
        .sort(["outside", "count", "action", "outcome"], descending=[False, True, False, False])
        .collect()
    )


def coverage(run: Run) -> dict[str, Any]:
    """Return the decision coverage counted from the events (`oasis.runs.manifest.Coverage`)."""
    text = pl.col("action", "outcome", "policy").cast(pl.String)
    events = run.events.with_columns(text)
    signed_up = (pl.col("action") == "sign_up") & (pl.col("outcome") == "accepted") & (pl.col("agent_id") < 0)
    registered = run.users.select(pl.len()).collect().item()
    if not run.ended:
        registered += events.filter(signed_up).select(pl.len()).collect().item()
    per_activation = (
        events.filter((pl.col("agent_id") >= 0) & (pl.col("action") != "interview"))
        .group_by("step", "agent_id")
        .agg(
            policy=pl.col("policy").first(),
            failure=pl.col("outcome").filter(pl.col("outcome").is_in(_FAILED)).first(),
        )
    )
    active = per_activation.select(pl.col("agent_id").n_unique()).collect().item()
    made = per_activation.group_by("policy", "failure").agg(count=pl.len()).sort("policy").collect()
    failures = dict(made.group_by("failure").agg(pl.col("count").sum()).iter_rows())
    decided = made.filter(pl.col("failure").is_null())
    return {
        "registered": registered,
        "active": active,
        "decisions": int(made["count"].sum()),
        "decided_by": dict(zip(decided["policy"].to_list(), decided["count"].to_list(), strict=True)),
        "llm_failed": failures.get("llm_failed", 0),
        "llm_invalid": failures.get("llm_invalid", 0),
    }


def call_counts(run: Run) -> dict[str, int]:
    """Return calls of language models: ``attempts``, how many by status, and those that a parent had made already."""
    by_status = run.llm_calls.group_by(pl.col("status").cast(pl.String)).agg(count=pl.len()).sort("status").collect()
    counts = dict(by_status.iter_rows())
    reused = run.llm_calls.select(pl.col("reused").fill_null(False).sum()).collect().item()
    return {"attempts": sum(counts.values()), **counts, **({"reused": int(reused)} if reused else {})}


def per_decision(run: Run) -> dict[str, float] | None:
    """Return mean calls and tokens of a decision that a model was asked for; None where none was."""
    asked = run.llm_calls.filter((pl.col("purpose").cast(pl.String) == "decide") & ~pl.col("reused").fill_null(False))
    tokens = [pl.col(column).sum().alias(name) for name, column in TOKENS.items()]
    decisions = pl.struct("step", "agent_id").n_unique().alias("decisions")
    row = asked.select(decisions, pl.len().alias("calls"), *tokens).collect().row(0, named=True)
    count = row.pop("decisions")
    return {name: number / count for name, number in row.items()} if row["calls"] else None


def with_content(run: Run, table: pl.DataFrame, key: str = "root_id") -> pl.DataFrame:
    """Return a table with the ``content`` of the posts in its column `key`: a repost's is its root's, no mentions."""
    posts = run.posts
    texts = posts.select("post_id", "root_id", own="content").join(
        posts.select(root_id="post_id", of_root="content"), on="root_id", how="left"
    )
    wanted = texts.select(pl.col("post_id").alias(key), content=without_mentions(pl.coalesce("own", "of_root")))
    wanted = wanted.filter(pl.col(key).is_in(table[key].unique().to_list())).unique(key)
    return table.join(wanted.collect(), on=key, how="left", maintain_order="left")


def history(manifest: Manifest) -> list[str]:
    """Return, a sentence each, where a run branched off and where it was taken up again, by what other means."""
    said = []
    if (parent := manifest.parent) is not None:
        said.append(f"a branch of {parent.name} ({parent.path}), with which it shares steps 1 to {parent.step:,}")
    for event in manifest.resumed:
        line = f"taken up again after step {event['after_step']:,}"
        for key, what in (("set", "with"), ("damage", "doing without what was damaged:"), ("differences", "although")):
            if event.get(key):
                line += f" {what} " + "; ".join(map(str, event[key]))
        said.append(line)
    return said


def server_lines(manifest: Manifest) -> list[str]:
    """Return, a line each, what servers of language models did by their own metrics while the run went on."""
    lines = []
    for load in manifest.server_load:
        said = []
        if load.prompt_tokens:
            hits = (load.cached_tokens or 0) / load.prompt_tokens
            said.append(f"{hits:.1%} of {load.prompt_tokens:,} prompt tokens were in its prefix cache")
        if load.most_running is not None:
            said.append(f"at most {load.most_running:,} requests seen in work")
        if load.most_waiting is not None:
            said.append(f"{load.most_waiting:,} waiting")
        if said:
            lines.append(f"{load.endpoint}: {', '.join(said)}")
    return lines


def _prices(manifest: Manifest) -> BudgetConfig:
    given = manifest.scenario.get("budget", {})
    return BudgetConfig.model_validate({key: value for key, value in given.items() if key.startswith("price_")})


def _tokens(run: Run) -> dict[str, int]:
    paid = run.llm_calls.filter(~pl.col("reused").fill_null(False))
    row = paid.select(pl.col(column).sum().alias(name) for name, column in TOKENS.items()).collect()
    return {name: int(row[name][0] or 0) for name in TOKENS}
