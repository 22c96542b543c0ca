"""Recommender audit: arms that differ in the recommender alone, and what it does to who is seen by whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from oasis.experiments.figures import by_arm, curves
from oasis.experiments.interfaces import Cell, Kind, Measured, Section, Setting
from oasis.experiments.measures import (
    amplification,
    cross_group_share,
    exposure_table,
    feed_diversity,
    gini,
    post_labels,
    rank_list_sensitivity,
)
from oasis.experiments.results import Results
from oasis.interfaces import Parameters
from oasis.plugins import parse_parameters
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["AuditParameters", "RecommenderAudit"]

TWIN = "+like"
"""How the name of an arm ends that is another one with a single like more."""
_QUANTILES = np.linspace(0, 1, 101)


class AuditParameters(Parameters):
    """``[parameters]``.

    Attributes
    ----------
    group : str
        The agents' attribute that groups them, a column of ``users.parquet``.
    changed_step : int
        Of the like that the twins have more; feeds of that step are compared, which it is the first to change.
    """

    group: str = Field(default="group", min_length=1)
    changed_step: int = Field(default=1, ge=1)


class RecommenderAudit(Kind):
    """``kind = "recsys-ab"``: see `AuditParameters`."""

    design: ClassVar[Path] = Path(__file__).parents[1] / "designs" / "recsys-ab.toml"
    outcomes: ClassVar[frozenset[str]] = frozenset(
        ["author_gini", "post_gini", "authors_seen", "reach", "cross_group", "diversity", "amplification", "stability"]
    )
    limits: ClassVar[Sequence[str]] = (
        "A shown post counts as seen: how far down a feed people read is a parameter of the choice model.",
        "Arms differ from their first step on, so later feeds differ by what agents did as well as by the recommender.",
        "Groups are the agents' main interests as generated; real cleavages are of another kind.",
    )

    def prepare(self, scenario: Scenario, cell: Cell, setting: Setting) -> Scenario:
        """Take the population from a folder of real data, where one is given."""
        _parameters(setting)
        if setting.data is None:
            return scenario
        return scenario.with_values({"population": {"source": "parquet", "path": str(setting.data)}})

    def measure(self, run: Run, cell: Cell, setting: Setting) -> Measured:
        """Measure exposure by author and post, reach, crossing of groups, diversity."""
        shown, posts, users = run.impressions, run.posts, run.users
        group = _parameters(setting).group
        of_author = exposure_table(shown, post_labels(posts, users, "author"))
        viewers = of_author["viewers"].to_numpy()
        of_post = exposure_table(shown, post_labels(posts, users, "post"))
        grouped = post_labels(posts, users, group)
        groups = users.select("agent_id", label=pl.col(group))
        registered = run.manifest.coverage.registered
        per_author = np.zeros(registered)
        per_author[of_author["label"].cast(pl.Int64).to_numpy()] = of_author["impressions"].to_numpy()
        curve = np.sort(per_author)[::-1].cumsum() / max(per_author.sum(), 1.0)
        at = np.minimum((_QUANTILES * registered).astype(np.int64), registered - 1)
        lorenz = pl.DataFrame({"authors": 100 * _QUANTILES, "impressions": 100 * curve[at]})
        return Measured(
            {
                "author_gini": gini(per_author),
                "post_gini": gini(of_post["impressions"].to_numpy()),
                "authors_seen": float((per_author > 0).mean()),
                "reach": float(viewers[viewers > 0].mean()) if viewers.any() else None,
                "cross_group": cross_group_share(shown, grouped, groups),
                "diversity": feed_diversity(shown, grouped)[0],
            },
            {"lorenz": lorenz},
        )

    def derived(self, results: Results, setting: Setting) -> pl.DataFrame:
        """Compare runs of a replicate: amplification over the baseline's, and stability under one more like."""
        p = _parameters(setting)
        twins = {arm.name for arm in results.design.arms if arm.role == "twin"}
        base = results.design.experiment.baseline
        rows: list[tuple[str, int, str, float | int | None]] = []
        for replicate in range(1, results.folder.request.replicates + 1):
            control = results.run(base, replicate)
            for name in results.arms:
                run = results.run(name, replicate)
                if run is not None and control is not None and name != base:
                    rows.append((name, replicate, "amplification", _amplification(run, control, p.group)))
                twin = results.run(name + TWIN, replicate) if name + TWIN in twins else None
                if run is not None and twin is not None:
                    before, after = (side.impressions.filter(pl.col("step") == p.changed_step) for side in (run, twin))
                    rows.append((name, replicate, "stability", rank_list_sensitivity(before, after)["rbo"]))
        schema = {"arm": pl.String, "replicate": pl.Int64, "outcome": pl.String, "value": pl.Float64}
        return pl.DataFrame(rows, schema, orient="row")

    def sections(self, results: Results, setting: Setting) -> Sequence[Section]:
        """Show how exposure is spread over authors, and every outcome by arm."""
        lorenz = results.table("lorenz").filter(pl.col("arm").is_in(results.arms))
        text = (
            "Authors from the most shown to the least: the share of all impressions that the first so many percent of"
            " registered agents have. Lines are means over replicates, bands their 2.5 to 97.5% range.",
        )
        figure = curves(lorenz, "authors", "impressions", "% of agents, most shown first", "% of impressions")
        return [
            Section("exposure", "How exposure is spread", text, figure=figure),
            Section("outcomes", "Outcomes by arm", _OUTCOMES_TEXT, figure=by_arm(results)),
        ]


_OUTCOMES_TEXT = (
    "A point is a replicate; the bar is the mean with its confidence interval. Points of one seed share population and"
    " draws, so differences between arms are surer than the bars suggest: see the comparisons.",
)


def _parameters(setting: Setting) -> AuditParameters:
    return parse_parameters(AuditParameters, setting.parameters, "parameters")


def _amplification(run: Run, control: Run, group: str) -> float | None:
    """Return the mean over groups and days of log2 of how many more agents met a group's posts than in the control.

    The logarithm makes twice and half as many cancel; 0 is no amplification.
    """
    shown, chronological = ((r.impressions, post_labels(r.posts, r.users, group)) for r in (run, control))
    per_day = max(1, round(1440 / run.manifest.step_minutes))
    found = amplification(shown, chronological, per_day)["amplification"]
    return float(np.abs(np.log2(1 + found.to_numpy())).mean()) if len(found) else None
