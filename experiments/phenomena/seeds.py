"""Source posts from outside: by authors drawn in strata of followers, the same in all arms of a replicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from oasis.interfaces import Parameters
from oasis.runs import Run
from oasis.scenario import Scenario

__all__ = ["Seeding", "cascade_posts", "seeded_roots", "with_seeds"]

I64 = npt.NDArray[np.int64]


class Seeding(Parameters):
    """Which posts come from outside.

    Attributes
    ----------
    followers : list of int
        Least followers of an author in each stratum, ascending; a stratum ends where the next begins.
    texts : list of str
        What is posted: each text once in every stratum, by an author drawn from the run's seed.
    """

    followers: list[int] = Field(default=[0], min_length=1)
    texts: list[str] = Field(default=["Have you heard the news?"], min_length=1)

    @property
    def ranges(self) -> list[dict[str, int]]:
        """Strata as ranges of followers."""
        ends = [{"max": low - 1} for low in self.followers[1:]]
        return [{"min": low, **end} for low, end in zip(self.followers, [*ends, {}], strict=True)]

    def stratum(self, followers: npt.ArrayLike) -> I64:
        """Return the least followers of the stratum of each author, shape (n,)."""
        bounds = np.asarray(self.followers, np.int64)
        return bounds[np.clip(np.searchsorted(bounds, np.asarray(followers), side="right") - 1, 0, None)]


def with_seeds(scenario: Scenario, seeding: Seeding) -> Scenario:
    """Return a scenario in which the source posts appear before anybody acts in step 1.

    What the scenario does from outside already follows them.
    """
    posts: list[Mapping[str, Any]] = [
        {"step": 1, "kind": "post", "agents": {"where": {"followers": span}, "count": 1}, "content": text}
        for span in seeding.ranges
        for text in seeding.texts
    ]
    return scenario.with_values({"interventions": [*posts, *scenario.to_dict()["interventions"]]})


def seeded_roots(run: Run) -> I64:
    """Return the posts that came from outside in step 1, ascending."""
    outside = (pl.col("agent_id") == -1) & (pl.col("action").cast(pl.String) == "post") & (pl.col("step") == 1)
    posted = run.events.filter(outside & pl.col("created_id").is_not_null()).select("created_id").collect()
    return np.sort(posted["created_id"].to_numpy().astype(np.int64))


def cascade_posts(run: Run, roots: I64) -> pl.DataFrame:
    """Return the posts of a run for `oasis.experiments.measures.cascade_growth`.

    What comes from outside is there before anybody acts in its step, and what agents do in a step is there at its
    end. So `roots` from outside count as posted at the end of the step before: reposts of step 1 come one step later.
    """
    names = ("post_id", "author_id", "kind", "root_id", "parent_id", "step")
    posts = run.posts.select(names).collect()
    outside = pl.col("post_id").is_in(roots.tolist()) & (pl.col("step") > 0)
    return posts.with_columns(step=pl.col("step") - outside.cast(pl.Int32))
