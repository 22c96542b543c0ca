"""``oasis estimate``: what a run will ask of language models, and what that costs, before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from oasis.budget_config import BudgetConfig
from oasis.cli.language_model import check_asked, model_path_option
from oasis.scenario import Scenario
from oasis.scenario_model import with_model
from oasis.simulation.estimate import FEWER_TOKENS, Estimate, Range, estimate

__all__ = ["estimate_run"]

ASSUMED = (
    "Expected: a third of the answers does nothing, most others like something, one in ten holds a short text. Least:"
    " nine of ten do nothing. Most: every second answer holds a text, and a longer one.",
    f"Tokens are counted with Llama 2's vocabulary; larger ones take fewer ({FEWER_TOKENS:g} of them, in the least)."
    " What a server adds to prompts, such as the schema, and what is asked again after failures is left out.",
    "Cached: what the prompts of each step share from their begin: about the most that a server has.",
)


@click.command("estimate")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key, e.g. simulation.steps=20.")
@click.option("--seed", type=int, help="Seed of all draws, instead of the scenario's.")
@click.option("--llm", "endpoint", metavar="URL", help="As with 'oasis run'; the server is not asked.")
@model_path_option
@click.option("--model", metavar="NAME", help="As with 'oasis run'.")
@click.option("--llm-share", type=click.FloatRange(0, 1), help="Share of the agents that the model decides for.")
@click.option("--price-in", type=click.FloatRange(0), metavar="X", help="Price of a million tokens of input.")
@click.option(
    "--price-cached", type=click.FloatRange(0), metavar="Y", help="Of those that are cached [default: as others]."
)
@click.option("--price-out", type=click.FloatRange(0), metavar="Z", help="Price of a million tokens of output.")
@click.option(
    "--gpu-tokens-per-s",
    type=click.FloatRange(0, min_open=True),
    metavar="R",
    help="Tokens, of input not cached and of output, that a GPU of yours computes in a second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the estimate as JSON.")
def estimate_run(
    scenario: Path,
    overrides: tuple[str, ...],
    seed: int | None,
    endpoint: str | None,
    model_path: Path | None,
    model: str | None,
    llm_share: float | None,
    price_in: float | None,
    price_cached: float | None,
    price_out: float | None,
    gpu_tokens_per_s: float | None,
    as_json: bool,
) -> None:
    """Say what a run of a SCENARIO will ask of language models: calls, tokens, and what they cost.

    The run is rehearsed in memory with made-up answers, or its beginning and a sample of its agents where it is large;
    no server is asked and nothing is written. Prices are those given, or those in the scenario's [budget].
    """
    given = {"price_in": price_in, "price_cached": price_cached, "price_out": price_out}
    prices = {name: price for name, price in given.items() if price is not None}
    if prices and gpu_tokens_per_s is not None:
        raise click.UsageError("give either prices or --gpu-tokens-per-s")
    changes = [*overrides] if seed is None else [*overrides, f"simulation.seed={seed}"]
    loaded = with_model(Scenario.load(scenario, changes), endpoint, model, llm_share, model_path)
    check_asked(loaded, model)
    loaded = loaded.with_changes(budget=prices)
    found = estimate(loaded)
    cost = None if gpu_tokens_per_s is not None else found.cost(loaded.budget)
    hours = None if gpu_tokens_per_s is None else found.gpu_hours(gpu_tokens_per_s)
    if as_json:
        priced = {name: None if each is None else vars(each) for name, each in (("cost", cost), ("gpu_hours", hours))}
        click.echo(json.dumps({"name": loaded.simulation.name, **found.to_dict(), **priced, "assumed": ASSUMED}))
    elif not found.asks:
        click.echo(f"{loaded.simulation.name}: no agent is decided for by a language model; it costs nothing")
    else:
        click.echo("\n".join(_lines(found, loaded.simulation.name, loaded.budget, cost, hours)))


def _lines(found: Estimate, name: str, budget: BudgetConfig, cost: Range | None, hours: Range | None) -> list[str]:
    rows: list[tuple[str, Range, str]] = [
        ("calls", found.calls, ",.0f"),
        ("tokens in", found.tokens_in, ",.0f"),
        ("  of them cached", found.tokens_cached, ",.0f"),
        ("tokens out", found.tokens_out, ",.0f"),
    ]
    rows += [("cost", cost, ",.4g")] if cost is not None else []
    rows += [("GPU hours", hours, ",.3g")] if hours is not None else []
    cells: list[tuple[str, ...]] = [("", "expected", "least", "most")]
    cells += [(what, *(format(value, form) for value in (r.expected, r.low, r.high))) for what, r, form in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    table = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    how = "all of it" if found.whole else f"{found.rehearsed_steps} steps, {found.rehearsed_agents} agents"
    head = (
        f"{name}: a language model decides {found.decisions:,.0f} times, for {found.agents:,} agents in"
        f" {found.steps:,} steps (rehearsed: {how})"
    )
    return [head, *table, *_limits(found, budget, cost), *ASSUMED]


def _limits(found: Estimate, budget: BudgetConfig, cost: Range | None) -> list[str]:
    """Return which limits of the budget may stop the run."""
    tokens = Range(*(getattr(found.tokens_in, e) + getattr(found.tokens_out, e) for e in ("low", "expected", "high")))
    known: list[tuple[str, Any, Range | None]] = [
        ("max_calls", budget.max_calls, found.calls),
        ("max_tokens", budget.max_tokens, tokens),
        ("max_cost", budget.max_cost, cost),
    ]
    return [
        f"budget.{key} ({limit:,}) {'will' if each.expected > limit else 'may'} stop the run before its end"
        for key, limit, each in known
        if limit is not None and each is not None and each.high > limit
    ]
