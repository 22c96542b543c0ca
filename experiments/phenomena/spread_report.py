"""What the report of information spreading says: growth, generations, shape, and errors against a real cascade."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from oasis.experiments.figures import by_arm, curves, draw_curves, styled
from oasis.experiments.interfaces import Section
from oasis.experiments.phenomena.real_cascade import MEASURES, RealCascade
from oasis.experiments.results import Results
from oasis.experiments.statistics import spread
from oasis.runs.figures import GREY, INK

__all__ = ["LIMITS", "sections"]

LIMITS = (
    "The parent of a simulated repost is the post that was shown to the reposter. Real platforms attribute reposts to"
    " the root, and real data reconstructs parents, so simulated and real depth, breadth and virality differ in"
    " meaning.",
    "Agents come back by draws that are independent given the hour: what happens on the platform brings nobody back, so"
    " there are no bursts of attention.",
    "What has not ended by the last step counts as it is then: scale, depth and time to half are those of a window.",
    "An independent cascade has no time and no feed: it shows what the follow graph and a number of users imply.",
)

_DATA_LIMITS = (
    "The {agents} users were sampled because they took part: {took_part} of them shared in reality. So the real curve"
    " tests when people share and from whom they get it, not whether they do, and a curve that simply stays at the end"
    " value already does well.",
    "{reachable} of {agents} users are joined to the source by the {follows} follows in the data. Without a recommender"
    " nobody else can be reached, whatever the agents do.",
    "In reality depth is {depth} from minute {deep} on, because a platform attributes most reposts to the root; here a"
    " repost hangs below the post that was shown. Maximum breadth is hit by this: the same scale in a deeper tree is"
    " narrower.",
    "How likely agents are to share and how often they come back was set with this population in mind ([data] of the"
    " design), not measured. What was fitted on the curve itself says so.",
    "The normalized RMSE of 0.30 that the OASIS paper (arXiv 2411.11581) reports is a mean over 198 cascades with other"
    " populations; this is one cascade, so the two cannot be compared.",
    "It is one cascade, and replicates differ by the seed alone: their spread is that of the simulation, not of the"
    " world.",
)

_GROWTH = "Lines are means over replicates, bands their 2.5 to 97.5% range; between steps nothing changes."
_OUTCOMES = (
    "A point is a replicate; the bar is the mean with its confidence interval. Points of one seed share population,"
    " sources and draws, so differences between arms are surer than the bars suggest: see the comparisons."
)


def sections(results: Results, real: RealCascade | None, last_minutes: Sequence[int]) -> list[Section]:
    """Return the sections of a report; with a real cascade, errors come first."""
    curve = results.table("curve").filter(pl.col("arm").is_in(results.arms))
    found = [] if real is None else _against(real, curve, last_minutes)
    mean = "the mean over the seeded cascades of each run" if real is None else "the cascade of the source"
    figure = curves(curve.drop_nans("scale"), "minute", "scale", "minutes since the source was posted", "users")
    found.append(
        Section("growth", "Growth of scale", (f"Users that shared, source included: {mean}. {_GROWTH}",), figure=figure)
    )
    found.append(Section("outcomes", "Outcomes by arm", (_OUTCOMES,), figure=by_arm(results)))
    found.append(_generations(results))
    found.append(_independent(results))
    if real is None:
        found.append(_strata(results))
    return found


def _against(real: RealCascade, curve: pl.DataFrame, lasts: Sequence[int]) -> list[Section]:
    took_part = int(real.curve["scale"][-1])
    depth = int(real.curve["depth"][-1])
    facts = {
        "agents": real.agents,
        "follows": real.follows,
        "took_part": took_part,
        "reachable": real.reachable,
        "depth": depth,
        "deep": int(real.curve.filter(pl.col("depth") == depth)["minute"][0]),
    }
    windows = real.windows(int(curve["minute"].max()), tuple(lasts))  # type: ignore[arg-type]
    said = (
        "Root mean squared error over minutes, the simulation held constant between steps, divided by the real value at"
        " the last minute used; 0 is perfect. Of an arm: the mean over replicates of their errors and the 2.5 to 97.5%"
        " range of these, and the error of the mean curve, which is never larger than the root mean square of the"
        " replicates' since averaging takes away their own spread. What a baseline was told is in the last column: one"
        " that was told the real curve is a bound rather than a rival.",
    )
    limits = tuple(text.format(**facts) for text in _DATA_LIMITS)
    found = [Section("real_data", "What this real cascade can and cannot show", limits)]
    for measure in MEASURES:
        table = pl.concat([_errors(real, curve, measure, last) for last in windows])
        name = measure.replace("max_", "maximum ")
        title = f"Normalized RMSE of {name}"
        figure = _beside(real, curve, measure, max(windows))
        found.append(
            Section(f"nrmse_{measure}", title, said if measure == "scale" else (), table, figure, printed=True)
        )
    return found


def _errors(real: RealCascade, curve: pl.DataFrame, measure: str, last: int) -> pl.DataFrame:
    """Return errors of arms, then of baselines, over minutes 0 to `last`."""
    rows: list[tuple[str, str, int, float, float | None, float | None, float | None, str]] = []
    window = f"0..{last}"
    for (arm,), part in curve.group_by("arm", maintain_order=True):
        runs = np.stack([p.sort("minute")[measure].to_numpy() for p in part.partition_by("replicate")])
        each = real.error(runs, measure, last)
        found = spread(each[:, None])
        mean_curve = float(real.error(runs.mean(axis=0), measure, last))
        rows.append((window, str(arm), len(runs), float(found.mean[0]), *_ends(found.low, found.high), mean_curve, ""))
    for b in real.baselines(measure, last):
        error = float(real.error(b.values, measure, last))
        rows.append((window, f"baseline: {b.name}", 0, error, None, None, error, b.told))
    schema = ("minutes", "curve", "runs", "mean", "low", "high", "of_mean_curve", "told")
    frame = pl.DataFrame(rows, schema, orient="row")
    numbers = (pl.col(name).cast(pl.Float64) for name in ("mean", "low", "high", "of_mean_curve"))
    return frame.with_columns(pl.col("runs").replace(0, None), *numbers)


def _ends(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    return float(low[0]), float(high[0])


@styled
def _beside(real: RealCascade, curve: pl.DataFrame, measure: str, last: int) -> Figure:
    """Return the arms, the real cascade and the baselines, by minute."""
    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, curve.filter(pl.col("minute") <= last), "minute", measure)
    for b, style in zip(real.baselines(measure, last), (":", "--", "-.", (0, (1, 3)), (0, (5, 1, 1, 1))), strict=True):
        axes.plot(np.arange(last + 1), b.values, ls=style, color=GREY, lw=1.2, label=b.name)
    truth = real.curve.filter(pl.col("minute") <= last)
    axes.plot(truth["minute"], truth[measure], color=INK, lw=2.2, label="real")
    axes.set_xlabel("minutes since the source was posted")
    axes.set_ylabel("users" if measure == "scale" else "reposts at one depth")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _generations(results: Results) -> Section:
    """Return reposts per post of the generation before, by arm."""
    table = results.table("generations").filter(pl.col("arm").is_in(results.arms))
    per_run = table.group_by("arm", "replicate", "generation").agg(pl.col("posts", "next_posts").sum())
    wide = (
        per_run.with_columns(branching=pl.col("next_posts") / pl.col("posts"))
        .group_by("arm", "generation")
        .agg(
            runs=pl.len(),
            posts=pl.col("posts").mean(),
            branching=pl.col("branching").mean(),
            low=pl.col("branching").quantile(0.025, "linear"),
            high=pl.col("branching").quantile(0.975, "linear"),
        )
        .filter(pl.col("generation") <= _GENERATIONS)
    )
    order = pl.col("arm").replace_strict(results.arms, list(range(len(results.arms))), return_dtype=pl.Int64)
    text = (
        "Reposts per post of a generation (0: the sources), a ratio of sums within each run; mean over runs that have"
        " the generation, and the 2.5 to 97.5% range. Posts near the end had less time to be reposted, so late"
        f" generations fall short. Generations above {_GENERATIONS} are left out.",
    )
    return Section("generations", "Branching by generation", text, wide.sort(order, "generation"))


_GENERATIONS = 5


def _independent(results: Results) -> Section:
    """Return simulated shape beside that of independent cascades with the same mean scale."""
    table = results.table("independent").filter(pl.col("arm").is_in(results.arms))
    independent = table.group_by("arm", maintain_order=True).agg(
        p=pl.col("p").mean(),
        independent_scale=pl.col("scale").mean(),
        independent_depth=pl.col("depth").mean(),
        independent_breadth=pl.col("max_breadth").mean(),
    )
    levels = results.levels.pivot("outcome", index="arm", values="mean", aggregate_function="first")
    side = independent.join(levels.select("arm", "scale", "depth", "max_breadth"), on="arm", maintain_order="left")
    text = (
        "For each run, independent cascades (Kempe, Kleinberg and Tardos 2003) from the same sources on the same follow"
        " graph, with the one probability per follow that gives the run's mean scale (or the nearest that the graph"
        " allows). What the simulation has beyond their depth and breadth does not follow from who follows whom.",
    )
    names = (
        "arm",
        "p",
        "scale",
        "independent_scale",
        "depth",
        "independent_depth",
        "max_breadth",
        "independent_breadth",
    )
    return Section("independent", "Beside independent cascades of the same scale", text, side.select(names))


def _strata(results: Results) -> Section:
    """Return mean scale by followers of the source."""
    table = results.table("cascades").filter(pl.col("arm").is_in(results.arms))
    runs = table.group_by("arm", "stratum", "replicate", maintain_order=True).agg(
        pl.col("scale").mean(), sources=pl.len()
    )
    wide = runs.group_by("arm", "stratum", maintain_order=True).agg(pl.col("scale").mean(), pl.col("sources").sum())
    count = wide.group_by("stratum").agg(sources=pl.col("sources").max())
    table = (
        wide.pivot("arm", index="stratum", values="scale", aggregate_function="first")
        .join(count, on="stratum")
        .sort("stratum")
        .rename({"stratum": "least followers"})
    )
    text = ("Mean scale by the followers of the source at the end of the run, over the sources of all replicates.",)
    return Section("strata", "Scale by the followers of the source", text, table)
